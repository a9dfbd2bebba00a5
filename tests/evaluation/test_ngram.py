"""The n-gram controls are the textbook's."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paramalloc.evaluation.ngram import KneserNey, Unigram

V = 7
texts = st.lists(st.integers(0, V - 1), min_size=8, max_size=120)


def textbook(tokens: list[int], order: int):
    """p(w | h) of interpolated Kneser-Ney with dictionaries, straight from its definition; token 0
    closes a document.
    """
    stream, grams = [0, *tokens], defaultdict(Counter)
    for end in range(len(stream)):
        for n in range(1, order + 1):
            gram = tuple(stream[end - n + 1 : end + 1])
            if end - n + 1 >= 0 and len(gram) == n and 0 not in gram[1:-1]:
                grams[n][gram] += 1
    counts = {order: grams[order]}
    for n in range(1, order):
        before = Counter(gram[1:] for gram in grams[n + 1])
        counts[n] = {
            gram: count if n > 1 and gram[0] == 0 else before[gram]
            for gram, count in grams[n].items()
        }
    discounts = {
        n: (lambda ones, twos: ones / (ones + 2 * twos))(
            max(1, [*c.values()].count(1)), [*c.values()].count(2)
        )
        for n, c in counts.items()
    }

    def p(word, history):
        if 0 in history[1:]:
            history = history[len(history) - 1 - history[::-1].index(0) :]
        n = len(history) + 1
        lower = p(word, history[1:]) if n > 1 else 1 / V
        after = {
            gram: count
            for gram, count in counts[n].items()
            if count and gram[:-1] == tuple(history)
        }
        total = sum(after.values())
        if not total:
            return lower
        return (
            max(after.get((*history, word), 0) - discounts[n], 0)
            + discounts[n] * len(after) * lower
        ) / total

    return p


@given(texts, texts, st.integers(2, 4))
@settings(max_examples=40, deadline=None)
def test_kneser_ney_is_the_textbooks(train, other, order):
    """log p of every token of another text equals a direct computation with dictionaries."""
    p, stream = textbook(train, order), [0, *other]
    expected = [
        math.log(p(word, stream[max(0, i + 2 - order) : i + 1]))
        for i, word in enumerate(stream[1:])
    ]
    found = KneserNey(np.array(train, dtype=np.uint16), V, order).log_probabilities(
        np.array(stream)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@given(texts, st.lists(st.integers(0, V - 1), max_size=6), st.integers(1, 5))
@example([0] * 8, [], 3)  # empty documents: no 3-gram at all
@settings(max_examples=40, deadline=None)
def test_probabilities_sum_to_one(train, history, order):
    """After any history, seen or not."""
    model = KneserNey(np.array(train, dtype=np.uint16), V, order)
    total = sum(
        math.exp(model.log_probabilities(np.array([0, *history, word]))[-1]) for word in range(V)
    )
    assert total == pytest.approx(1)


def test_unigram_is_the_corpus_own(tiny_corpus):
    """The unigram control's loss on dev is the corpus' unigram entropy; the 5-gram's is lower."""
    dev = np.concatenate(([0], tiny_corpus.split("valid"))).astype(np.int64)
    unigram = -Unigram(tiny_corpus.counts("train")).log_probabilities(dev).mean()
    assert unigram == pytest.approx(tiny_corpus.unigram_entropy("valid"))
    five = (
        -KneserNey(tiny_corpus.split("train"), tiny_corpus.meta["vocab_size"])
        .log_probabilities(dev)
        .mean()
    )
    assert five < 0.5 * unigram  # small talk has a grammar that five tokens show
