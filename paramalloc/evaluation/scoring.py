"""From items to outcomes: is the right choice of each the likeliest?

The conventions are those of lm-evaluation-harness (Gao et al. 2024): summed log-probabilities of a
choice after its context, and the same per character. But a tie of n choices counts 1 / n here, 1
there.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from ..data import EOT
from .ngram import LanguageModel
from .sets import Set

OUTCOME_COLUMNS = ("correct", "correct_norm", "bits", "bytes")


def ngram_log_likelihoods(
    ngram: LanguageModel, texts: list[list[int]], scored: list[int]
) -> np.ndarray:
    """Log-probability of the last `scored` tokens of each text, summed, (texts,).

    All texts are one stream, each from its end-of-text on.
    """
    closed = [text if text[0] == EOT else [EOT, *text] for text in texts]
    log_p = ngram.log_probabilities(np.concatenate(closed))  # of all tokens but the first
    log_p = np.concatenate(([0.0], log_p))
    sums = np.concatenate(([0.0], log_p.cumsum()))
    ends = np.cumsum([len(text) for text in closed])
    return sums[ends] - sums[ends - scored]


def encode(part: Set, tokenizer: Tokenizer, seq_len: int) -> tuple[list[list[int]], list[int]]:
    """Every choice after its context and an end-of-text, and how many tokens of it are the choice.

    A context that is too long for a window of seq_len loses its beginning; a choice never does.
    """
    whole = _ids(
        tokenizer, (item.context + choice for item in part.items for choice in item.choices)
    )
    contexts = _ids(tokenizer, (item.context for item in part.items))
    before = np.repeat([len(ids) for ids in contexts], [len(item.choices) for item in part.items])
    texts = []
    scored = []
    for ids, context in zip(whole, before.tolist(), strict=True):
        choice = len(ids) - context
        texts.append([EOT, *ids][-max(seq_len, choice) - 1 :])
        scored.append(choice)
    return texts, scored


def as_outcomes(part: Set, log_p: np.ndarray, likeliest: np.ndarray | None = None) -> pd.DataFrame:
    """One row per item: group and OUTCOME_COLUMNS, from the log-probabilities of all choices.

    `correct` is whether the right choice is the likeliest (of n that tie it is 1 / n),
    `correct_norm` the same with log-probabilities per character; `bits` and UTF-8 `bytes` are those
    of the right choice. A single choice, LAMBADA's word, is right if each of its tokens is the
    `likeliest`, which n-gram models do not tell. `log_p` and `likeliest` are (choices,).
    """
    greedily = np.full(len(part.items), math.nan)
    if likeliest is not None:
        greedily = likeliest[part.right].astype(float)
    is_single = part.choices == 1
    columns = {
        "correct": np.where(is_single, greedily, _credit(part, log_p)),
        "correct_norm": np.where(is_single, greedily, _credit(part, log_p / part.characters)),
        "bits": -log_p[part.right] / math.log(2),
        "bytes": part.right_bytes,
    }
    return pd.DataFrame({"group": part.groups} | columns)


def as_arrays(outcomes: dict[tuple[str, str], pd.DataFrame]) -> dict[str, np.ndarray]:
    """Outcomes by (model, set) as arrays by "model.set.column", (items,) float64."""
    arrays = {}
    for (name, part), frame in outcomes.items():
        for column in OUTCOME_COLUMNS:
            arrays[f"{name}.{part}.{column}"] = frame[column].to_numpy(np.float64)
    return arrays


def _ids(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _credit(part: Set, values: np.ndarray) -> np.ndarray:
    """1 if the right choice of an item has the highest value, 1 / n if n tie, else 0: (items,)."""
    starts = part.choices.cumsum() - part.choices
    highest = np.maximum.reduceat(values, starts)
    is_highest = values == np.repeat(highest, part.choices)
    return is_highest[part.right] / np.add.reduceat(is_highest.astype(int), starts)
