"""Which files of a folder are read, and what is said of the others."""

import os

import pytest
from data_fixtures import documents, folder, refuse

from paramalloc.data import prepare
from paramalloc.data.folders import list_files
from paramalloc.data.splits import SPLITS
from paramalloc.errors import DataError


def tree(root, *names):
    """A folder with these files; their folders are made."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")
    return root


def names(root):
    return [file.relative_to(root).as_posix() for file in list_files(root)[0]]


@pytest.mark.parametrize(
    "hidden",
    [
        ".ipynb_checkpoints/train-checkpoint.txt",
        "deep/.git/objects/a.txt",
        "__MACOSX/train.txt",
        "deep/._train.txt",
    ],
)
def test_hidden_text_is_left_out(tmp_path, hidden):
    """Of any depth, and it is said."""
    tree(tmp_path, "train.txt", "deep/test.txt", hidden)
    files, left_out = list_files(tmp_path)
    assert [file.name for file in files] == ["test.txt", "train.txt"]
    assert left_out.startswith("hidden: ") and left_out[8:].rstrip("/") in hidden


def test_a_corpus_in_a_hidden_folder_is_read(tmp_path):
    """Hidden is what is hidden in the folder that was named."""
    assert names(tree(tmp_path / ".cache" / "c", "train.txt", "sub/a.txt")) == [
        "sub/a.txt",
        "train.txt",
    ]


def test_linked_folders_are_read(tmp_path):
    """The corpus is that of the folder they lead to; links in it are followed, too."""
    tree(tmp_path / "far", "a.txt", "deep/b.txt")
    (tmp_path / "far" / "deep" / "more").symlink_to(tree(tmp_path / "farther", "c.txt"))
    root = tree(tmp_path / "c", "valid.txt")
    (root / "train").symlink_to(tmp_path / "far")
    assert names(root) == [
        "train/a.txt",
        "train/deep/b.txt",
        "train/deep/more/c.txt",
        "valid.txt",
    ]


def test_a_folder_is_read_once(tmp_path):
    """By its own name, however many links lead to it, or by its first link; rings end."""
    root = tree(tmp_path / "c", "z/train.txt")
    tree(tmp_path / "far", "x.txt")
    for name, target in {
        "a": root / "z",
        "ring": root,
        "z/up": root,
        "f": tmp_path / "far",
    }.items():
        (root / name).symlink_to(target)
    (root / "g").symlink_to(tmp_path / "far")
    files, left_out = list_files(root)
    assert [file.relative_to(root).as_posix() for file in files] == ["f/x.txt", "z/train.txt"]
    reason, links = left_out.split(": ")
    assert reason == "a link to a folder that is read already"
    assert sorted(links.split(", ")) == ["a/", "g/", "ring/", "z/up/"]


@pytest.mark.parametrize("name", ["train-2.txt", "deep/more.jsonl.xz", "train"])
def test_a_link_to_nothing_is_named(tmp_path, name):
    """Text that is not there would be missing without a word."""
    root = tree(folder(tmp_path / "c"), "deep/a.txt")
    (root / name).symlink_to("gone/far")
    refuse(tmp_path, root, f"{name} is a link to gone/far, which is not there")


def test_a_link_to_no_text_is_none_of_ours(tmp_path):
    root = tree(tmp_path, "train.txt")
    for name in ("cover.png", ".#train.txt"):
        (root / name).symlink_to("gone")
    assert names(root) == ["train.txt"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    root = tree(tmp_path, "train.txt", "closed/a.txt")
    listdir = os.listdir

    def refuse_closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse_closed)
    with pytest.raises(DataError, match=r"cannot read .*closed: Permission denied"):
        list_files(root)


def test_what_is_left_out_is_recorded(tmp_path):
    """In meta.json, in a line; it changes nothing of what is read."""
    plain = prepare(str(folder(tmp_path / "a")), 300, tmp_path)
    root = folder(tmp_path / "b")
    for i in range(7):
        (root / f"{i}.png").write_bytes(b"")
    tree(root, ".git/train.txt")
    corpus = prepare(str(root), 300, tmp_path)
    left_out = "not named as text: 0.png, 1.png, 2.png, 3.png, 4.png and 2 more"
    assert corpus.meta["left_out"] == [f"hidden: .git/; {left_out}"]
    assert plain.meta["left_out"] == [] and corpus.fingerprint == plain.fingerprint
    assert all(documents(corpus, split) == documents(plain, split) for split in SPLITS)


@pytest.mark.parametrize(
    "read, left_out",
    [
        (["childes.dev", "childes.test.xz", "childes.train"], ["notes.pdf"]),  # BabyLM
        (["wiki.test.tokens", "wiki.train.tokens"], ["wiki.zip"]),  # WikiText's own
        (["A.JSONL.GZ", "b.Parquet"], ["text8", "train"]),  # bare ones beside others
        (["AA/wiki_00", "AA/wiki_01", "enwik8.xz"], ["README", "a.b", "run.sh"]),  # bare ones alone
    ],
)
def test_names_that_are_text(tmp_path, read, left_out):
    """Those that people give; the others are named."""
    tree(tmp_path, *read, *left_out)
    files, said = list_files(tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == read
    assert said == f"not named as text: {', '.join(left_out)}"


def test_names_of_plain_text_change_nothing(tmp_path):
    """A corpus is the same, whatever its files of plain text are called."""
    plain = prepare(str(folder(tmp_path / "a")), 300, tmp_path)
    for name in ("{}", "c.{}", "w.{}.tokens"):
        root = folder(tmp_path / f"of {name[:3]}")
        for split in SPLITS:
            (root / f"{split}.txt").rename(root / name.format(split))
        assert prepare(str(root), 300, tmp_path).fingerprint == plain.fingerprint


def test_nothing_that_is_text_is_said_with_what_was_seen(tmp_path):
    root = tree(tmp_path / "c", *(f"{i}.csv" for i in range(7)))
    seen = "not named as text: 0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 2 more: rename what is plain"
    refuse(tmp_path, root, f"c: no .txt, .jsonl or .parquet file in it .*; {seen}")
    refuse(tmp_path, root / "0.csv", "0.csv: no .txt, .jsonl .*: rename what is plain text to .txt")
