"""Only the field `text` is read where there is one, whatever its type; else the only text."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from paramalloc.data.readers import read_documents
from paramalloc.errors import DataError

TEXTS = ["one über", "two", "", "three"]
NAMES = pa.array([f"row {i}" for i in range(4)])
SAME_TEXT = {
    "string": lambda: pa.array(TEXTS),
    "large": lambda: pa.array(TEXTS, pa.large_string()),
    "view": lambda: pa.array(TEXTS, pa.string_view()),
    "categories": lambda: pa.array(TEXTS).dictionary_encode(),
    "large categories": lambda: pa.array(TEXTS, pa.large_string()).dictionary_encode(),
    "bytes": lambda: pa.array([text.encode() for text in TEXTS], pa.large_binary()),
    "with null": lambda: pa.array([*TEXTS[:2], None, TEXTS[3]]),
}
NO_TEXT = {
    "null": lambda: pa.nulls(4),
    "list": lambda: pa.array([[text] for text in TEXTS]),
    "struct": lambda: pa.array([{"de": text} for text in TEXTS]),
    "int64": lambda: pa.array([1, 2, 3, 4]),
    "timestamp": lambda: pa.array([1, 2, 3, 4], pa.timestamp("s")),
}


def parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def jsonl(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("kind", SAME_TEXT)
def test_a_column_of_text_of_any_type(tmp_path, kind):
    path = parquet(tmp_path / "a.parquet", name=NAMES, text=SAME_TEXT[kind]())
    assert list(read_documents(path, False)) == TEXTS


@pytest.mark.parametrize("kind", NO_TEXT)
def test_another_column_is_not_read_in_its_place(tmp_path, kind):
    """The file, the column and its type are named."""
    path = parquet(tmp_path / "a.parquet", name=NAMES, text=NO_TEXT[kind]())
    with pytest.raises(DataError, match=f"a.parquet: no text in the column 'text', but {kind}"):
        list(read_documents(path, False))


@pytest.mark.parametrize(
    "wrong, name", [([1], "a list"), ({"de": "x"}, "an object"), (0.5, "a nu")]
)
def test_another_field_is_not_read_in_its_place(tmp_path, wrong, name):
    """Neither where the first record is wrong, nor a later one."""
    for records in ([wrong, "b"], ["b", wrong]):
        rows = [{"name": "n", "text": value} for value in records]
        with pytest.raises(DataError, match=f"no text in the field 'text', but {name}"):
            list(read_documents(jsonl(tmp_path / "a.jsonl", *rows), False))


def test_null_is_an_empty_text(tmp_path):
    """Of the first record, too."""
    rows = [{"name": "n", "text": text} for text in (None, "a", None)]
    assert list(read_documents(jsonl(tmp_path / "a.jsonl", *rows), False)) == ["", "a", ""]


@pytest.mark.parametrize(
    "first, second, message",
    [
        (
            {"name": "n"},
            {"name": "n", "text": "t"},
            "line 2: a field 'text', but the records befor",
        ),
        ({"id": "7", "body": None}, {"id": "8", "body": "b"}, "which column is the text"),
        ({"Text": "a", "TEXT": "b"}, {}, "which column is the text"),
    ],
)
def test_a_field_is_asked_about(tmp_path, first, second, message):
    with pytest.raises(DataError, match=message):
        list(read_documents(jsonl(tmp_path / "a.jsonl", first, second), False))


def test_text_in_capitals(tmp_path):
    rows = [{"title": "n", "Text": "a"}, {"title": "m", "Text": "b"}]
    assert list(read_documents(jsonl(tmp_path / "a.jsonl", *rows), False)) == ["a", "b"]


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_bytes_that_are_not_text(tmp_path, kind):
    """The file, the column and the place are named."""
    raw = pa.array([b"good"] * 1500 + [b"bad \xff"], pa.binary())
    texts = pa.Array.from_buffers(kind, len(raw), raw.buffers())
    path = parquet(tmp_path / "a.parquet", body=texts)
    with pytest.raises(DataError, match=r"a.parquet is not UTF-8.* rows 1001 to 1501 .*'body'"):
        list(read_documents(path, False))
