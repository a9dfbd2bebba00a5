"""Which file or document belongs to train, valid (dev) or test: names of files, held-out text."""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

SPLITS = ("train", "valid", "test")
SPLIT_WORDS = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
}
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
    """

    name: str
    records: list[dict]
    open: Callable[[], Opened]


def split_of_name(name: str) -> str:
    """The split that the last split word of a file's name means; train if it has none.

    A word is a run of letters, so newstest2021.txt is no test split.
    """
    for word in reversed(re.findall("[a-z]+", name.lower())):
        if word in SPLIT_WORDS:
            return SPLIT_WORDS[word]
    return "train"


def split_of_document(text: str, source: Source) -> str:
    """The split of its source, unless its hash holds it out for a split that has no file."""
    if not source.held_out:
        return source.split
    bucket = hashlib.sha256(text.encode()).digest()[0] // 5
    split = HELD_OUT_BUCKETS.get(bucket)
    return split if split in source.held_out else source.split
