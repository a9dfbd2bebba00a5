"""A disk that is full or may only be read: one clear line, nothing finished is lost, and the run goes on later."""

import json
import os
import subprocess
import sys

import pytest
import torch

from paramalloc.config import ROOT, TrainConfig
from paramalloc.runs import Run
from paramalloc.training import train

pytestmark = pytest.mark.slow

sys.path.insert(0, os.path.dirname(__file__))
from test_kills import outcome

TRAIN = """
import json, os, resource, sys
from pathlib import Path
import torch
from paramalloc.config import TrainConfig
from paramalloc.data import Corpus
from paramalloc.training import train
values, corpus, limit, user = json.loads(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
if user:
    os.setuid(user)
torch.set_num_threads(1)
train(TrainConfig.from_dict(values), Corpus.open(Path(corpus)))
"""


def in_a_process(values, corpus, limit=0, user=0):
    given = json.dumps([values, str(corpus.folder), limit, user])
    return subprocess.run(
        [sys.executable, "-c", TRAIN, given], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture
def short(tiny, tmp_path):
    return tiny | {
        "tokens": 12 * 1024,
        "probes": 3,
        "checkpoint_seconds": 0,
        "outputs": str(tmp_path / "full"),
    }


def test_a_full_disk(short, tiny_corpus, tmp_path):
    """No file may grow past 100 kB, 300 kB, 600 kB: each time one line says what could not be written, and no half file is
    left; with room the run ends as the one that always had it."""
    folder = Run(TrainConfig.from_dict(short), tiny_corpus.fingerprint).folder
    for limit in (100, 100_000, 300_000):
        done = in_a_process(short, tiny_corpus, limit)
        last = done.stderr.strip().splitlines()[-1]
        assert (
            done.returncode == 1
            and "DiskError: cannot write run" in last
            and "File too large" in last
        ), done.stderr
        assert not list(folder.glob("checkpoint/*/")) and not (folder / "result.json").exists()
        assert not [path for path in (folder / "lease").iterdir() if path.is_dir()]
    before = TrainConfig.from_dict(short | {"outputs": str(tmp_path / "whole")})
    assert in_a_process(short, tiny_corpus).returncode == 0
    torch.set_num_threads(1)
    train(before, tiny_corpus)
    one, other = outcome(folder), outcome(Run(before, tiny_corpus.fingerprint).folder)
    assert (
        all(torch.equal(one[0][name], other[0][name]) for name in one[0]) and one[1:] == other[1:]
    )


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="needs root, to become a user who may not write"
)
def test_a_folder_that_may_only_be_read(short, tiny_corpus, tmp_path):
    """Of somebody else's outputs what is finished is read; what is not is refused in one line, and nothing changes."""
    (tmp_path / "full").mkdir()
    for path in [tiny_corpus.folder, *tiny_corpus.folder.parents, tmp_path, *tmp_path.parents]:
        if path.stat().st_uid == os.geteuid() and path != path.parent:
            path.chmod(path.stat().st_mode | 0o055)
    done = in_a_process(short, tiny_corpus, user=65534)
    last = done.stderr.strip().splitlines()[-1]
    assert (
        done.returncode == 1
        and "cannot write run" in last
        and "Permission denied" in last
        and not list((tmp_path / "full").iterdir())
    )
    assert in_a_process(short, tiny_corpus).returncode == 0
    assert in_a_process(short, tiny_corpus, user=65534).returncode == 0
