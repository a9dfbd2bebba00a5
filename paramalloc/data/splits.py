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
# A split that titles make by chance: less text than this, and than so much of train's.
CHANCE_BYTES = 100_000
CHANCE_PART = 0.02  # what a hold-out would give
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


def refuse_chance_splits(records: list[dict]) -> None:
    """DataError if dev or test is only what some titles hold by chance, as "my driving test".

    That is so if all names of the split have other words beside it, it is far too small, and most
    files that train are not named for a split at all.
    """
    files = {split: [r for r in records if r["split"] == split] for split in SPLITS}
    named = sum("train" in _split_words(record["name"]) for record in files["train"])
    if 2 * named >= len(files["train"]):
        return
    train_bytes = sum(record["bytes"] for record in files["train"])
    limit = min(CHANCE_BYTES, CHANCE_PART * train_bytes)
    chance = []
    for split in ("valid", "test"):
        size = sum(record["bytes"] for record in files[split])
        if files[split] and size < limit and not any(_is_meant(r["name"]) for r in files[split]):
            names = ", ".join(repr(record["name"]) for record in files[split])
            chance.append(f"{split} would be {names} alone ({size:,} bytes)")
    if chance:
        raise DataError(
            f"{' and '.join(chance)}, train {train_bytes:,} bytes: rename what has a split's word "
            "by chance, or move what is meant to a folder of that word"
        )


def _split_words(name: str) -> set[str]:
    """The splits that the words of a name mean."""
    words = re.findall("[a-z]+", name.lower())
    return {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}


def _is_meant(name: str) -> bool:
    """Whether a piece of a name is nothing but a split word, as in test/a.txt and a.test-1.txt."""
    pieces = [re.findall("[a-z]+", piece) for piece in re.split(r"[/.]", name.lower())]
    return any(words and set(words) <= SPLIT_WORDS.keys() for words in pieces)


def split_of_document(text: str, source: Source) -> str:
    """The split of its source, unless its hash holds it out for a split that has no file."""
    if not source.held_out:
        return source.split
    bucket = hashlib.sha256(text.encode()).digest()[0] // 5
    split = HELD_OUT_BUCKETS.get(bucket)
    return split if split in source.held_out else source.split
