"""Reading what a run recorded. A damaged file is named and passed over; it ends no reader.

All of these files are renamed to their place when they are whole, so half a file is damage.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import RunError
from .schema import COLUMNS

TYPES: dict[str, Any] = {"text": str, "int": int, "float": (int, float), "bool": bool, "list": list}
# What every reader of a record takes for granted.
RECORD_KEYS = {"result.json": ("status", "dev_loss", "wall_s"), "config.json": ()}
LONGEST_LINE = 2**20  # bytes of metrics.jsonl; a record has about 150
TAIL = 2**16  # bytes at the end of metrics.jsonl that hold its last record

_told: set[str] = set()


def read_json(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file; None where it is missing, or damaged, which is said.

    A result.json or config.json is damaged too where a column cannot have its value.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _tell(f"cannot read {path}: {error.strerror}")
        return None
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) and _is_record(path.name, content):
        return content
    _tell(f"{path} is damaged: it is passed over. The command that wrote it writes it again")
    return None


def read_about(folder: Path) -> dict[str, Any]:
    """What config.json tells of a run; RunError where it is missing or damaged."""
    about = read_json(folder / "config.json") or {}
    if not {"parameters", "provenance", "data_fingerprint"} <= about.keys():
        advice = f"remove {folder} and train the run again"
        raise RunError(f"{folder / 'config.json'} is missing or damaged: {advice}")
    return about


def read_metrics(folder: Path, key: str = "") -> list[dict[str, Any]]:
    """The records of metrics.jsonl, or those that hold a key, without a last line that is still
    being written."""
    path = folder / "metrics.jsonl"
    records = []
    for number, line in enumerate(_lines(path), 1):
        if key and f'"{key}"'.encode() not in line:
            continue
        record = _as_record(line)
        if record is None:
            _tell(f"{path} is damaged at line {number}: what follows is left out")
            break
        records.append(record)
    return records


def last_record(folder: Path) -> dict[str, Any]:
    """The last record of metrics.jsonl, for which not all of a long file is read; or {}."""
    try:
        with open(folder / "metrics.jsonl", "rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            *lines, _ = file.read().split(b"\n")
    except OSError:
        lines = []
    record = _as_record(lines[-1]) if lines else None
    if record is None:
        record = (read_metrics(folder) or [{}])[-1]
    return record


def may_be(name: str, value: Any) -> bool:
    """Whether a column may have this value, by its kind."""
    kind = COLUMNS[name].kind
    if isinstance(value, bool) or value is None:
        return value is None or kind == "bool"
    if kind == "list":
        return isinstance(value, list) and all(map(_is_pair, value))
    return isinstance(value, TYPES[kind]) and not _is_endless(value)


# ---------------------------------------------------------------- one value, one line


def _is_record(name: str, content: dict[str, Any]) -> bool:
    if name not in RECORD_KEYS:
        return True
    columns = COLUMNS.keys() & content.keys()
    is_whole = all(key in content for key in RECORD_KEYS[name])
    return is_whole and all(may_be(column, content[column]) for column in columns)


def _is_pair(value: Any) -> bool:
    """Whether it is [tokens, a loss or nats], as in each column of lists."""
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (is_number and not _is_endless(value))


def _is_endless(value: Any) -> bool:
    """Whether it is NaN or infinite, which JSON has no word for."""
    return isinstance(value, float) and not math.isfinite(value)


def _lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, one at a time; nothing where it cannot be read."""
    try:
        with open(path, "rb") as file:
            while line := file.readline(LONGEST_LINE):
                if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                    return
                yield line
    except FileNotFoundError:
        return
    except OSError as error:
        _tell(f"cannot read {path}: {error.strerror}")


def _as_record(line: bytes) -> dict[str, Any] | None:
    """A line of metrics.jsonl; None where it is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_record = isinstance(record, dict) and "tokens" in record
    if not is_record or not all(map(_is_number, record.values())):
        return None
    return dict(record)


def _tell(text: str) -> None:
    """Say it once in a process, however often the file is looked at."""
    if text not in _told:
        _told.add(text)
        tqdm.write(f"paramalloc: {text}", file=sys.stderr)
