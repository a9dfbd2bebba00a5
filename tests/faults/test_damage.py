"""Damaged files: none is read as if it were whole, and the one line names the file."""

import os
import shutil
from pathlib import Path
from random import Random

import pytest

from paramalloc import disk
from paramalloc.config import TrainConfig
from paramalloc.data import Corpus, prepare
from paramalloc.errors import DataError, RunError
from paramalloc.evaluation import measure_again
from paramalloc.evaluation.finished import load_trained
from paramalloc.export import export_run
from paramalloc.runs import Run
from paramalloc.training import train


@pytest.fixture(scope="module")
def finished(tiny, tiny_corpus, tmp_path_factory) -> Path:
    """The folder of a run of four steps; its corpus lies in the same outputs."""
    outputs = tmp_path_factory.mktemp("finished")
    corpus = prepare(tiny["dataset"], tiny["vocab_size"], outputs)
    config = TrainConfig.from_dict(tiny | {"tokens": 4096, "probes": 4, "outputs": str(outputs)})
    train(config, corpus)
    return Run(config, corpus.fingerprint).folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    outputs = tmp_path / "outputs"
    shutil.copytree(finished.parents[1], outputs)
    return outputs / "runs" / finished.name


def flip(text: bytes, at: int) -> bytes:
    """The bytes with one bit changed."""
    changed = bytearray(text)
    changed[at] ^= 1
    return bytes(changed)


def damaged(text: bytes) -> list[bytes]:
    """The content of a file as a disk or a power cut may leave it."""
    random = Random(len(text))
    flipped = [flip(text, random.randrange(len(text))) for _ in range(6)]
    return [b"", bytes(len(text)), text[: len(text) // 4 * 2], text[:-2], *flipped]


# ---- the corpus


@pytest.mark.parametrize("name", ["train.bin", "valid.bin", "test.bin", "tokenizer.json"])
def test_a_damaged_corpus_is_not_trained_on(run, tiny, name):
    """`prepare` refuses it, and so does who opens the folder and reads the file."""
    outputs = run.parents[1]
    [path] = outputs.glob(f"data/*/{name}")
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is damaged.*remove the folder"):
            prepare(tiny["dataset"], tiny["vocab_size"], outputs)
        corpus = Corpus.open(path.parent)
        with pytest.raises(DataError, match=f"{name} is damaged"):
            _ = corpus.tokenizer if name == "tokenizer.json" else corpus.split(path.stem)
    path.unlink()
    with pytest.raises(DataError, match=f"cannot read .*{name}"):
        prepare(tiny["dataset"], tiny["vocab_size"], outputs)


def test_a_damaged_description_of_a_corpus_is_not_believed(run):
    """Its counts are in every bits-per-byte: one wrong digit is found."""
    [path] = run.parents[1].glob("data/*/meta.json")
    text = path.read_bytes()
    for content in [*damaged(text), b"[]", b"{}", b"7", b"\xff" + text, b"[" * 100_000]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"meta\.json is damaged"):
            Corpus.open(path.parent)


def test_a_corpus_of_before_needs_no_checksum_of_its_description(run):
    """It is read; a count that is not a number is found all the same."""
    [path] = run.parents[1].glob("data/*/meta.json")
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith('  "sha256"')]
    assert len(kept) == len(lines) - 1
    text = "\n".join(kept).replace("},\n}", "}\n}").replace("  },\n}", "  }\n}")
    path.write_text(text)
    Corpus.open(path.parent).check()
    path.write_text(text.replace('"bytes": ', '"bytes": "', 1).replace(",", '",', 1))
    with pytest.raises(DataError, match=r"meta\.json is damaged"):
        Corpus.open(path.parent)


def test_a_file_is_read_once_for_its_checksum(tmp_path, monkeypatch):
    """And again after a change, also one that leaves its size."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = disk.sha256_of(path)
    with monkeypatch.context() as patched:
        patched.setattr(disk.hashlib, "file_digest", None)
        assert disk.sha256_of(path) == first
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert disk.sha256_of(path) != first


# ---- the weights


def refuse_weights(run: Path, target: Path) -> None:
    for read in (load_trained, measure_again, lambda run: export_run(run, target)):
        with pytest.raises(RunError, match=f"{run.name}.* damaged.*train the run again"):
            read(run)
    assert not target.exists()


def test_damaged_weights_are_neither_measured_nor_exported(run, tmp_path):
    """The result stays as it was, and no folder is begun."""
    path = run / "checkpoint" / "final" / "model.safetensors"
    result = (run / "result.json").read_bytes()
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        refuse_weights(run, tmp_path / "new")
    assert (run / "result.json").read_bytes() == result


def test_weights_without_their_checksum_are_not_believed(run, tmp_path):
    path = run / "checkpoint" / "final" / "manifest.json"
    text = path.read_bytes()
    for content in (b"", b"5", b"{}", text[:-1], text.replace(b'": "', b'": "0')):
        path.write_bytes(content)
        refuse_weights(run, tmp_path / "new")
