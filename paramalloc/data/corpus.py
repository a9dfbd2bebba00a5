"""A prepared corpus, and its preparation: a tokenizer and three token files, made once.

Everything streams: documents come from an iterator, are encoded in batches, appended to a file.
"""

import functools
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
from tokenizers import Tokenizer

from ..config import ROOT
from ..disk import fitting_name, sync, sync_tree
from ..errors import DataError
from .files import hash_file
from .intact import check_tokenizer, check_tokens, fingerprint, read_meta, seal
from .shipped import find_shipped
from .sources import resolve
from .splits import SPLITS, Part, Source, split_of_document
from .token_files import count_in_train, write_token_files
from .tokenizer import load_tokenizer, train_tokenizer

DATA_VERSION = 1  # raise it when the same text would give other token files
COUNT_TOKENS = 1 << 22  # tokens that are counted at a time
CORPUS_NAME_BYTES = 230  # of a name that the vocabulary and a hash are added to

Progress = Callable[[str, float], None]  # stage, fraction of it that is done


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus.

    `folder` holds tokenizer.json, {train,valid,test}.bin (uint16) and meta.json; `meta` is that
    file: name, sources, and per split the documents, lines, words, bytes and tokens.
    """

    folder: Path
    meta: dict

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """The corpus that was prepared in this folder; DataError if meta.json is damaged."""
        return cls(folder, read_meta(folder))

    def check(self) -> None:
        """DataError names a file that is not what was prepared; `split` and `tokenizer` check
        their own."""
        check_tokenizer(self.folder, self.meta)
        for split in SPLITS:
            check_tokens(self.folder, self.meta, split)

    @property
    def name(self) -> str:
        return self.meta["name"]

    @property
    def fingerprint(self) -> str:
        """64 hex digits over the tokenizer and the token files: equal data, equal fingerprint."""
        return self.meta["fingerprint"]

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """decode(encode(x)) == x for any text x."""
        return load_tokenizer(check_tokenizer(self.folder, self.meta))

    def split(self, name: str) -> np.ndarray:
        """The token stream of train, valid or test: (tokens,) uint16, mapped from disk."""
        path = check_tokens(self.folder, self.meta, name)
        return np.memmap(path, dtype=np.uint16, mode="r")

    def counts(self, split: str) -> np.ndarray:
        """How often each token occurs: (vocab_size,) int64. It is counted once."""
        if split not in self._counts:
            self._counts[split] = self._count(split)
        return self._counts[split].copy()

    @functools.cached_property
    def _counts(self) -> dict[str, np.ndarray]:
        return {}

    def _count(self, split: str) -> np.ndarray:
        tokens = self.split(split)
        counts = np.zeros(self.meta["vocab_size"], dtype=np.int64)
        for start in range(0, len(tokens), COUNT_TOKENS):
            counts += np.bincount(tokens[start : start + COUNT_TOKENS], minlength=len(counts))
        return counts

    def unigram_entropy(self, split: str) -> float:
        """-sum_t n_t log p_t / sum_t n_t in nats per token.

        n counts the tokens of `split`; p is their add-one smoothed frequency in train.
        """
        train = self.counts("train") + 1
        n = self.counts(split)
        return float(-(n @ np.log(train / train.sum())) / n.sum())


# Preparation


class _Plan(NamedTuple):
    """What a corpus will be: where it belongs, what it is read from, and what is known already."""

    folder: Path
    parts: list[Part]
    meta: dict

    @property
    def is_prepared(self) -> bool:
        return (self.folder / "meta.json").exists()


def prepare(
    dataset: str,
    vocab_size: int,
    outputs: Path,
    tokens: int | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus of a dataset, made in `outputs`/data if it is not there.

    Args:
        dataset: a known corpus, a file or folder, or several joined by `+`.
        vocab_size: tokens of the vocabulary, 257 to 65,536.
        outputs: the folder of all outputs; a relative one means the repository's.
        tokens: where to cut what is streamed (wmt); the others ignore it.
        progress: called now and then with the stage and the fraction of it that is done.

    Raises DataError, one line that says what to do, and leaves nothing half-written behind.

    >>> from tempfile import TemporaryDirectory
    >>> texts = TemporaryDirectory()
    >>> for split in ("train", "valid", "test"):
    ...     _ = Path(texts.name, f"{split}.txt").write_text("One document.\\n\\nAnother one.")
    >>> corpus = prepare(texts.name, vocab_size=257, outputs=Path(texts.name))
    >>> corpus.meta["splits"]["train"]["documents"]
    2
    >>> corpus.split("train").shape  # the bytes, and one end-of-text token after each document
    (27,)
    """
    if shipped := find_shipped(dataset, vocab_size, outputs, tokens):
        return _open_shipped(shipped)
    plan = _identify(dataset, vocab_size, outputs, tokens)
    try:
        if not plan.is_prepared:
            _make(plan, progress or _report_nothing)
    except OSError as error:
        place = f"{error.filename or plan.folder}: {error.strerror}"
        advice = "make room for it, or name another folder as outputs"
        raise DataError(f"cannot prepare the corpus: {place}; {advice}") from None
    corpus = Corpus.open(plan.folder)
    corpus.check()
    return corpus


