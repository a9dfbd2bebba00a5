"""Differences of cells under the model of noise.py, corrected for how many are looked at.

Shapes: C cells, k contrasts (weights of the cells that sum to zero).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from .cells import baseline_cell
from .noise import Fit, fit, half_width, satterthwaite
from .power import LEVEL
from .selection import eligible_runs
from .variances import reference_variance

T_DRAWS = 10_000  # for critical values: p values are exact to about 0.002 at 0.05
DIFFERENCE_COLUMNS = [
    "cell",
    "difference",
    "low",
    "high",
    "low_all",
    "high_all",
    "p",
    "p_adjusted",
    "distinguishable",
]


def differences(
    runs: pd.DataFrame, to: str | None = None, quality: str = "dev_loss"
) -> pd.DataFrame:
    """Each other cell less the baseline (or less the cell `to`), seeds paired.

    Columns: cell; difference in nats per token, negative is better; low, high (95 %, each for
    itself); low_all, high_all (95 % for the whole table together, which a cell that was picked by
    its loss needs); p; p_adjusted, which keeps the chance of any false positive in the table below
    5 % (`step_down`); distinguishable. NaN with one seed; no rows without a baseline.
    """
    eligible = eligible_runs(runs)
    model = fit(eligible, quality)
    name = to or next(iter(baseline_cell(eligible).cell), None)
    if name not in model.cells:
        return pd.DataFrame(columns=DIFFERENCE_COLUMNS)
    return compare_with(model, model.cells.index(name))


def compare_with(model: Fit, at: int) -> pd.DataFrame:
    """`differences` of a fitted model to its cell number `at`."""
    unit = np.eye(len(model.cells))
    contrasts = np.delete(unit - unit[at], at, axis=0)
    difference, covariance, df = estimate_contrasts(model, contrasts, [at])
    error = np.sqrt(np.diag(covariance))
    t = difference / error
    half = half_width((np.diag(covariance), df))
    half_all = critical_value(covariance, df) * error
    p_adjusted = step_down(t, covariance, df)
    return pd.DataFrame(
        {
            "cell": [name for i, name in enumerate(model.cells) if i != at],
            "difference": difference,
            "low": difference - half,
            "high": difference + half,
            "low_all": difference - half_all,
            "high_all": difference + half_all,
            "p": 2 * stats.t.sf(abs(t), df),
            "p_adjusted": p_adjusted,
            "distinguishable": p_adjusted < LEVEL,
        },
        columns=DIFFERENCE_COLUMNS,
    )


def estimate_contrasts(
    model: Fit, contrasts: np.ndarray, references: Iterable[int] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The estimates (k,), their covariance (k, k) and degrees of freedom (k,) of contrasts (k, C).

    `references` are the cells whose error many of the contrasts share. NaN where no seeds link the
    cells.
    """
    known = is_estimable(model, contrasts)
    variance = _variances(model, references)
    weights = contrasts @ model.weights
    noise = weights * variance[model.cell] @ weights.T
    of_cells = np.square(weights) @ np.eye(len(variance))[model.cell] * variance
    _, df = satterthwaite(*zip(of_cells.T, model.variance_df, strict=True))
    df = np.minimum(df, model.df)
    sampled = contrasts @ model.documents @ contrasts.T
    _, df = satterthwaite((np.diag(noise), df), (np.diag(sampled), model.documents_df))
    return (
        np.where(known, contrasts @ model.effect, np.nan),
        np.where(np.outer(known, known), noise + sampled, np.nan),
        df,
    )


def _variances(model: Fit, references: Iterable[int]) -> np.ndarray:
    """(C,): the variances of the cells, those of references as `reference_variance` has them."""
    variance = model.variance.copy()
    for at in references:
        others = linked(model, at)
        others[at] = False
        if others.any():
            weights = model.weights[at] - model.weights[others].mean(axis=0)
            error = np.square(weights[model.cell == at]).sum()
            differences = model.effect[others] - model.effect[at]
            variance[at] = reference_variance(variance[at], model.sample[at], differences, error)
    return variance


