"""A disk that is full or read-only: one clear line, nothing finished is lost, the run goes on."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from processes import assert_same_run

from paramalloc.config import ROOT, TrainConfig
from paramalloc.data import Corpus
from paramalloc.runs import Run
from paramalloc.training import train

pytestmark = pytest.mark.slow

NOBODY = 65534


def train_in_process(values, corpus, limit=0, user=0) -> subprocess.CompletedProcess:
    """Train with files of at most `limit` bytes (0: any), as `user` (0: as oneself)."""
    program = Path(__file__).with_name("train_process.py")
    argument = json.dumps([values, str(corpus.folder), limit, user])
    command = [sys.executable, str(program), argument]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def folder_of(values, corpus) -> Path:
    return Run(TrainConfig.from_dict(values), corpus.fingerprint).folder


@pytest.fixture
def short(tiny, tmp_path):
    return tiny | {
        "tokens": 12 * 1024,
        "probes": 3,
        "checkpoint_seconds": 0,
        "outputs": str(tmp_path / "full"),
    }


def test_a_full_disk(short, tiny_corpus, tmp_path):
    """No file may grow past some size: one line says what could not be written, no half file stays.

    With room the run ends as one that always had it.
    """
    folder = folder_of(short, tiny_corpus)
    for limit in (100, 100_000, 300_000):
        done = train_in_process(short, tiny_corpus, limit)
        message = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 1, done.stderr
        assert "DiskError: cannot write run" in message
        assert "File too large" in message
        assert not list(folder.glob("checkpoint/*/"))
        assert not (folder / "result.json").exists()
        assert not [path for path in (folder / "lease").iterdir() if path.is_dir()]
    assert train_in_process(short, tiny_corpus).returncode == 0
    undisturbed = short | {"outputs": str(tmp_path / "whole")}
    torch.set_num_threads(1)
    train(TrainConfig.from_dict(undisturbed), tiny_corpus)
    assert_same_run(folder_of(undisturbed, tiny_corpus), folder)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="needs root, to become a user who may not write"
)
def test_a_folder_that_may_only_be_read(short, tiny_corpus):
    """Of somebody else's outputs what is finished is read; what is not is refused in one line.

    Pytest closes its own temporary folders to other users whenever it starts: this is beside them.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        corpus = Corpus.open(shutil.copytree(tiny_corpus.folder, Path(folder, "corpus")))
        corpus.folder.chmod(0o755)
        outputs = Path(folder, "outputs")
        outputs.mkdir()
        short |= {"outputs": str(outputs)}
        done = train_in_process(short, corpus, user=NOBODY)
        message = done.stderr.strip().splitlines()[-1]
        assert done.returncode == 1
        assert "cannot write run" in message
        assert "Permission denied" in message
        assert not list(outputs.iterdir())
        assert train_in_process(short, corpus).returncode == 0
        assert train_in_process(short, corpus, user=NOBODY).returncode == 0