def find(dataset: str, vocab_size: int, outputs: Path, tokens: int | None = None) -> Corpus | None:
    """The corpus if it is prepared already, else None."""
    if shipped := find_shipped(dataset, vocab_size, outputs, tokens):
        return _open_shipped(shipped)
    plan = _identify(dataset, vocab_size, outputs, tokens)
    return Corpus.open(plan.folder) if plan.is_prepared else None


@functools.cache
def _open_shipped(folder: Path) -> Corpus:
    """A corpus that came prepared, its files compared with their checksums once in a process."""
    try:
        corpus = Corpus.open(folder)
        corpus.check()
    except DataError:
        advice = "is not as it was packed: unpack it again"
        raise DataError(f"the corpus in {folder} {advice}") from None
    return corpus


def _report_nothing(stage: str, fraction: float) -> None:
    pass


def _identify(dataset: str, vocab_size: int, outputs: Path, tokens: int | None) -> _Plan:
    """Where a corpus belongs: by a hash of its sources, the vocabulary and DATA_VERSION."""
    if not 257 <= vocab_size <= 65_536:
        limits = "from 257 (bytes, end of text) to 65536 (ids are uint16)"
        raise DataError(f"vocab_size {vocab_size} must be {limits}")
    parts = resolve(dataset, tokens)
    records = [record for part in parts for record in part.records]
    identity = json.dumps([DATA_VERSION, vocab_size, records])
    key = hashlib.sha256(identity.encode()).hexdigest()[:10]
    name = re.sub(r"[^\w.+-]+", "-", "+".join(part.name for part in parts))
    name = fitting_name(name, 80, CORPUS_NAME_BYTES)
    meta = {
        "name": name,
        "dataset": dataset,
        "vocab_size": vocab_size,
        "data_version": DATA_VERSION,
        "sources": records,
        "left_out": [part.left_out for part in parts if part.left_out],
    }
    return _Plan(Path(ROOT, outputs) / "data" / f"{name}-{vocab_size}-{key}", parts, meta)


def _make(plan: _Plan, progress: Progress) -> None:
    """Write to a neighbour of the folder, then rename it.

    The folder is there whole or not at all; of two processes that race, one wins.
    """
    opened = [part.open() for part in plan.parts]
    sources = [source for part in opened for source in part.sources]
    meta = plan.meta | {"sources": [record for part in opened for record in part.records]}
    parent = plan.folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=parent, prefix=".", ignore_cleanup_errors=True
    ) as temporary:
        # One deeper: the temporary folder itself is closed to other users.
        folder = Path(temporary, plan.folder.name)
        folder.mkdir()
        _write(folder, sources, meta, progress)
        sync_tree(folder)
        try:
            os.replace(folder, plan.folder)
            sync(parent)
        except OSError as error:
            if plan.is_prepared:
                return  # another process was faster, with the same content
            reason = f"cannot make {plan.folder} ({error.strerror})"
            raise DataError(f"{reason}: remove what is there") from error


def _write(folder: Path, sources: list[Source], meta: dict, progress: Progress) -> None:
    """Train the tokenizer, encode every split, and write meta.json last."""
    start = time.monotonic()
    if not any(source.split == "train" for source in sources):
        advice = "leave words such as valid and test out of the name of a file"
        raise DataError(f"no text for the train split: {advice}")
    # First pass: the tokenizer sees train alone.
    documents = _read_all(sources, "tokenizer", progress)
    train_texts = (text for split, text, _ in documents if split == "train")
    tokenizer = train_tokenizer(train_texts, meta["vocab_size"])
    tokenizer.save(str(folder / "tokenizer.json"))
    # Second pass: the token files.
    documents = _read_all(sources, "encode", progress)
    splits = write_token_files(documents, tokenizer, folder)
    record = meta | {
        "fingerprint": fingerprint(hash_file(folder / "tokenizer.json"), splits),
        "tokenizers": tokenizers.__version__,
        "wikitext": all(source.wikitext for source in sources),
        "seconds": round(time.monotonic() - start, 2),
        "splits": splits,
        "in_train": count_in_train(folder),
    }
    text = json.dumps(seal(record), indent=2, ensure_ascii=False)
    (folder / "meta.json").write_text(text, encoding="utf-8")


def _read_all(
    sources: list[Source], stage: str, progress: Progress
) -> Iterator[tuple[str, str, bool]]:
    """(split, text, whether WikiText) of every document that is not blank."""
    for done, source in enumerate(sources):
        progress(stage, done / len(sources))
        for text in filter(str.strip, source.documents()):
            yield split_of_document(text, source), text, source.wikitext
    progress(stage, 1.0)
