"""Data: a corpus becomes a tokenizer and three token files, once; batches are a pure function of (seed, step).

    corpus = prepare("../shared/data/wikitext-2", vocab_size=16_000, outputs=ROOT / "outputs")
    batches = Batches(corpus.split("train"), seq_len=256, batch_size=16, seed=0)
    x, y = batches(step=0)

Everything streams: documents come from an iterator, are encoded in small batches and appended to a file.
"""

import array
import functools
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ..config import ROOT
from ..errors import DataError
from .sources import SPLITS, Part, Source, resolve, sha256

DATA_VERSION = 1  # raise it when the same text would give other token files
EOT, EOT_TEXT = 0, "<|endoftext|>"
BATCH_CHARS, PIECE_CHARS = (
    1_000_000,
    50_000,
)  # text in memory as encodings at one time; handed to one core at one time
GAP = re.compile(r"(?<=\S)\s")
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus: `folder` holds tokenizer.json, {train,valid,test}.bin (uint16) and meta.json."""

    folder: Path
    meta: dict

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        return cls(folder, json.loads((folder / "meta.json").read_text(encoding="utf-8")))

    @property
    def name(self) -> str:
        return self.meta["name"]

    @property
    def fingerprint(self) -> str:
        """64 hex digits over the tokenizer and the token files: equal data, equal fingerprint."""
        return self.meta["fingerprint"]

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """Reads "<|endoftext|>" inside a text as ordinary text, so that decode(encode(x)) == x for any text."""
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.encode_special_tokens = True  # the file does not keep this
        return tokenizer

    def split(self, name: str) -> np.ndarray:
        """The token stream of train, valid or test: (tokens,) uint16, mapped from disk."""
        return np.memmap(self.folder / f"{name}.bin", dtype=np.uint16, mode="r")

    def counts(self, split: str) -> np.ndarray:
        """How often each token occurs: (vocab_size,) int64."""
        tokens, size, step = self.split(split), self.meta["vocab_size"], 1 << 22
        return sum(
            np.bincount(tokens[i : i + step], minlength=size) for i in range(0, len(tokens), step)
        )

    def unigram_entropy(self, split: str) -> float:
        """-sum_t n_t log p_t / sum_t n_t, nats per token: n counts `split`, p is train's add-one smoothed frequency."""
        train, n = self.counts("train") + 1, self.counts(split)
        return float(-(n @ np.log(train / train.sum())) / n.sum())


def prepare(
    dataset: str,
    vocab_size: int,
    outputs: Path,
    tokens: int | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus of `dataset` in `outputs`/data, made if it is not there.

    `tokens` cuts what is streamed (wmt), the others ignore it; `progress(stage, fraction)` is called now and then.
    Raises DataError, one line that says what to do, and leaves nothing half-written behind.
    """
    folder, parts, meta = _identify(dataset, vocab_size, outputs, tokens)
    if not (folder / "meta.json").exists():
        _make(
            folder,
            [source for part in parts for source in part.open()],
            meta,
            progress or (lambda *_: None),
        )
    return Corpus.open(folder)


def find(dataset: str, vocab_size: int, outputs: Path, tokens: int | None = None) -> Corpus | None:
    """The corpus if it is prepared already, else None."""
    folder, _, _ = _identify(dataset, vocab_size, outputs, tokens)
    return Corpus.open(folder) if (folder / "meta.json").exists() else None


def _identify(
    dataset: str, vocab_size: int, outputs: Path, tokens: int | None
) -> tuple[Path, list[Part], dict]:
    """Where a corpus belongs, by a hash of its sources, the vocabulary and the version of this code."""
    if not 257 <= vocab_size <= 65_536:
        raise DataError(
            f"vocab_size {vocab_size} must be from 257 (bytes, end of text) to 65536 (ids are uint16)"
        )
    parts = resolve(dataset, tokens)
    name = re.sub(r"[^\w.+-]+", "-", "+".join(part.name for part in parts))[:80]
    records = [record for part in parts for record in part.records]
    key = hashlib.sha256(json.dumps([DATA_VERSION, vocab_size, records]).encode()).hexdigest()
    folder = Path(ROOT, outputs) / "data" / f"{name}-{vocab_size}-{key[:10]}"
    return (
        folder,
        parts,
        dict(
            name=name,
            dataset=dataset,
            vocab_size=vocab_size,
            data_version=DATA_VERSION,
            sources=records,
        ),
    )


def _make(folder: Path, sources: list[Source], meta: dict, progress: Progress) -> None:
    """Write beside `folder`, then rename: it is there whole or not at all, and of two that race one wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=".", ignore_cleanup_errors=True
    ) as temporary:
        new = Path(
            temporary, folder.name
        )  # one deeper: the temporary folder itself is closed to other users
        new.mkdir()
        _write(new, sources, meta, progress)
        try:
            os.replace(new, folder)
        except OSError as error:
            if not (
                folder / "meta.json"
            ).exists():  # there: another process was faster, with the same content
                raise DataError(
                    f"cannot make {folder} ({error.strerror}): remove what is there"
                ) from error


