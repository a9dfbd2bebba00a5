"""A corpus that came prepared means the same runs as where it was prepared."""

import shutil
from dataclasses import replace

import pytest
from data_fixtures import folder

from paramalloc.config import TrainConfig
from paramalloc.data import SHIPPED, as_shipped, find, prepare
from paramalloc.errors import DataError

TOKENS = 4096


def ship(corpus, dataset: str, outputs):
    """Another machine's outputs, with the corpus and without its text."""
    shutil.copytree(corpus.folder, outputs / "data" / corpus.folder.name)
    config = TrainConfig.from_dict(
        {"profile": "quick", "dataset": dataset, "vocab_size": 300, "tokens": TOKENS}
    )
    pairs = [(config, corpus.folder.name), (replace(config, lr=1.0), corpus.folder.name)]
    (outputs / "data" / SHIPPED).write_text(as_shipped(pairs))
    return outputs


@pytest.mark.parametrize("dataset", ["../gone/stories", "builtin"])
def test_a_shipped_corpus_is_found_without_its_text(corpus, tmp_path, dataset):
    """By the name that it had, also where that name means another text here."""
    outputs = ship(corpus, dataset, tmp_path)
    for found in (find(dataset, 300, outputs, TOKENS), prepare(dataset, 300, outputs, TOKENS)):
        assert found.folder.parents[1] == outputs
        assert found.fingerprint == corpus.fingerprint


def test_a_dataset_that_did_not_come_is_read_as_ever(corpus, tmp_path):
    outputs = ship(corpus, "builtin", tmp_path / "o")
    text = str(folder(tmp_path / "c"))
    assert find(text, 300, outputs, TOKENS) is None
    assert prepare(text, 300, outputs, TOKENS).fingerprint == corpus.fingerprint


@pytest.mark.parametrize("vocab_size, tokens", [(299, TOKENS), (300, 2 * TOKENS)])
def test_other_sizes_are_not_made_from_another_text(corpus, tmp_path, vocab_size, tokens):
    """The message says for which sizes it came."""
    outputs = ship(corpus, "builtin", tmp_path)
    with pytest.raises(DataError, match="came here for a vocabulary of 300 at 4,096 tokens, not"):
        prepare("builtin", vocab_size, outputs, tokens)


@pytest.mark.parametrize("name", ["train.bin", "tokenizer.json", "meta.json"])
@pytest.mark.parametrize("change", [lambda text: text[:-9], lambda text: text[:-1] + b"x"])
def test_a_damaged_corpus_is_not_trained_on(corpus, tmp_path, name, change):
    outputs = ship(corpus, "gone", tmp_path)
    path = outputs / "data" / corpus.folder.name / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match="not as it was packed: unpack it again"):
        find("gone", 300, outputs, TOKENS)
