"""An item is scored by what it asks, and standard errors are those of sampling."""

import math

import numpy as np
import pandas as pd
import pytest

from paramalloc.evaluation.estimates import compare, estimate, headline, summarise
from paramalloc.evaluation.ngram import Unigram
from paramalloc.evaluation.scoring import as_outcomes, encode, ngram_log_likelihoods
from paramalloc.evaluation.sets import Choices, Set


def test_outcomes_by_hand():
    """The likelier is right, a tie is half right; per character a longer sentence may win; bits are
    those of the right one.
    """
    part = Set(
        "blimp",
        [
            Choices("a/x", "", ("ab", "abcd")),
            Choices("a/x", "", ("abc", "abd")),
            Choices("b/y", "", ("abcd", "ab"), 1),
        ],
    )
    log_p = np.array([-3.0, -4.0, -2.0, -2.0, -6.0, -5.0])
    found = as_outcomes(part, log_p)
    assert list(found.correct) == [1, 0.5, 1] and list(found.correct_norm) == [0, 0.5, 0]
    assert list(found.bits * math.log(2)) == pytest.approx([3, 2, 5]) and list(found.bytes) == [
        2,
        3,
        2,
    ]
    said = summarise(part, found)
    assert said["accuracy"] == pytest.approx(2.5 / 3) and said["smallbench"] == pytest.approx(
        (0.75 + 1) / 2 * 2 - 1
    )
    assert said["phenomena"]["a"]["accuracy"] == 0.75 and said["paradigms"]["y"]["accuracy"] == 1


def test_outcomes_of_items_of_any_size():
    """Two of three that tie share the credit; a single choice is right where it is the likeliest,
    and unknown where nobody tells.
    """
    choices = [("a", "b", "c"), ("d",), ("e", "f"), ("g",)]
    part = Set("x", [Choices("g", "context", some) for some in choices])
    log_p = np.array([-1.0, -2.0, -1.0, -9.0, -4.0, -3.0, -2.0])
    likeliest = np.array([False, False, False, True, False, False, False])
    assert list(as_outcomes(part, log_p, likeliest).correct) == [0.5, 1, 0, 0]
    unknown = as_outcomes(part, log_p)
    assert list(unknown.correct.isna()) == list(unknown.correct_norm.isna()) == [False, True] * 2


def test_what_is_scored_is_the_choice_alone(tiny_corpus):
    """All of a sentence after the end-of-text; of a question the choice, and it is never cut, its
    context is.
    """
    tokenizer = tiny_corpus.tokenizer
    part = Set(
        "x",
        [
            Choices("g", "", ("The cat sees.",)),
            Choices("g", "Question: where " * 20 + "\nAnswer:", (" at home", " in the garden" * 9)),
        ],
    )
    texts, scored = encode(part, tokenizer, 32)
    assert (
        texts[0] == [0, *tokenizer.encode("The cat sees.").ids] and scored[0] == len(texts[0]) - 1
    )
    assert [tokenizer.decode(text[-n:]) for text, n in zip(texts, scored, strict=True)][1:] == [
        " at home",
        " in the garden" * 9,
    ]
    assert len(texts[1]) == 33 and len(texts[2]) == max(32, scored[2]) + 1


def test_standard_errors_are_those_of_sampling():
    """Over 2,000 samples of three paradigms of unequal size and difficulty the estimate varies as
    its error says.
    """
    random, sizes, p = np.random.default_rng(0), [200, 50, 400], [0.6, 0.9, 0.5]
    groups = pd.Series(np.repeat(["a/x", "a/y", "b/z"], sizes))
    found = np.array(
        [estimate(random.random(650) < np.repeat(p, sizes), groups) for _ in range(2000)]
    )
    assert found[:, 0].mean() == pytest.approx((0.75 + 0.5) / 2, abs=0.002)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.05)


def test_a_paired_difference_is_surer_than_two_errors():
    """Two models that agree on most items: the paired error is that of the differences, far below
    the unpaired.
    """
    random, groups = np.random.default_rng(0), pd.Series(np.repeat(["a/x", "b/y"], 500))
    one = (random.random(1000) < 0.6).astype(float)
    other = np.where(random.random(1000) < 0.05, 1 - one, one)
    found = compare(
        pd.DataFrame({"correct": one, "group": groups}),
        pd.DataFrame({"correct": other, "group": groups}),
    )
    assert found["smallbench"] == pytest.approx(
        headline(one, groups)["smallbench"] - headline(other, groups)["smallbench"]
    )
    assert found["se"] < 0.5 * math.hypot(
        headline(one, groups)["se"], headline(other, groups)["se"]
    )


def test_ngram_scores_are_sums(tiny_corpus):
    """Each text's is the sum over its last tokens; the unigram's does not depend on the order of
    the words.
    """
    model = Unigram(tiny_corpus.counts("train"))
    texts = [[0, 5, 6, 7], [9, 5], [0, 7, 6, 5]]
    found = ngram_log_likelihoods(model, texts, [3, 1, 2])
    assert list(found) == pytest.approx(
        [model.log_p[[5, 6, 7]].sum(), model.log_p[5], model.log_p[[6, 5]].sum()]
    )
