"""Where text comes from: files and folders of your own, the Hugging Face hub, the built-in corpus.

A source yields the documents of one split, as often as it is asked; nothing is held in memory.
"""

import codecs
import functools
import gzip
import hashlib
import io
import itertools
import json
import lzma
import math
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..config import ROOT
from ..errors import DataError
from . import builtin

SPLITS = ("train", "valid", "test")
HUB = {
    "wikitext-2": (
        "Salesforce/wikitext",
        "wikitext-2-v1",
        "b08601e04326c79dfdd32d625aee71d232d685c3",
    ),
    "wikitext-103": (
        "Salesforce/wikitext",
        "wikitext-103-v1",
        "b08601e04326c79dfdd32d625aee71d232d685c3",
    ),
    "wmt": ("wmt/wmt14", "de-en", None),  # and any wmtNN:xx-en
}
KNOWN = ", ".join(["builtin", *HUB, "wmt14:de-en and the like"])
LOCAL = "name a local folder, as in -p dataset path/to/folder"
BYTES_PER_TOKEN = (
    5  # a little more than English takes: the text that is streamed suffices for the token budget
)
FILE = re.compile(r"\.((txt|jsonl)(\.(gz|xz|zst))?|parquet)$", re.I)
OPEN = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".zst": lambda path: pa.input_stream(str(path), compression="zstd"),
}
UNREADABLE = (OSError, EOFError, lzma.LZMAError, zlib.error, pa.ArrowException)
TITLE = re.compile(r" = [^=].* = \r?\n")


class Source(NamedTuple):
    """Text of one split: `documents()` starts over at each call; `held_out` names splits to take out of it by hash."""

    split: str
    documents: Callable[[], Iterator[str]]
    wikitext: bool = False
    held_out: frozenset[str] = frozenset()


class Part(NamedTuple):
    """One corpus: `records` identify it without reading or loading it, `open` gives its sources."""

    name: str
    records: list[dict]
    open: Callable[[], list[Source]]


def resolve(dataset: str, tokens: int | None) -> list[Part]:
    """The corpora that `dataset` names, joined by `+` (an existing path that contains one wins)."""
    whole = Path(ROOT, dataset).exists()
    return [_resolve(name, tokens) for name in ([dataset] if whole else dataset.split("+"))]


def _resolve(name: str, tokens: int | None) -> Part:
    """A known corpus, else a file or folder."""
    if name == "builtin":
        record = {"name": name, "versions": builtin.versions()}
        return Part(
            name,
            [record],
            lambda: [Source(s, functools.partial(builtin.read_split, s)) for s in SPLITS],
        )
    if name in HUB or re.fullmatch(r"wmt\d\d:[a-z]{2}-en", name):
        return _hub(name, tokens)
    path = Path(
        os.path.abspath(ROOT / os.path.expanduser(name))
    )  # the name of `..` is that of the folder
    if not name or not path.exists():  # an empty name would mean the whole repository
        raise DataError(f"dataset {name!r}: no such file or folder, and no known corpus ({KNOWN})")
    return _files(path)


# Files


def _files(path: Path) -> Part:
    root = path if path.is_dir() else path.parent
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [
        file for file in files if FILE.search(file.name) and file.name[0] != "." and file.is_file()
    ]
    if not files:
        raise DataError(
            f"{path}: no .txt, .jsonl or .parquet file in it (text also as .gz, .xz, .zst)"
        )
    names = [file.relative_to(root).as_posix() for file in files]
    splits = [_split_of(name) for name in names]
    missing = frozenset(SPLITS) - {*splits}
    sizes = [{"bytes": file.stat().st_size, "sha256": sha256(file)} for file in files]
    records = [{"name": n, "split": s, **size} for n, s, size in zip(names, splits, sizes)]
    return Part(path.name, records, lambda: [_file(f, s, missing) for f, s in zip(files, splits)])


def _split_of(name: str) -> str:
    """The last word (a run of letters) that names a split, so that newstest2021 is no test; else train."""
    splits = {
        "train": "train",
        "valid": "valid",
        "validation": "valid",
        "dev": "valid",
        "test": "test",
    }
    return next(
        (splits[w] for w in reversed(re.findall("[a-z]+", name.lower())) if w in splits), "train"
    )


def sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _file(path: Path, split: str, missing: frozenset[str]) -> Source:
    held_out = missing if split == "train" else frozenset()
    kind = FILE.search(path.name)[1].lower()
    if not kind.startswith("txt"):
        return Source(
            split,
            functools.partial(_parquet if kind == "parquet" else _jsonl, path),
            False,
            held_out,
        )
    wikitext = bool(TITLE.fullmatch(next(filter(str.strip, _lines(path)), "")))
    cut = articles if wikitext else paragraphs
    return Source(split, lambda: cut(_lines(path)), wikitext, held_out)


def is_text_file(path: Path) -> bool:
    """Whether the name is that of a .txt, .jsonl (also compressed) or .parquet file."""
    return bool(FILE.search(path.name))


def open_file(path: Path) -> BinaryIO:
    """The bytes of a file, uncompressed if it is compressed (.gz, .xz, .zst)."""
    opener = OPEN.get(path.suffix.lower())
    return opener(path) if opener else open(path, "rb")


