"""Which file or document belongs to train, valid (dev) or test: names of files, held-out text."""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..errors import DataError

SPLITS = ("train", "valid", "test")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "eval": "valid",
    "test": "test",
    "testing": "test",
}
# Words that may mean a split where one is all of a name's piece, as in development/a.txt.
SPLIT_LIKE = {
    "development": "valid",
    "devel": "valid",
    "evaluation": "valid",
    "validate": "valid",
    "heldout": "valid",
    "holdout": "valid",
    "devtest": "test",
    "tst": "test",
}
SET_WORDS = ("set", "sets", "data", "split", "text")  # as in devset, testdata
# The first byte of a document's hash over 5: 5 of its 256 values (about 2 %) go to each split.
HELD_OUT_BUCKETS = {0: "valid", 1: "test"}


class Source(NamedTuple):
    """Text of one split. Nothing is held in memory: `documents()` reads from the start each time.

    `held_out` names the splits that take documents out of this one, by their hash.
    """

    split: str
    documents: Callable[[], Iterator[str]]
    wikitext: bool = False
    held_out: frozenset[str] = frozenset()


class Opened(NamedTuple):
    """The sources of a corpus, and the records that meta.json keeps.

    These add to the records of the `Part` what only opening it tells, such as a commit of the hub.
    """

    sources: list[Source]
    records: list[dict]


class Part(NamedTuple):
    """One of the corpora that a dataset joins.

    Its `records` are known before anything is opened: the name of the corpus folder hashes them.
    `left_out` says in a line what of a folder is not read; empty where all is.
    """

    name: str
    records: list[dict]
    open: Callable[[], Opened]
    left_out: str = ""


def split_of_name(name: str) -> str:
    """The split that the last split word of a file's name means; train if it has none.

    A word is a run of letters, so newstest2021.txt is no test split. DataError if a word that is
    nearly a split word, such as vaild, would mean another split.
    """
    split = "train"
    unsure = None
    for piece in re.split(r"[/.]", name.lower()):
        words = re.findall("[a-z]+", piece)
        for word in words:
            near = _nearly_split(word, is_alone=len(words) == 1)
            if word in SPLIT_WORDS:
                split = SPLIT_WORDS[word]
                unsure = None
            elif near and near != split:
                unsure = word, near
    if unsure:
        word, near = unsure
        raise DataError(
            f"{name}: does {word!r} mean the {near} split? Put the word {near} into the name of "
            f"that file or folder, or {split} if it is {split} text"
        )
    return split


def _nearly_split(word: str, is_alone: bool) -> str | None:
    """The split that a word may mean which is no split word; None if it is far from all.

    `is_alone`: it is all of a piece of the name, so not one of a title.
    """
    if is_alone and word in SPLIT_LIKE:
        return SPLIT_LIKE[word]
    for right, split in SPLIT_WORDS.items():
        if word in [right + ending for ending in SET_WORDS] or _is_slip(word, right):
            return split
    return None


def _is_slip(word: str, right: str) -> bool:
    """Whether a word of four letters or more has one too few or too many, or two swapped.

    Another letter is another word (text, best), as is another first one (contest, rain).
    """
    if len(right) < 4 or len(word) < 4 or word[0] != right[0] or word == right:
        return False
    return word in _swapped(right) or word in _shortened(right) or right in _shortened(word)


def _shortened(word: str) -> list[str]:
    return [word[:i] + word[i + 1 :] for i in range(len(word))]


def _swapped(word: str) -> list[str]:
    return [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)]


def split_of_document(text: str, source: Source) -> str:
    """The split of its source, unless its hash holds it out for a split that has no file."""
    if not source.held_out:
        return source.split
    bucket = hashlib.sha256(text.encode()).digest()[0] // 5
    split = HELD_OUT_BUCKETS.get(bucket)
    return split if split in source.held_out else source.split
