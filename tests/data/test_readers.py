"""Files to documents: every format gives the same text, and what is broken is named."""

import gzip
import json
import lzma

import pandas as pd
import pyarrow as pa
import pytest
from data_fixtures import WIKI, documents, folder, refuse, sentences

from paramalloc.data import EOT_TEXT, prepare
from paramalloc.data.readers import find_separator, read_documents
from paramalloc.data.splits import SPLITS


def write(path, text):
    if path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(text.encode())
    else:
        opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
        with opener(path, "wb") as file:
            file.write(text.encode())


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_text_formats(tmp_path, corpus, kind, suffix):
    """.txt and .jsonl, plain or compressed, give the same token files."""
    path = tmp_path / "c"
    path.mkdir()
    for seed, split in enumerate(SPLITS):
        texts = sentences(60, seed)
        lines = [json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)]
        content = {"txt": "\n\n".join(texts), "jsonl": "".join(lines)}[kind]
        write(path / f"{split}.{kind}{suffix}", content)
    assert prepare(str(path), 300, tmp_path).fingerprint == corpus.fingerprint


def test_parquet(tmp_path, corpus):
    """Parquet is read from `text`, else from the only column of strings."""
    (tmp_path / "c").mkdir()
    columns = {"train": "text", "valid": "body", "test": "text"}
    for seed, split in enumerate(SPLITS):
        table = pd.DataFrame({columns[split]: sentences(60, seed), "n": 1})
        table.to_parquet(tmp_path / "c" / f"{split}.parquet")
    assert prepare(str(tmp_path / "c"), 300, tmp_path).fingerprint == corpus.fingerprint


def test_wikitext_is_cut_at_titles(tmp_path):
    """Titles stand between blank lines; all text is kept; lines count as words for perplexity."""
    corpus = prepare(str(folder(tmp_path / "c", test=WIKI)), 300, tmp_path)
    cut = WIKI.index(" = Dog =")
    assert documents(corpus, "test") == [WIKI[:cut], WIKI[cut:]]
    split = corpus.meta["splits"]["test"]
    assert (split["lines"], split["words"]) == (WIKI.count("\n"), len(WIKI.split()))
    assert split["ppl_words"] == split["words"] + split["lines"]
    assert split["bytes"] == len(WIKI.encode())


@pytest.mark.slow
def test_published_wikitext_2_counts(shared_data, tmp_path):
    """words + lines are the published token counts, articles 600 / 60 / 60."""
    splits = prepare(str(shared_data / "wikitext-2"), 1000, tmp_path).meta["splits"]
    assert [splits[s]["ppl_words"] for s in SPLITS] == [2_088_628, 217_646, 245_569]
    assert [splits[s]["documents"] for s in SPLITS] == [600, 60, 60]


def test_not_utf8(tmp_path):
    """The file and the offset of the byte are named."""
    path = folder(tmp_path / "c")
    (path / "train-2.txt").write_bytes(b"good\n\nna\xefve")
    refuse(tmp_path, path, r"train-2.txt is not UTF-8 text: bad byte at offset 8")


@pytest.mark.parametrize(
    "name", ["broken.txt.gz", "broken.txt.xz", "broken.jsonl.zst", "broken.parquet"]
)
def test_broken_file(tmp_path, name):
    """A file that is not in its format is named."""
    path = folder(tmp_path / "c")
    (path / name).write_bytes(b"this is not it")
    refuse(tmp_path, path, f"cannot read .*{name}")


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"a": "x", "b": "y"}', r"which column is the text\? Name it `text` \(columns: a, b\)"),
        ('{"text": "x"}\n{"text": 3}', "line 2: no text in the field 'text'"),
        ('{"text": "x"}\n{"text": ', "line 2: not a JSON object"),
        ("[1]", "line 1: not a JSON object"),
    ],
)
def test_jsonl_without_text(tmp_path, line, message):
    """A record without text is named by file and line."""
    path = folder(tmp_path / "c")
    (path / "more.jsonl").write_text(line)
    refuse(tmp_path, path, f"more.jsonl.*{message}")


STORIES = ["Once.\n\n  The end.", '"Hello," he said.', "Three\nlines\nhere"]


@pytest.mark.parametrize("marker", [EOT_TEXT, "</s>"])
@pytest.mark.parametrize(
    "between", ["\n{}\n", "\r\n{}\r\n\r\n", "{}\n", "\n{} \n\n", " {}\n", "{}", "\n{}"]
)
def test_markers_part_documents(tmp_path, marker, between):
    """As lines, at ends or beginnings of lines, or between two words; blank lines do not."""
    path = tmp_path / "a.txt"
    gap = between.format(marker)
    for ending in ("", gap, "\n"):
        path.write_bytes((gap.join(STORIES * 3) + ending).encode())
        texts = [text for text in read_documents(path, False, find_separator(path)) if text.strip()]
        assert [text.rstrip(" ") for text in texts] == STORIES * 3


@pytest.mark.parametrize(
    "text",
    [
        f"The token {EOT_TEXT} ends a text,\nthe token {EOT_TEXT} does.\n\nIt is `{EOT_TEXT}`.",
        f"Only one{EOT_TEXT}of them.",
        "<s>Old</s>new, <s>bad</s>\n<s>very</s>\n\ngood.",
    ],
)
def test_a_marker_that_is_written_about_is_text(tmp_path, text):
    """Blank lines part the documents."""
    path = tmp_path / "a.txt"
    path.write_text(text)
    assert find_separator(path) is None
    assert list(read_documents(path)) == text.split("\n\n")


def test_a_marker_inside_a_document_is_text(tmp_path):
    """Where others are lines."""
    texts = [f"The token {EOT_TEXT} ends it, and `{EOT_TEXT}`\n\nis {EOT_TEXT}.", "Another."]
    path = folder(tmp_path / "c", valid=f"\n{EOT_TEXT}\n".join(texts))
    corpus = prepare(str(path), 300, tmp_path)
    assert documents(corpus, "valid") == texts
    separators = [record.get("separator") for record in corpus.meta["sources"]]
    assert separators == [None, None, EOT_TEXT]