def _lines(path: Path) -> Iterator[str]:
    """The lines with their ends, as they are in the file (without a byte-order mark)."""
    offset = 0
    try:
        with io.BufferedReader(open_file(path)) as file:
            for line in file:
                yield (line if offset else line.removeprefix(codecs.BOM_UTF8)).decode()
                offset += len(line)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: bad byte at offset {offset + error.start}: convert it"
        ) from error
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error


def paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """The text between blank lines."""
    for blank, block in itertools.groupby(lines, key=lambda line: not line.strip()):
        if not blank:
            yield "".join(block).rstrip("\r\n")


def articles(lines: Iterable[str]) -> Iterator[str]:
    """WikiText, cut before each ` = Title = ` that stands between blank lines (prose may hold such a line, too)."""
    block = []
    for line in lines:
        if not line.strip() and _is_title(block):
            yield "".join(block[:-1])
            block = block[-1:]
        block.append(line)
    yield "".join(block)


def _is_title(block: list[str]) -> bool:
    """Whether the last line is a title and starts another article, not the first."""
    after_blank = len(block) > 1 and not block[-2].strip()
    return after_blank and bool(TITLE.fullmatch(block[-1])) and any(map(str.strip, block[:-1]))


def _jsonl(path: Path) -> Iterator[str]:
    field = None
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            record = dict(json.loads(line))
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}, line {number}: not a JSON object") from error
        field = field or _text_field(
            path, [k for k, v in record.items() if isinstance(v, str)], list(record)
        )
        if not isinstance(record.get(field), str):
            raise DataError(f"{path}, line {number}: no text in the field {field!r}")
        yield record[field].encode("utf-8", "replace").decode()  # "\ud800" is JSON, but no text


def _parquet(path: Path) -> Iterator[str]:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            strings = [
                f.name
                for f in schema
                if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
            ]
            field = _text_field(path, strings, schema.names)
            for batch in file.iter_batches(batch_size=1000, columns=[field]):
                yield from filter(None, batch.column(0).to_pylist())
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _text_field(path: Path, strings: list[str], columns: list[str]) -> str:
    if "text" in strings or len(strings) == 1:
        return "text" if "text" in strings else strings[0]
    raise DataError(
        f"{path}: which column is the text? Name it `text` (columns: {', '.join(columns)})"
    )


# The Hugging Face hub


def _hub(name: str, tokens: int | None) -> Part:
    """Found again without a network: `record` is what is asked for, and gets the commit when it is loaded."""
    repo, config, revision = HUB.get(name) or (f"wmt/{name[:5]}", name[6:], None)
    record = {"name": name, "hub": repo, "config": config, "revision": revision}
    if name.startswith("wmt"):
        if not tokens:
            raise DataError(
                f"{name} is streamed to a token budget: give tokens, as in -p tokens 50_000_000"
            )
        record["tokens"] = tokens
    return Part(name, [record], lambda: _load(record))


def _load(record: dict) -> list[Source]:
    name, budget = record["name"], record.get("tokens")
    with explain_hub_errors(name, LOCAL):
        from datasets import disable_progress_bars, load_dataset  # seconds to import

        disable_progress_bars()
        record["commit"] = revision_on_hub(record["hub"], record["revision"])
        splits = load_dataset(
            record["hub"], record["config"], revision=record["commit"], streaming=bool(budget)
        )
    names = {"validation" if split == "valid" else split: split for split in SPLITS}
    if budget:
        limits = {n: BYTES_PER_TOKEN * budget if n == "train" else math.inf for n in names}
        return [
            Source(names[n], _Spool(name, functools.partial(_english, splits[n], limits[n])))
            for n in names
        ]
    return [Source(names[n], functools.partial(_wikitext, splits[n]), wikitext=True) for n in names]


def revision_on_hub(repo: str, revision: str | None) -> str | None:
    """The commit that `revision` is; asked first, as one request fails at once where `datasets` tries for long."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        return HfApi().dataset_info(repo, revision=revision, timeout=5).sha
    except OfflineModeIsEnabled:  # HF_HUB_OFFLINE=1: the user's cache may have it
        return revision


@contextmanager
def explain_hub_errors(name: str, instead: str) -> Iterator[None]:
    """What goes wrong on the way to the hub, in one line that says what to do `instead`."""
    try:
        yield
    except Exception as error:  # whatever the network, the hub and three libraries may raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"cannot load {name} from the Hugging Face hub ({reason}): check the network or {instead}"
        ) from error


def _wikitext(rows) -> Iterator[str]:
    """The hub keeps one line per row, and lost the space of empty lines: with it the text equals the original file."""
    return articles(row or " \n" for batch in rows.iter(batch_size=1000) for row in batch["text"])


def _english(rows: Iterable[dict], limit: float) -> Iterator[str]:
    """Sentences until they have `limit` bytes."""
    size = 0
    for row in rows:
        yield row["translation"]["en"]
        if (size := size + len(row["translation"]["en"].encode())) >= limit:
            return


class _Spool:
    """Text that is downloaded once and read twice: kept in an unnamed temporary file."""

    def __init__(self, name: str, texts: Callable[[], Iterator[str]]):
        self.name, self.texts, self.file = name, texts, None

    def __call__(self) -> Iterator[str]:
        if self.file is None:
            self.file = tempfile.TemporaryFile("w+", encoding="utf-8")
            with explain_hub_errors(self.name, LOCAL):
                self.file.writelines(json.dumps(text) + "\n" for text in self.texts())
        self.file.seek(0)
        return map(json.loads, self.file)