def is_estimable(model: Fit, contrasts: np.ndarray) -> np.ndarray:
    """(k,): whether a chain of shared seeds links the cells of each contrast (k, C).

    Searle (1987), Linear Models for Unbalanced Data, ch. 5.
    """
    return np.isclose(contrasts @ model.linked, contrasts).all(axis=1)


def linked(model: Fit, at: int) -> np.ndarray:
    """(C,): the cells that can be compared with cell number `at`, itself among them."""
    unit = np.eye(len(model.cells))
    return is_estimable(model, unit - unit[at])


def distinguishable_pairs(model: Fit) -> list[tuple[str, str]]:
    """(better, worse): every pair of cells that the comparison of all pairs tells apart.

    At the critical value of the largest |t| of all pairs, since a cell that was picked by its loss
    was not named beforehand (Tukey 1953; Hsu 1996, Multiple Comparisons, ch. 5). Each cell is the
    reference of its pairs. None with one seed.
    """
    first, second = np.triu_indices(len(model.cells), 1)
    unit = np.eye(len(model.cells))
    pairs = unit[first] - unit[second]
    difference, covariance, df = estimate_contrasts(model, pairs, range(len(unit)))
    critical = critical_value(covariance, df) * np.sqrt(np.diag(covariance))
    better = np.where(difference < 0, first, second)
    worse = first + second - better
    names = np.array(model.cells, dtype=object)
    found = np.abs(difference) > critical
    return list(zip(names[better[found]], names[worse[found]], strict=True))


def may_be_best(model: Fit) -> list[str]:
    """The cells that no other is distinguishable from as the lower one.

    In 95 % of studies the truly best cell is among them, and where all are equal all are. With one
    seed all cells may be best.
    """
    worse = {name for _, name in distinguishable_pairs(model)}
    return [name for name in model.cells if name not in worse]


def step_down(t: np.ndarray, covariance: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Adjusted p values (k,) of t statistics with this covariance, by T_DRAWS draws.

    The step-down max-t procedure (Dunnett & Tamhane 1991; Westfall & Young 1993, algorithm 2.8): as
    Holm's, with the known correlation in place of Bonferroni's bound, which is too wide for
    differences to one baseline, correlated by half. The seed is fixed; p is never 0.
    """
    adjusted = np.full(len(t), np.nan)
    known = np.isfinite(t)
    order = np.argsort(-np.abs(t[known]))
    draws = _draw_sizes(covariance[np.ix_(known, known)], df[known])[:, order]
    largest = np.maximum.accumulate(draws[:, ::-1], axis=1)[:, ::-1]
    p = (1 + (largest >= np.abs(t[known][order])).sum(axis=0)) / (T_DRAWS + 1)
    adjusted[np.flatnonzero(known)[order]] = np.maximum.accumulate(p)
    return adjusted


def critical_value(covariance: np.ndarray, df: np.ndarray) -> float:
    """The |t| that all estimates with this covariance stay below at once in 95 % of studies.

    That of the first step of `step_down`, by the same draws: an interval with it contains zero
    exactly where that step finds nothing. NaN where no estimate is known.
    """
    known = np.isfinite(np.diag(covariance))
    if not known.any():
        return math.nan
    largest = _draw_sizes(covariance[np.ix_(known, known)], df[known]).max(axis=1)
    return float(np.quantile(largest, 1 - LEVEL, method="higher"))


def _draw_sizes(covariance: np.ndarray, df: np.ndarray) -> np.ndarray:
    """(T_DRAWS, k) sizes |t| of estimates whose truth is zero, at the lowest of their df."""
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    generator = np.random.default_rng(0)
    return np.abs(draw_t(correlation, min(df, default=math.inf), T_DRAWS, generator))


def draw_t(
    covariance: np.ndarray, df: float, count: int, generator: np.random.Generator
) -> np.ndarray:
    """(count, k) draws of a multivariate t with this scale matrix, which may be singular.

    Of a normal distribution where df is infinite.
    """
    values, vectors = np.linalg.eigh(covariance)
    # The symmetric root does not depend on which eigenvectors rounding picks.
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    normal = generator.standard_normal((count, len(values))) @ root
    if not math.isfinite(df):
        return normal
    return normal / np.sqrt(generator.chisquare(df, (count, 1)) / df)
