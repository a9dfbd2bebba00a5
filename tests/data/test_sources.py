"""What a dataset's name means."""

import pytest
from data_fixtures import documents, folder, refuse, sentences

from paramalloc.data import prepare


def test_joined(tmp_path):
    """`a+b` holds the documents of both, in order."""
    a = folder(tmp_path / "a")
    b = folder(tmp_path / "b", valid="another valid text")
    corpus = prepare(f"{a}+{b}", 300, tmp_path)
    assert corpus.name == "a+b"
    assert documents(corpus, "valid") == [*sentences(60, 1), "another valid text"]


def test_path_with_plus_wins(tmp_path):
    """A folder whose name holds a `+` is that folder."""
    corpus = prepare(str(folder(tmp_path / "c+c")), 300, tmp_path)
    assert corpus.meta["splits"]["train"]["documents"] == 60


@pytest.mark.parametrize("dataset", ["~/c++", "~/c+++~/o", "~/o+~/c++", "~/o+~/c+++~/o"])
def test_a_plus_within_a_path_joins_nothing(tmp_path, monkeypatch, dataset):
    """Also after ~ and in a join."""
    monkeypatch.setenv("HOME", str(tmp_path))
    folder(tmp_path / "c++", n=20)
    folder(tmp_path / "o", n=20)
    corpus = prepare(dataset, 257, tmp_path / "out")
    assert corpus.name == dataset.replace("~/", "")
    assert corpus.meta["splits"]["train"]["documents"] == 20 * len(dataset.split("~")[1:])


@pytest.mark.parametrize("name", ["wikitext2", ""])
def test_unknown_name(tmp_path, name):
    """A name that is neither lists the known corpora."""
    known = "builtin, wikitext-2, wikitext-103, wmt"
    refuse(tmp_path, name, f"'{name}': no such file or folder.*{known}")


def test_missing_in_a_join(tmp_path):
    """The missing part of a join is the one that is named."""
    refuse(tmp_path, f"{folder(tmp_path / 'c')}+{tmp_path / 'no'}", "no': no such file or folder")


def test_empty_folder(tmp_path):
    """A folder without a text file says which formats are read."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "image.png").write_bytes(b"")
    refuse(tmp_path, tmp_path / "c", r"no .txt, .jsonl or .parquet file")