def _write(folder: Path, sources: list[Source], meta: dict, progress: Progress) -> None:
    start = time.monotonic()
    tokenizer = _train_tokenizer(sources, meta["vocab_size"], progress)
    tokenizer.save(str(folder / "tokenizer.json"))
    splits = _encode(sources, tokenizer, folder, progress)
    digests = [sha256(folder / "tokenizer.json"), *(splits[name]["sha256"] for name in SPLITS)]
    meta |= {
        "fingerprint": hashlib.sha256("".join(digests).encode()).hexdigest(),
        "tokenizers": tokenizers.__version__,
        "wikitext": all(source.wikitext for source in sources),
        "seconds": round(time.monotonic() - start, 2),
        "splits": splits,
    }
    (folder / "meta.json").write_text(
        json.dumps(meta, indent=2, ensure_ascii=False), encoding="utf-8"
    )


def _train_tokenizer(sources: list[Source], vocab_size: int, progress: Progress) -> Tokenizer:
    """Byte-level BPE on the train split alone; DataError if its text is too small for the vocabulary."""
    if not any(source.split == "train" for source in sources):
        raise DataError(
            "no text for the train split: leave words such as valid and test out of the name of a file"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.encode_special_tokens = True
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[EOT_TEXT],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    texts = (
        text for split, text, _ in _documents(sources, "tokenizer", progress) if split == "train"
    )
    tokenizer.train_from_iterator(
        ([*chain.from_iterable(map(_pieces, batch))] for batch in _batches(texts)), trainer
    )
    if (learnt := tokenizer.get_vocab_size()) < vocab_size:
        raise DataError(
            f"the train text is too small: only {learnt} of the {vocab_size} tokens could be learnt from it: "
            f"use a vocab_size of at most {learnt} or more text"
        )
    return tokenizer


def _encode(
    sources: list[Source], tokenizer: Tokenizer, folder: Path, progress: Progress
) -> dict[str, dict]:
    """Append every document and one EOT to the file of its split; returns the counts of each split."""
    splits = {name: _Split(folder / f"{name}.bin", tokenizer) for name in SPLITS}
    for name, text, source in _documents(sources, "encode", progress):
        splits[name].add(text, source.wikitext)
    for name, split in splits.items():
        split.flush()
        if not split.counts["documents"]:
            raise DataError(
                f"no text for the {name} split: name a file with the word {name}, or give more documents (in .txt, empty "
                f"lines part them; about 2 % of the {splits['train'].counts['documents']} documents are held out)"
            )
    return {name: split.counts | {"sha256": sha256(split.path)} for name, split in splits.items()}


class _Split:
    """One token file: pieces of documents wait until a batch is full, then are encoded together and appended."""

    def __init__(self, path: Path, tokenizer: Tokenizer):
        self.path, self.waiting, self.chars = path, [], 0
        self.encode = getattr(
            tokenizer, "encode_batch_fast", tokenizer.encode_batch
        )  # fast: without the offsets
        self.counts = dict.fromkeys(
            ["documents", "lines", "words", "bytes", "tokens", "ppl_words"], 0
        )

    def add(self, text: str, wikitext: bool) -> None:
        lines, words = text.count("\n") + (not text.endswith("\n")), len(text.split())
        new = dict(
            documents=1,
            lines=lines,
            words=words,
            bytes=len(text.encode()),
            ppl_words=words + lines * wikitext,
        )
        for key, value in new.items():
            self.counts[key] += value
        *head, tail = _pieces(text)
        for piece, end in [*((piece, []) for piece in head), (tail, [EOT])]:
            self.waiting.append((piece, end))
            self.chars += len(piece)
            if self.chars >= BATCH_CHARS:
                self.flush()

    def flush(self) -> None:
        ids = array.array("H")
        encodings = self.encode([piece for piece, _ in self.waiting], add_special_tokens=False)
        for encoding, (_, end) in zip(encodings, self.waiting):
            ids.extend(encoding.ids + end)
        with open(self.path, "ab") as file:
            ids.tofile(file)
        self.counts["tokens"] += len(ids)
        self.waiting, self.chars = [], 0


def _documents(
    sources: list[Source], stage: str, progress: Progress
) -> Iterator[tuple[str, str, Source]]:
    """(split, text, source) of every document that is not blank."""
    for i, source in enumerate(sources):
        progress(stage, i / len(sources))
        for text in filter(str.strip, source.documents()):
            yield _held_out(text, source.held_out) or source.split, text, source
    progress(stage, 1.0)


def _held_out(text: str, splits: frozenset[str]) -> str | None:
    """The one of `splits` that takes this document out of train, by its hash: about 2 % (5 of 256) each."""
    if not splits:
        return None
    taker = {0: "valid", 1: "test"}.get(hashlib.sha256(text.encode()).digest()[0] // 5)
    return taker if taker in splits else None


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, chars = [], 0
    for text in texts:
        batch.append(text)
        if (chars := chars + len(text)) >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    yield batch


def _pieces(text: str) -> list[str]:
    """Cut a long document where a space follows a word: no token crosses that, so the tokens stay the same."""
    cuts = [0]
    while len(text) - cuts[-1] > PIECE_CHARS and (
        found := GAP.search(text, cuts[-1] + PIECE_CHARS)
    ):
        cuts.append(found.start())
    return [text[i:j] for i, j in zip(cuts, [*cuts[1:], None])]
