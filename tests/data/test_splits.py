"""Which split a file and a document belong to."""

import pytest
from data_fixtures import documents, folder, refuse, sentences

from paramalloc.data import prepare
from paramalloc.data.sources import resolve
from paramalloc.data.splits import SPLITS, split_of_name
from paramalloc.errors import DataError


@pytest.mark.parametrize(
    "name, split",
    [
        ("train-0.txt", "train"),
        ("wiki.valid.txt", "valid"),
        ("validation/0.txt", "valid"),
        ("my_dev.txt", "valid"),
        ("Test.TXT", "test"),
        ("newstest2021.txt", "train"),
        ("contest.txt", "train"),
        ("trainer.txt", "train"),
        ("val-1.jsonl", "valid"),
        ("Eval/a.txt", "valid"),
        ("a.testing.txt", "test"),
        ("test data/training.txt", "train"),
        ("trian.txt", "train"),  # what it would be anyway
        ("tset/a-test.txt", "test"),  # its last word is sure
        ("validity, text, latest, rest, value, level, medieval.txt", "train"),
        ("an evaluation of development.txt", "train"),
    ],
)
def test_split_by_name(name, split):
    """The split is a word of the name, not a part of a word."""
    assert split_of_name(name) == split


@pytest.mark.parametrize(
    "name, word, split",
    [
        ("vaild.txt", "vaild", "valid"),
        ("corpus/Validaton-0.parquet", "validaton", "valid"),
        ("c.valset.txt", "valset", "valid"),
        ("evaluation/a.txt", "evaluation", "valid"),
        ("my-tests.txt", "tests", "test"),
        ("train/testdata.txt", "testdata", "test"),
        ("test/trian.txt", "trian", "train"),
    ],
)
def test_a_word_near_a_split_is_asked_about(name, word, split):
    """It is not guessed; the message names the file, the word and what it may mean."""
    with pytest.raises(DataError, match=f"{name}: does '{word}' mean the {split} split"):
        split_of_name(name)


def essays(path, *others, size=300):
    """150 essays and other files of the same size."""
    for name in [*(f"essay {i}.txt" for i in range(150)), *others]:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"{name} ".ljust(size, "x"))
    return path


@pytest.mark.parametrize(
    "titles, message",
    [
        (["my driving test.txt"], r"test would be 'my driving test.txt' alone \(300 bytes\)"),
        (
            ["deep/a val d'isere.txt", "trip/devil and dev.txt"],
            r"""valid would be "deep/a val d'isere.txt", 'trip/devil and dev.txt' alone \(600""",
        ),
        (
            ["a valid pass.txt", "testing beds.txt"],
            "^valid would be .* and test would be .* 45,000",
        ),
    ],
)
def test_a_split_that_titles_make_is_refused(tmp_path, titles, message):
    """The message names all of its files."""
    refuse(tmp_path, essays(tmp_path / "c", *titles), message)


@pytest.mark.parametrize(
    "names, size",
    [
        (["test/a title.txt"], 300),  # a folder
        (["essays.test-1.txt"], 300),  # a piece of the name
        (["a test.txt", "b test.txt", "c test.txt"], 300),  # as much as a hold-out
        (["a test.txt"], 100_000),  # enough text
        ([f"my-train-{i}.txt" for i in range(150)] + ["a-test.txt"], 300),  # train is named, too
    ],
)
def test_a_split_that_is_meant_is_taken(tmp_path, names, size):
    (part,) = resolve(str(essays(tmp_path, *names, size=size)), None)
    assert sum(record["split"] == "test" for record in part.records) == sum(
        "test" in n for n in names
    )


def test_held_out_is_disjoint_and_deterministic(tmp_path):
    """A missing split takes whole documents out of train, the same ones each time."""
    texts = sentences(1000) + sentences(100)  # a tenth twice
    corpora = []
    for name in ("a", "b"):
        path = folder(tmp_path / name, train="\n\n".join(texts), valid=None, test=None)
        corpora.append(prepare(str(path), 300, tmp_path / name))
    assert corpora[0].fingerprint == corpora[1].fingerprint
    train, valid, test = (documents(corpora[0], split) for split in SPLITS)
    assert sorted(train + valid + test) == sorted(texts)
    assert not set(train) & set(valid) and not set(train) & set(test) and not set(valid) & set(test)
    assert 5 < len(valid) < 45 and 5 < len(test) < 45


def test_only_the_missing_split_is_held_out(tmp_path):
    """A split that has a file gets nothing from train."""
    corpus = prepare(str(folder(tmp_path / "c", n=300, test=None)), 300, tmp_path)
    assert documents(corpus, "valid") == sentences(300, 1)
    assert 0 < len(documents(corpus, "test")) < 30
