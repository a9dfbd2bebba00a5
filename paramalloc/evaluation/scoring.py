"""From items to outcomes: is the right choice of each the likeliest?

The conventions are those of lm-evaluation-harness (Gao et al. 2024): summed log-probabilities of a
choice after its context, and the same per character. But a tie of n choices counts 1 / n here, 1
there.
"""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from ..data import EOT
from ..model import DecoderLM
from .likelihood import log_likelihoods
from .ngram import LanguageModel
from .sets import Choices, Set

OUTCOME_COLUMNS = ("correct", "correct_norm", "bits", "bytes")


class Score(Protocol):
    """The log-probabilities that a language model gives to texts."""

    def __call__(
        self, texts: list[list[int]], scored: list[int], greedy: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """That of the last `scored` tokens of each text, summed, (texts,).

        If `greedy` also whether each of these was the likeliest, where the model tells, (texts,).
        """


def model_score(model: DecoderLM, progress: Callable[[float], None] | None = None) -> Score:
    """The score of a decoder; `progress` is told the fraction done."""

    def score(texts, scored, greedy):
        return log_likelihoods(model, texts, scored, greedy, progress)

    return score


def ngram_score(ngram: LanguageModel) -> Score:
    """The score of an n-gram model: all texts as one stream, each from its end-of-text on."""

    def score(texts, scored, greedy=False):
        closed = [text if text[0] == EOT else [EOT, *text] for text in texts]
        log_p = ngram.log_probabilities(np.concatenate(closed))  # of all tokens but the first
        log_p = np.concatenate(([0.0], log_p))
        sums = np.concatenate(([0.0], log_p.cumsum()))
        ends = np.cumsum([len(text) for text in closed])
        return sums[ends] - sums[ends - scored], None

    return score


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


def score_items(part: Set, tokenizer: Tokenizer, seq_len: int, score: Score) -> pd.DataFrame:
    """One row per item: group and OUTCOME_COLUMNS.

    `correct` is whether the right choice is the likeliest (of n that tie it is 1 / n),
    `correct_norm` the same with log-probabilities per character; `bits` and UTF-8 `bytes` are those
    of the right choice. A single choice, LAMBADA's word, is right if each of its tokens is the
    likeliest.
    """
    greedy = any(len(item.choices) == 1 for item in part.items)
    texts, scored = encode(part, tokenizer, seq_len)
    log_p, likeliest = score(texts, scored, greedy)
    rows = []
    start = 0
    for item in part.items:
        stop = start + len(item.choices)
        greedily = math.nan if likeliest is None else float(likeliest[start])
        rows.append(_outcome(item, log_p[start:stop], greedily))
        start = stop
    return pd.DataFrame(rows, columns=["group", *OUTCOME_COLUMNS])


def as_arrays(outcomes: dict[tuple[str, str], pd.DataFrame]) -> dict[str, np.ndarray]:
    """Outcomes by (model, set) as arrays by "model.set.column", (items,) float64."""
    arrays = {}
    for (name, part), frame in outcomes.items():
        for column in OUTCOME_COLUMNS:
            arrays[f"{name}.{part}.{column}"] = frame[column].to_numpy(np.float64)
    return arrays


def _ids(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _outcome(item: Choices, log_p: np.ndarray, greedily: float) -> tuple:
    """The row of an item, from the log-probabilities of its choices, (choices,)."""
    right = item.choices[item.gold]
    correct = correct_norm = greedily
    if len(item.choices) > 1:
        correct = _credit(log_p, item.gold)
        characters = [max(1, len(choice.strip())) for choice in item.choices]
        correct_norm = _credit(log_p / characters, item.gold)
    bits = -log_p[item.gold] / math.log(2)
    return item.group, correct, correct_norm, bits, len(right.encode())


def _credit(values: np.ndarray, gold: int) -> float:
    """1 if values[gold] is the highest, 1 / n if n are equally high, else 0."""
    highest = values == values.max()
    return highest[gold] / highest.sum()
