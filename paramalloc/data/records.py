"""Files of records to texts: .jsonl and .parquet, each read from one field.

The field is the one called `text`, of whatever type: another is never read in its place.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from ..packages import require
from .files import UNREADABLE, read_lines

PARQUET_ROWS = 1000  # read at a time
PARQUET_TEXT = ("string", "large_string")  # types of a column of text
PARQUET_READABLE = (*PARQUET_TEXT, "string_view", "binary", "large_binary", "binary_view")
NEVER_TEXT = ("id", "_id", "uuid", "url")  # fields that are not guessed to be the text
JSON_TYPES = {list: "a list", dict: "an object", bool: "a boolean", int: "a number"}


def read_jsonl(path: Path) -> Iterator[str]:
    """The text field of every record, empty where it is null.

    The first record decides which field that is.
    """
    field = None
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        record = _parse_record(path, number, line)
        if field is None:
            strings = [name for name, value in record.items() if isinstance(value, str)]
            field = _text_field(path, strings, list(record))
        text = _text_of(record, field, f"{path}, line {number}")
        yield text.encode("utf-8", "replace").decode()  # "\ud800" is JSON, but no text


def _text_of(record: dict, field: str, place: str) -> str:
    """The text of a record; DataError where its field is missing, or holds something else."""
    if "text" in record and field != "text":
        raise DataError(f"{place}: a field 'text', but the records before have {field!r}")
    if field not in record:
        raise DataError(f"{place}: no text in the field {field!r}")
    value = record[field]
    if value is not None and not isinstance(value, str):
        found = JSON_TYPES.get(type(value), "a number")
        raise DataError(f"{place}: no text in the field {field!r}, but {found}")
    return value or ""


def _parse_record(path: Path, number: int, line: str) -> dict:
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}, line {number}: not a JSON object") from error


def read_parquet(path: Path) -> Iterator[str]:
    """The text column of every row, empty where it is null."""
    require(str(path), "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    end = 0
    try:
        with pq.ParquetFile(path) as file:
            field = _text_column(path, file.schema_arrow)
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=[field]):
                start, end = end, end + len(batch)
                yield from map(_as_text, batch.column(0).to_pylist())
    except UnicodeDecodeError as error:
        rows = f"rows {start + 1} to {end} of the column {field!r}"
        raise DataError(f"{path} is not UTF-8 text: bad bytes in {rows}: convert it") from error
    except (*UNREADABLE, pa.ArrowException) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def _text_column(path: Path, schema) -> str:
    """The column that is read; DataError if it is of a type that is no text."""
    strings = [column.name for column in schema if str(column.type) in PARQUET_TEXT]
    types = {column.name: _type_of(column.type) for column in schema}
    readable = [name for name, kind in types.items() if kind in PARQUET_READABLE]
    field = _text_field(path, strings or readable, schema.names)
    if field not in readable:
        raise DataError(f"{path}: no text in the column {field!r}, but {types[field]}")
    return field


def _type_of(kind) -> str:
    """The type of a column's values; a dictionary's are those that it lists once each."""
    if str(kind).startswith("dictionary"):
        return str(kind.value_type)
    return str(kind)


def _as_text(value: str | bytes | None) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return value or ""


def _text_field(path: Path, strings: list[str], names: list[str]) -> str:
    """Which of the fields is the text: the one called `text`, else the only one of `strings`."""
    called_text = [name for name in names if name.lower() == "text"]
    if "text" in names or len(called_text) == 1:
        return min(called_text, key=lambda name: name != "text")
    if len(strings) == 1 and strings[0].lower() not in NEVER_TEXT and not called_text:
        return strings[0]
    columns = ", ".join(names)
    raise DataError(f"{path}: which column is the text? Name it `text` (columns: {columns})")
