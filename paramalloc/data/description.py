"""A corpus as tables: its splits, and its longest and most frequent tokens."""

import pandas as pd

from .corpus import Corpus

COUNTS_SHOWN = ["documents", "lines", "words", "bytes", "tokens"]


def describe(corpus: Corpus) -> pd.DataFrame:
    """One row per split: the counts, bytes per token, and the unigram entropy (nats per token)."""
    table = pd.DataFrame(corpus.meta["splits"]).T[COUNTS_SHOWN].astype(int)
    table["bytes_per_token"] = table["bytes"] / table["tokens"]
    table["unigram_entropy"] = [corpus.unigram_entropy(split) for split in table.index]
    return table


def token_counts(corpus: Corpus) -> pd.DataFrame:
    """All tokens by rank: token (as a Python literal), id, count in train, rank (1 is the most
    frequent)."""
    ids = range(corpus.meta["vocab_size"])
    texts = corpus.tokenizer.decode_batch([[i] for i in ids], skip_special_tokens=False)
    columns = {"token": map(repr, texts), "id": ids, "count": corpus.counts("train")}
    table = pd.DataFrame(columns)
    table = table.sort_values("count", ascending=False, kind="stable", ignore_index=True)
    return table.assign(rank=table.index + 1)


def frequent_tokens(corpus: Corpus, n: int = 10) -> pd.DataFrame:
    """The n tokens that occur most often in train."""
    return token_counts(corpus).head(n)


def longest_tokens(corpus: Corpus, n: int = 10) -> pd.DataFrame:
    """The n tokens of the most characters; of equals the more frequent first."""
    table = token_counts(corpus)
    lengths = table["token"].str.len().sort_values(ascending=False, kind="stable")
    return table.loc[lengths.index].head(n)
