"""The tables of the data notebook agree with the corpus."""

from data_fixtures import documents, folder, sentences

from paramalloc.data import (
    EOT_TEXT,
    Corpus,
    account,
    describe,
    frequent_tokens,
    longest_tokens,
    prepare,
    token_counts,
)


def test_tables(corpus):
    """Counts agree with the token file, ranks follow counts, odd tokens are literals."""
    table = describe(corpus)
    counts = token_counts(corpus)
    assert table.loc["train", "tokens"] == counts["count"].sum() == len(corpus.split("train"))
    assert counts["count"].is_monotonic_decreasing
    assert counts["rank"].tolist() == list(range(1, 301))
    assert frequent_tokens(corpus, 3)["rank"].tolist() == [1, 2, 3]
    assert longest_tokens(corpus, 1)["token"].item() == repr(EOT_TEXT)
    assert repr("\n") in set(counts["token"])


def test_account_says_what_went_where(tmp_path):
    """Every split with its counts and files, what is left out, repeated or cut, and the epochs."""
    shared = sentences(60)[:2]
    texts = {"valid": "\n\n".join([*shared, "über"]), "more": f"a{EOT_TEXT}\nb{EOT_TEXT}\n" * 40}
    root = folder(tmp_path / "c", test=None, **texts)
    (root / "notes.pdf").write_bytes(b"")
    corpus = prepare(str(root), 270, tmp_path)
    train, valid, test, *others = account(corpus, 10 * len(corpus.split("train"))).splitlines()
    counts = corpus.meta["splits"]["train"]
    sizes = [f"{counts[name]:,} {name}" for name in ("documents", "words", "bytes")]
    assert train == f"train: {', '.join(sizes)}, from more.txt, train.txt"
    assert valid.startswith("valid: 3 documents, ") and ", from valid.txt; " in valid
    count = len(set(shared) & set(documents(corpus, "train")))
    assert valid.endswith(f"; {count} of these documents are in train as well")
    assert test.startswith("test: ") and test.endswith(", held out of train")
    assert others == [
        "left out: not named as text: notes.pdf",
        "documents are cut at their markers, not at blank lines: more.txt",
        f"{10 * counts['tokens']:,} tokens of training are 10.00 epochs",
    ]


def test_account_of_a_corpus_without_files(corpus):
    """One that was prepared earlier, or is of the hub, has less to say."""
    sources = [{"name": "wikitext-2"}]
    meta = {name: corpus.meta[name] for name in ("splits",)} | {"sources": sources}
    lines = account(Corpus(corpus.folder, meta)).splitlines()
    assert [line.split(":")[0] for line in lines] == ["train", "valid", "test"]
    assert all(line.endswith("bytes") for line in lines)
