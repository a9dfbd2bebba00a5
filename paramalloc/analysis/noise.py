"""The noise of a loss, and what it leaves of a mean or a difference.

    y_cs = mu_c + b_s + e_cs,   Var b = sigma_seed^2,   Var e = sigma^2

A seed is a block: it fixes the order of the data and the draws of the initialisation, the same in every cell, so a difference of cells on
the same seeds is free of b. sigma is pooled over all cells (Searle, Casella & McCulloch 1992, Variance Components, ch. 4), because the
few seeds of one cell say little about it. Documents are a sample as well: their variance is added where runs carry dev_by_group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .least_squares import coded, two_way
from .power import LEVEL, seeds_needed
from .selection import baseline_cell, eligible_runs

T_DRAWS = 10_000
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


@dataclass(frozen=True)
class Noise:
    """Standard deviations in nats per token: `sigma` of runs that share their seed (95 % from `sigma_low` to `sigma_high`, on
    `df` degrees of freedom), `sigma_seed` of the seeds that all cells share. `documents`: whether the intervals of means and
    differences hold for other dev documents as well."""

    sigma: float
    sigma_low: float
    sigma_high: float
    sigma_seed: float
    df: int
    n_cells: int
    n_seeds: int
    documents: bool

    def seeds_needed(self, difference: float) -> int:
        """Seeds that two cells need, the same in both, for a difference (nats) to be found by a two-sided paired t test at 5 % with a
        power of 80 %."""
        return seeds_needed(difference, self.sigma, paired=True)


@dataclass(frozen=True)
class Fit:
    """Least squares of the model, C cells. `effect` (C,) are the cells with the seeds taken out, up to a common constant, `unit`
    (C, C) their generalised covariance in units of `sigma2`; `mean` is at the seeds that all cells share, with its variance over
    seeds; `total` is sigma_seed^2 + sigma^2. NaN where nothing repeats."""

    cells: list[str]
    n: np.ndarray
    mean: np.ndarray
    mean_variance: np.ndarray
    effect: np.ndarray
    unit: np.ndarray
    information: np.ndarray
    sigma2: float
    df: int
    total: float
    total_df: float
    documents: np.ndarray
    documents_df: float


def fit(claimed: pd.DataFrame, quality: str = "dev_loss") -> Fit:
    """The model by least squares, of any pattern of seeds: cells that miss one, a baseline that has more."""
    claimed = claimed[claimed[quality].notna()]
    cells, cell, seed = coded(claimed)
    sampled, sampled_df = document_covariance(claimed, cell, quality)
    return Fit(
        cells,
        **two_way(cell, seed, claimed[quality].to_numpy(float)),
        documents=sampled,
        documents_df=sampled_df,
    )


def document_covariance(
    claimed: pd.DataFrame, cell: np.ndarray, quality: str
) -> tuple[np.ndarray, float]:
    """The covariance (C, C) that the choice of dev documents gives the cells' losses, and its degrees of freedom: from G groups of
    whole documents, by the ratio estimator (Cochran 1977, Sampling Techniques, eq. 6.13). Zero where a run lacks dev_by_group."""
    nothing = np.zeros((cell.max(initial=-1) + 1,) * 2), math.inf
    if (
        quality == "smallbench"
        or "dev_by_group" not in claimed
        or not claimed.dev_by_group.map(np.ndim).eq(2).all()
        or claimed.empty
    ):
        return nothing
    if claimed.dev_by_group.map(len).nunique() > 1:  # corpora of another vocabulary
        return nothing
    found = np.stack([np.asarray(group, float) for group in claimed.dev_by_group])  # (N, G, 2)
    tokens = found[0, :, 0]
    if not (found[:, :, 0] == tokens).all():
        return nothing
    left = (
        found[:, :, 1] - found[:, :, 1].sum(1, keepdims=True) / tokens.sum() * tokens
    ) / tokens.sum()
    left *= (claimed[quality] / claimed.dev_loss).to_numpy(float)[:, None]
    x = np.eye(cell.max() + 1)[cell]
    left, n = x.T @ left / x.sum(axis=0)[:, None], len(tokens)
    return n / (n - 1) * left @ left.T, n - 1


def satterthwaite(*parts: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The sum of independent variances (variance, df), and its degrees of freedom (Satterthwaite 1946)."""
    total = sum(np.asarray(variance, float) for variance, _ in parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total, np.square(total) / sum(np.square(variance) / df for variance, df in parts)


def half_width(*parts: tuple) -> np.ndarray:
    """Half of the 95 % t interval under these variances; NaN where one of them is unknown."""
    variance, df = satterthwaite(*parts)
    return stats.t.ppf(1 - LEVEL / 2, df) * np.sqrt(variance)


def estimate_noise(runs: pd.DataFrame) -> Noise | None:
    """How far runs scatter, pooled over the cells; None where no seed is repeated in two cells: then no interval exists."""
    claimed = eligible_runs(runs)
    model = fit(claimed)
    if not model.df:
        return None
    low, high = sd_interval(model.sigma2, model.df)
    seed = math.sqrt(max(model.total - model.sigma2, 0.0))
    return Noise(
        math.sqrt(model.sigma2),
        low,
        high,
        seed,
        model.df,
        len(model.cells),
        claimed.seed.nunique(),
        bool(model.documents.any()),
    )


def sd_interval(variance: float, df: int) -> tuple[float, float]:
    """The 95 % chi-square interval of a standard deviation."""
    return tuple(
        math.sqrt(df * variance / stats.chi2.ppf(q, df)) for q in (1 - LEVEL / 2, LEVEL / 2)
    )


def means(runs: pd.DataFrame, quality: str = "dev_loss") -> pd.DataFrame:
    """Columns cell, n_seeds, dev_loss (or the quality named), low, high: each cell's mean at the seeds that all cells share, and its
    95 % interval over all seeds that could have been drawn, and over documents where they are known. NaN with one seed, and for a
    cell of one seed where no two cells have two in common: another cell's scatter alone says too little of it."""
    return mean_table(fit(eligible_runs(runs), quality), quality)


def mean_table(model: Fit, quality: str = "dev_loss") -> pd.DataFrame:
    """`means` of a fitted model."""
    half = half_width(
        (model.mean_variance, model.total_df), (np.diag(model.documents), model.documents_df)
    )
    half = np.where((model.n > 1) | bool(model.df), half, np.nan)
    return pd.DataFrame(
        {
            "cell": model.cells,
            "n_seeds": model.n.astype(int),
            quality: model.mean,
            "low": model.mean - half,
            "high": model.mean + half,
        }
    )


def differences(
    runs: pd.DataFrame, to: str | None = None, quality: str = "dev_loss"
) -> pd.DataFrame:
    """Each other cell less the baseline (or less the cell `to`), seeds paired: nats per token, negative is better.

    Columns cell, difference, low, high (95 %, each for itself), low_all, high_all (95 % that all of the table hold: what a cell that was
    picked by its loss needs), p, p_adjusted and distinguishable: p_adjusted keeps the chance of any false claim in the whole
    table below 5 % (`step_down`). NaN with one seed; no rows without a baseline.
    """
    claimed = eligible_runs(runs)
    model, named = fit(claimed, quality), to or next(iter(baseline_cell(claimed).cell), None)
    at = model.cells.index(named) if named in model.cells else None
    return compared(model, at) if at is not None else pd.DataFrame(columns=DIFFERENCE_COLUMNS)


def compared(model: Fit, at: int) -> pd.DataFrame:
    """`differences` of a fitted model to its cell number `at`."""
    contrasts = np.delete(np.eye(len(model.cells)) - np.eye(len(model.cells))[at], at, axis=0)
    difference, covariance, df = contrasted(model, contrasts)
    half, error = half_width((np.diag(covariance), df)), np.sqrt(np.diag(covariance))
    t, wide = difference / error, simultaneous(covariance, df) * error
    adjusted = step_down(t, covariance, df)
    others = [name for i, name in enumerate(model.cells) if i != at]
    columns = (
        others,
        difference,
        difference - half,
        difference + half,
        difference - wide,
        difference + wide,
        2 * stats.t.sf(abs(t), df),
        adjusted,
        adjusted < LEVEL,
    )
    return pd.DataFrame(dict(zip(DIFFERENCE_COLUMNS, columns)))


def contrasted(model: Fit, contrasts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The estimates (k,), their covariance (k, k) and degrees of freedom (k,) of contrasts (k, C). NaN where no seeds link the cells."""
    known = estimable(model, contrasts)
    noise, sampled = (
        contrasts @ part @ contrasts.T for part in (model.sigma2 * model.unit, model.documents)
    )
    _, df = satterthwaite((np.diag(noise), model.df), (np.diag(sampled), model.documents_df))
    return (
        np.where(known, contrasts @ model.effect, np.nan),
        np.where(np.outer(known, known), noise + sampled, np.nan),
        df,
    )


def estimable(model: Fit, contrasts: np.ndarray) -> np.ndarray:
    """(k,): whether a chain of shared seeds links the cells of each contrast (k, C) (Searle 1987, ch. 5)."""
    return np.isclose(contrasts @ model.unit @ model.information, contrasts).all(axis=1)


def linked(model: Fit, at: int) -> np.ndarray:
    """(C,): the cells that can be compared with cell number `at`, itself among them."""
    return estimable(model, np.eye(len(model.cells)) - np.eye(len(model.cells))[at])


def may_be_best(model: Fit) -> list[str]:
    """The cells that no other is told from as the lower one. In 95 % of studies the truly best is among them, and where all are
    equal all are: every pair is compared, at the one critical value of the largest |t| of all (Tukey 1953; Hsu 1996, Multiple
    Comparisons, ch. 5), since a best cell that was picked by its loss is no cell named beforehand. All of them with one seed."""
    first, second = np.triu_indices(len(model.cells), 1)
    unit = np.eye(len(model.cells))
    difference, covariance, df = contrasted(model, unit[first] - unit[second])
    told = np.abs(difference) > simultaneous(covariance, df) * np.sqrt(np.diag(covariance))
    worse = {*first[told & (difference > 0)], *second[told & (difference < 0)]}
    return [name for i, name in enumerate(model.cells) if i not in worse]


def step_down(t: np.ndarray, covariance: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Adjusted p values (k,) of t statistics with this covariance: the step-down max-t procedure (Dunnett & Tamhane 1991; Westfall &
    Young 1993, algorithm 2.8). It is Holm's, but with the known correlation in place of Bonferroni's bound, which differences to
    one baseline, correlated by half, make too wide. By DRAWS draws with a fixed seed: exact to about 0.002 at 0.05, never 0."""
    adjusted, known = np.full(len(t), np.nan), np.isfinite(t)
    order = np.argsort(-np.abs(t[known]))
    draws = draw_sizes(covariance[np.ix_(known, known)], df[known])[:, order]
    largest = np.maximum.accumulate(draws[:, ::-1], axis=1)[:, ::-1]
    p = (1 + (largest >= np.abs(t[known][order])).sum(axis=0)) / (T_DRAWS + 1)
    adjusted[np.flatnonzero(known)[order]] = np.maximum.accumulate(p)
    return adjusted


def simultaneous(covariance: np.ndarray, df: np.ndarray) -> float:
    """The critical |t| that all estimates with this covariance stay below at once in 95 %: that of the first step of `step_down`, by the
    same draws, so that an interval with it holds zero exactly where that step claims nothing. NaN where no estimate is known."""
    known = np.isfinite(np.diag(covariance))
    if not known.any():
        return math.nan
    largest = draw_sizes(covariance[np.ix_(known, known)], df[known]).max(axis=1)
    return float(np.quantile(largest, 1 - LEVEL, method="higher"))


def draw_sizes(covariance: np.ndarray, df: np.ndarray) -> np.ndarray:
    """(DRAWS, k) sizes |t| of estimates with this covariance whose truth is zero, at the lowest of their degrees of freedom."""
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    return np.abs(draw_t(correlation, min(df, default=math.inf), T_DRAWS, np.random.default_rng(0)))


def draw_t(
    covariance: np.ndarray, df: float, count: int, generator: np.random.Generator
) -> np.ndarray:
    """(count, k) draws of a multivariate t with this scale matrix, which may be singular; of a normal where df is infinite."""
    values, vectors = np.linalg.eigh(covariance)
    root = (
        vectors * np.sqrt(values.clip(0)) @ vectors.T
    )  # the symmetric root: which eigenvectors rounding picks does not move it
    normal = generator.standard_normal((count, len(values))) @ root
    return (
        normal / np.sqrt(generator.chisquare(df, (count, 1)) / df) if math.isfinite(df) else normal
    )
