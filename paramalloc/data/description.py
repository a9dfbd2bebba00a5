"""A corpus as tables: its splits, and its longest and most frequent tokens."""

import pandas as pd

from .corpus import Corpus


def describe(corpus: Corpus) -> pd.DataFrame:
    """One row per split: the counts, bytes per token, and the unigram entropy (nats per token)."""
    table = (
        pd.DataFrame(corpus.meta["splits"])
        .T[["documents", "lines", "words", "bytes", "tokens"]]
        .astype(int)
    )
    table["bytes_per_token"] = table["bytes"] / table["tokens"]
    return table.assign(unigram_entropy=[corpus.unigram_entropy(split) for split in table.index])


def token_counts(corpus: Corpus) -> pd.DataFrame:
    """token (as a Python literal), id, count in train and rank (1 is the most frequent), by rank."""
    texts = corpus.tokenizer.decode_batch(
        [[i] for i in range(corpus.meta["vocab_size"])], skip_special_tokens=False
    )
    table = pd.DataFrame(
        {"token": map(repr, texts), "id": range(len(texts)), "count": corpus.counts("train")}
    )
    table = table.sort_values("count", ascending=False, kind="stable", ignore_index=True)
    return table.assign(rank=table.index + 1)


def frequent_tokens(corpus: Corpus, n: int = 10) -> pd.DataFrame:
    """The n tokens that occur most often in train."""
    return token_counts(corpus).head(n)


def longest_tokens(corpus: Corpus, n: int = 10) -> pd.DataFrame:
    """The n tokens of the most characters; of equals the more frequent first."""
    table = token_counts(corpus)
    return table.loc[
        table["token"].str.len().sort_values(ascending=False, kind="stable").index
    ].head(n)
