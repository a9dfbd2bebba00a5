"""Files of text: which are, what is in them as bytes and lines, what goes wrong."""

import codecs
import gzip
import hashlib
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError
from ..packages import require

UNREADABLE = (OSError, EOFError, lzma.LZMAError, zlib.error)

_TEXT_FILE = re.compile(r"\.((txt|jsonl)(\.(gz|xz|zst))?|parquet)$", re.I)


def is_text_file(path: Path) -> bool:
    """Whether the name is that of a .txt, .jsonl (also compressed) or .parquet file."""
    return bool(_TEXT_FILE.search(path.name))


def format_of(path: Path) -> str:
    """txt, jsonl or parquet, from the name of a text file."""
    match = _TEXT_FILE.search(path.name)
    return (match[2] or "parquet").lower()


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


def read_lines(path: Path) -> Iterator[str]:
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
