"""Files to documents: .txt, .jsonl (both also compressed) and .parquet, read as streams."""

import codecs
import gzip
import hashlib
import io
import itertools
import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError
from ..packages import require

UNREADABLE = (OSError, EOFError, lzma.LZMAError, zlib.error)
PARQUET_ROWS = 1000  # read at a time
PARQUET_TEXT = ("string", "large_string")  # types of a column of text

_TEXT_FILE = re.compile(r"\.((txt|jsonl)(\.(gz|xz|zst))?|parquet)$", re.I)
_TITLE = re.compile(r" = [^=].* = \r?\n")


# Files


def is_text_file(path: Path) -> bool:
    """Whether the name is that of a .txt, .jsonl (also compressed) or .parquet file."""
    return bool(_TEXT_FILE.search(path.name))


def open_file(path: Path) -> BinaryIO:
    """The bytes of a file, decompressed if its name ends in .gz, .xz or .zst."""
    openers = {".gz": gzip.open, ".xz": lzma.open, ".zst": _open_zstd}
    opener = openers.get(path.suffix.lower())
    return opener(path) if opener else open(path, "rb")


def _open_zstd(path: Path) -> BinaryIO:
    require(str(path), "pyarrow")
    import pyarrow as pa  # only here: no other format needs it

    return pa.input_stream(str(path), compression="zstd")


def hash_file(path: Path) -> str:
    """The SHA-256 of the bytes of a file as they lie on disk, in hex."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


# Documents


def read_documents(path: Path, wikitext: bool) -> Iterator[str]:
    """The documents of a file; a `wikitext` one (`is_wikitext`) is cut into articles.

    DataError names the file, and the line or byte that is wrong.
    """
    kind = _format(path)
    if kind == "jsonl":
        return _read_jsonl(path)
    if kind == "parquet":
        return _read_parquet(path)
    if wikitext:
        return cut_articles(_read_lines(path))
    return cut_paragraphs(_read_lines(path))


def is_wikitext(path: Path) -> bool:
    """Whether a .txt file is WikiText: its first line with text is a ` = Title = `."""
    if _format(path) != "txt":
        return False
    first = next(filter(str.strip, _read_lines(path)), "")
    return bool(_TITLE.fullmatch(first))


def _format(path: Path) -> str:
    """txt, jsonl or parquet, from the name of a text file."""
    match = _TEXT_FILE.search(path.name)
    return (match[2] or "parquet").lower()


def cut_paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """The blocks of text between blank lines."""
    for is_blank, block in itertools.groupby(lines, key=lambda line: not line.strip()):
        if not is_blank:
            yield "".join(block).rstrip("\r\n")


def cut_articles(lines: Iterable[str]) -> Iterator[str]:
    """WikiText, cut before each ` = Title = ` between blank lines (prose may hold such a line)."""
    block = []
    for line in lines:
        if not line.strip() and _ends_in_title(block):
            yield "".join(block[:-1])
            block = block[-1:]
        block.append(line)
    yield "".join(block)


def _ends_in_title(block: list[str]) -> bool:
    """Whether the last line is a title after a blank line, with an article before it."""
    after_blank = len(block) > 1 and not block[-2].strip()
    return after_blank and bool(_TITLE.fullmatch(block[-1])) and any(map(str.strip, block[:-1]))


# Formats


def _read_lines(path: Path) -> Iterator[str]:
    """The lines with their ends, as they are in the file (without a byte-order mark)."""
    offset = 0
    try:
        with io.BufferedReader(open_file(path)) as file:
            for line in file:
                text = line if offset else line.removeprefix(codecs.BOM_UTF8)
                yield text.decode()
                offset += len(line)
    except UnicodeDecodeError as error:
        message = f"bad byte at offset {offset + error.start}: convert it"
        raise DataError(f"{path} is not UTF-8 text: {message}") from error
    except UNREADABLE as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _read_jsonl(path: Path) -> Iterator[str]:
    """The text field of every record; the first record decides which field that is."""
    field = None
    for number, line in enumerate(_read_lines(path), 1):
        if not line.strip():
            continue
        record = _parse_record(path, number, line)
        if field is None:
            strings = [name for name, value in record.items() if isinstance(value, str)]
            field = _text_field(path, strings, list(record))
        if not isinstance(record.get(field), str):
            raise DataError(f"{path}, line {number}: no text in the field {field!r}")
        yield record[field].encode("utf-8", "replace").decode()  # "\ud800" is JSON, but no text


def _parse_record(path: Path, number: int, line: str) -> dict:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}, line {number}: not a JSON object") from error


def _read_parquet(path: Path) -> Iterator[str]:
    require(str(path), "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow
            strings = [column.name for column in columns if str(column.type) in PARQUET_TEXT]
            field = _text_field(path, strings, columns.names)
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=[field]):
                yield from filter(None, batch.column(0).to_pylist())
    except (*UNREADABLE, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _text_field(path: Path, strings: list[str], names: list[str]) -> str:
    """Which of the fields `strings` is the text: the one called `text`, else the only one."""
    if "text" in strings:
        return "text"
    if len(strings) == 1:
        return strings[0]
    columns = ", ".join(names)
    raise DataError(f"{path}: which column is the text? Name it `text` (columns: {columns})")
