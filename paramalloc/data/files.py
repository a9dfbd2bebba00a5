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
from .splits import SPLIT_WORDS

UNREADABLE = (OSError, EOFError, lzma.LZMAError, zlib.error)

# Of plain text besides .txt: WikiText's, and BabyLM's, whose files end in the split's word.
PLAIN = "|".join(["txt", "tokens", *SPLIT_WORDS])
NOT_CORPUS = {"readme", "license", "licence", "copying", "notice", "authors", "makefile"}

_TEXT_FILE = re.compile(rf"\.((jsonl|{PLAIN})(\.(gz|xz|zst))?|parquet)$", re.I)
_BARE = re.compile(r"[^.]+(\.(gz|xz|zst))?", re.I)


def is_text_file(path: Path) -> bool:
    """Whether the name is that of plain text, .jsonl (also compressed) or .parquet."""
    return bool(_TEXT_FILE.search(path.name))


def is_bare_file(path: Path) -> bool:
    """Whether the name has no extension, as text8: it may be text, or anything."""
    return bool(_BARE.fullmatch(path.name)) and path.stem.lower() not in NOT_CORPUS


def format_of(path: Path) -> str:
    """txt, jsonl or parquet, from the name of a file that is read."""
    match = _TEXT_FILE.search(path.name)
    if match and not match[2]:
        return "parquet"
    if match and match[2].lower() == "jsonl":
        return "jsonl"
    return "txt"


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
