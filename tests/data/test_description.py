"""The tables of the data notebook agree with the corpus."""

from paramalloc.data import EOT_TEXT, describe, frequent_tokens, longest_tokens, token_counts


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
