"""Small corpora for the tests of this folder, how they are read back, and how they are refused."""

import numpy as np
import pytest

from paramalloc.data import EOT, prepare
from paramalloc.errors import DataError

WORDS = [
    *("the", "cat", "sat", "on", "a", "mat", "while", "many", "other", "animals", "were"),
    *("walking", "along", "some", "river", "near", "that", "old", "mill"),
]
_WIKI_LINES = [
    "",
    "= Cat =",
    "",
    "A cat , ( n",
    "= 3 = 3 =",
    "= = Diet = =",
    "",
    "Mice .",
    "",
    "= Dog =",
    "",
    "Woof .",
]
WIKI = "".join(f" {line} \n" if line else " \n" for line in _WIKI_LINES)


def sentences(n, seed=0):
    """n different documents of two lines."""
    random = np.random.default_rng(seed)
    return [f"Story {seed}-{i}\n" + " ".join(random.choice(WORDS, 30)) + " ." for i in range(n)]


def folder(path, n=60, **files):
    """A folder with three splits of text; `files` adds or replaces some (None removes)."""
    texts = {}
    for seed, split in enumerate(("train", "valid", "test")):
        texts[split] = "\n\n".join(sentences(n, seed))
    path.mkdir(exist_ok=True)
    for name, text in (texts | files).items():
        if text is not None:
            (path / f"{name}.txt").write_text(text, encoding="utf-8")
    return path


def documents(corpus, split):
    """The texts of a split, decoded between its end-of-text tokens."""
    tokens = corpus.split(split).astype(int)
    pieces = np.split(tokens, np.flatnonzero(tokens == EOT) + 1)[:-1]
    ids = [piece[:-1].tolist() for piece in pieces]
    return [corpus.tokenizer.decode(piece, skip_special_tokens=False) for piece in ids]


def refuse(tmp_path, dataset, message, vocab_size=300):
    """prepare raises one line that matches, and leaves nothing behind."""
    with pytest.raises(DataError, match=message) as caught:
        prepare(str(dataset), vocab_size, tmp_path / "out")
    assert "\n" not in str(caught.value)
    data = tmp_path / "out" / "data"
    assert not data.exists() or not any(data.iterdir())
