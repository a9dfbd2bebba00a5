"""A corpus holds every document, is made once and whole, and streams."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import documents, folder, refuse, sentences

from paramalloc.config import ROOT
from paramalloc.data import EOT, EOT_TEXT, prepare
from paramalloc.data import corpus as corpus_module
from paramalloc.data.splits import SPLITS
from paramalloc.errors import DataError

ALONE = Path(__file__).with_name("prepare_alone.py")


def test_no_token_is_lost(corpus):
    """The token files hold the documents in order, each closed by one end-of-text token."""
    for seed, split in enumerate(SPLITS):
        assert documents(corpus, split) == sentences(60, seed)
        assert (corpus.split(split) == EOT).sum() == corpus.meta["splits"][split]["documents"] == 60


def test_literal_end_of_text_is_text(tmp_path):
    """ "<|endoftext|>" inside a document does not end it."""
    path = folder(tmp_path / "c", valid=f"one {EOT_TEXT} two\n\nthree")
    corpus = prepare(str(path), 300, tmp_path)
    assert documents(corpus, "valid") == [f"one {EOT_TEXT} two", "three"]


def test_counts(tmp_path):
    """Documents, lines, words, UTF-8 bytes and tokens are those of the text as tokenised."""
    path = folder(tmp_path / "c", valid="\n\nüber zwei\nLinien\n \n\ndrei\n")
    corpus = prepare(str(path), 300, tmp_path)
    split = corpus.meta["splits"]["valid"]
    counts = {"documents": 2, "lines": 3, "words": 4, "bytes": 17 + 4, "ppl_words": 4}
    assert {name: split[name] for name in counts} == counts
    assert split["tokens"] == len(corpus.split("valid")) == corpus.counts("valid").sum()
    assert corpus.split("valid").dtype == np.uint16


def test_unigram_entropy(corpus):
    """It is the cross-entropy of add-one smoothed train counts, in nats."""
    counts = np.bincount(corpus.split("train"), minlength=300) + 1
    expected = -np.log(counts / counts.sum())[corpus.split("valid")].mean()
    assert corpus.unigram_entropy("valid") == pytest.approx(expected)


def test_equal_data_equal_fingerprint(tmp_path, corpus):
    """The fingerprint is of the content: another place, the same digits; another text, others."""
    again = prepare(str(folder(tmp_path / "elsewhere")), 300, tmp_path)
    other = prepare(str(folder(tmp_path / "other", valid="another text")), 300, tmp_path)
    assert again.fingerprint == corpus.fingerprint != other.fingerprint
    assert len(again.fingerprint) == 64


def test_second_preparation_is_found(tmp_path, monkeypatch):
    """Preparing the same thing again trains and encodes nothing, and takes no time."""
    first = prepare(str(folder(tmp_path / "c")), 300, tmp_path)
    monkeypatch.setattr(corpus_module, "train_tokenizer", None)
    start = time.monotonic()
    assert prepare(str(tmp_path / "c"), 300, tmp_path) == first
    assert time.monotonic() - start < 2


def test_changed_text_is_prepared_again(tmp_path):
    """Other bytes in a file, another vocabulary: another folder."""
    folders = {
        prepare(str(folder(tmp_path / "c")), 300, tmp_path).folder,
        prepare(str(folder(tmp_path / "c")), 299, tmp_path).folder,
        prepare(str(folder(tmp_path / "c", test="other")), 300, tmp_path).folder,
    }
    assert len(folders) == 3


def test_racing_preparations_agree(tmp_path):
    """Of two that make the same thing at once, one wins and both have it; nothing else stays."""
    path = folder(tmp_path / "c")
    with ThreadPoolExecutor(3) as race:
        futures = [race.submit(prepare, str(path), 300, tmp_path) for _ in range(3)]
    corpora = [future.result() for future in futures]
    assert corpora[0] == corpora[1] == corpora[2]
    assert [p.name for p in (tmp_path / "data").iterdir()] == [corpora[0].folder.name]


def test_progress(tmp_path):
    """Fractions of each stage rise from 0 to 1."""
    calls = []
    prepare(str(folder(tmp_path / "c")), 300, tmp_path, progress=lambda *call: calls.append(call))
    for stage in ("tokenizer", "encode"):
        fractions = [fraction for name, fraction in calls if name == stage]
        assert fractions == sorted(fractions) and (fractions[0], fractions[-1]) == (0, 1)


def test_memory_does_not_grow(tmp_path):
    """Ten times the text takes hardly more memory."""
    lines = ["\n".join(sentences(1000, seed)) for seed in range(10)]
    small = folder(tmp_path / "small", train="\n\n".join(lines))  # 2 MB
    large = folder(tmp_path / "large", train="\n\n".join(lines * 10))  # 20 MB
    command = [sys.executable, ALONE, tmp_path, small, large]
    output = subprocess.check_output(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True)
    first, second = map(int, output.split())
    # MB; the text alone is 18 MB more, as encodings it would be gigabytes.
    assert second - first < 60


@pytest.mark.parametrize("vocab_size", [256, 100_000])
def test_vocabulary_must_fit(tmp_path, vocab_size):
    """Fewer tokens than bytes, or more than uint16 counts, are refused before anything is read."""
    refuse(tmp_path, "nowhere", "257.*65536.*uint16", vocab_size)


def test_split_without_text(tmp_path):
    """A split that the hold-out leaves empty, or whose file is blank, is named."""
    refuse(tmp_path, folder(tmp_path / "a", test=" \n\n"), "no text for the test split")
    path = folder(tmp_path / "b", n=3, train=("a cat " * 99 + "\n\n") * 3, valid=None, test="x")
    refuse(tmp_path, path, "no text for the valid split.*are held out", 258)
    refuse(tmp_path, folder(tmp_path / "c", train=None), "no text for the train split")


def test_outputs_that_cannot_be_written_are_one_line(tmp_path):
    """Whatever the system says, with the place and what to do."""
    source = folder(tmp_path / "c")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file.*Not a directory.*name another folder"):
        prepare(str(source), 257, tmp_path / "file" / "o")


@pytest.mark.parametrize("letter", ["漢", "é", "𠮷"])
def test_a_name_as_long_as_a_file_systems_can_be_prepared(tmp_path, letter):
    """A name may hold 255 bytes, which are fewer letters than bytes."""
    source = folder(tmp_path / (letter * (250 // len(letter.encode()))))
    assert prepare(str(source), 300, tmp_path).name.startswith(letter * 50)
