"""A corpus in words and as tables: what went where, its longest and most frequent tokens."""

import pandas as pd

from .corpus import Corpus
from .folders import list_some
from .splits import SPLITS

COUNTS_SHOWN = ["documents", "lines", "words", "bytes", "tokens"]


def describe(corpus: Corpus) -> pd.DataFrame:
    """One row per split: the counts, bytes per token, and the unigram entropy (nats per token)."""
    table = pd.DataFrame(corpus.meta["splits"]).T[COUNTS_SHOWN].astype(int)
    table["bytes_per_token"] = table["bytes"] / table["tokens"]
    table["unigram_entropy"] = [corpus.unigram_entropy(split) for split in table.index]
    return table


def account(corpus: Corpus, tokens: int | None = None) -> str:
    """What went where: a line for each split, what is not read, how often `tokens` read train."""
    lines = [_split_line(corpus, split) for split in SPLITS]
    lines += [f"left out: {names}" for names in corpus.meta.get("left_out", [])]
    cut = [source["name"] for source in corpus.meta["sources"] if "separator" in source]
    if cut:
        lines.append(f"documents are cut at their markers, not at blank lines: {list_some(cut)}")
    if tokens:
        epochs = tokens / corpus.meta["splits"]["train"]["tokens"]
        lines.append(f"{tokens:,} tokens of training are {epochs:,.2f} epochs")
    return "\n".join(lines)


def _split_line(corpus: Corpus, split: str) -> str:
    """What a split holds, and of which files; for dev and test, what they share with train."""
    counts = corpus.meta["splits"][split]
    sizes = [f"{counts[name]:,} {name}" for name in ("documents", "words", "bytes")]
    line = f"{split}: {', '.join(sizes)}"
    sources = [source for source in corpus.meta["sources"] if "split" in source]
    names = [source["name"] for source in sources if source["split"] == split]
    if names:
        line += f", from {list_some(names)}"
    elif sources:
        line += ", held out of train"
    shared = corpus.meta.get("in_train", {}).get(split)
    if shared:
        line += f"; {shared:,} of these documents are in train as well"
    return line


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
