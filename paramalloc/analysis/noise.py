"""The noise of a loss, and how sure it leaves a mean.

    y_cs = mu_c + b_s + e_cs,   Var b = sigma_seed^2,   Var e = sigma_c^2

A seed s is a block: it fixes the order of the data and the draws of the initialisation, the same
in every cell c, so a difference of cells on the same seeds is free of b. sigma, as one number, is
pooled over all cells (Searle, Casella & McCulloch 1992, Variance Components, ch. 4); intervals use
the variance of each cell (`variances`). Documents are a sample as well: their variance is added
where runs carry dev_by_group.

Shapes: N runs, C cells, G groups of documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .least_squares import coded, two_way
from .power import LEVEL, seeds_needed
from .selection import eligible_runs


@dataclass(frozen=True)
class Noise:
    """Standard deviations in nats per token.

    `sigma` is that of runs that share their seed (95 % CI from `sigma_low` to `sigma_high`, on `df`
    degrees of freedom), `sigma_seed` that of the part that all cells of a seed share. `documents`
    is what the choice of dev documents adds to the mean of a cell, averaged over the cells; 0 where
    it is unknown. It is in the intervals of differences, not in those of means.
    """

    sigma: float
    sigma_low: float
    sigma_high: float
    sigma_seed: float
    df: int
    n_cells: int
    n_seeds: int
    documents: float

    def seeds_needed(self, difference: float) -> int:
        """Seeds, the same in both cells, to find a difference (nats) of two cells.

        By a two-sided paired t test at 5 % with a power of 80 %.
        """
        return seeds_needed(difference, self.sigma, paired=True)


@dataclass(frozen=True)
class Fit:
    """Least squares of the model. NaN where nothing repeats.

    `effect` (C,) are the cells with the seeds taken out, up to a common constant: `weights` (C, N)
    of the runs, whose cells `cell` (N,) numbers. Cells i and j are comparable where a contrast of
    them is one of `linked` (C, C). `mean` (C,) is at the seeds that all cells share,
    `mean_variance` its variance over seeds. `sigma2` is the pooled variance on `df`, `variance`
    (C,) that of each cell on `variance_df`, and `sample` the one of its own runs alone; `maker`
    (N, N) makes the `residual` (N,). `total` is sigma_seed^2 + sigma^2. `documents` (C, C) is the
    covariance that the choice of dev documents adds.
    """

    cells: list[str]
    n: np.ndarray
    mean: np.ndarray
    mean_variance: np.ndarray
    effect: np.ndarray
    weights: np.ndarray
    cell: np.ndarray
    linked: np.ndarray
    residual: np.ndarray
    maker: np.ndarray
    sigma2: float
    df: int
    variance: np.ndarray
    variance_df: np.ndarray
    sample: np.ndarray
    total: float
    total_df: float
    documents: np.ndarray
    documents_df: float

    @property
    def covariance(self) -> np.ndarray:
        """(C, C): the covariance of `effect` over seeds."""
        return self.weights * self.variance[self.cell] @ self.weights.T


def fit(eligible: pd.DataFrame, quality: str = "dev_loss") -> Fit:
    """The model by least squares, of any pattern of seeds (`eligible_runs`)."""
    eligible = eligible[eligible[quality].notna()]
    cells, cell, seed = coded(eligible)
    share = pd.factorize(eligible.requested_share, use_na_sentinel=False)[0]
    model = two_way(cell, seed, eligible[quality].to_numpy(float), share)
    documents, documents_df = _document_covariance(eligible, quality, model)
    return Fit(cells, **model, documents=documents, documents_df=documents_df)


def _document_covariance(
    eligible: pd.DataFrame, quality: str, model: dict
) -> tuple[np.ndarray, float]:
    """The covariance (C, C) of the cells' losses over the choice of documents, and its df.

    From G groups of whole documents, by the ratio estimator (Cochran 1977, Sampling Techniques, eq.
    6.13), less the runs' own noise, which differs between groups and is in `sigma2` already. Zero
    where a run lacks dev_by_group or the groups differ.
    """
    groups = _document_groups(eligible, quality)
    cell = model["cell"]
    x = np.eye(cell.max(initial=-1) + 1)[cell]
    if groups is None:
        return np.zeros((x.shape[1], x.shape[1])), math.inf

    tokens, nats = groups
    residual = (nats - nats.sum(1, keepdims=True) / tokens.sum() * tokens) / tokens.sum()
    residual *= (eligible[quality] / eligible.dev_loss).to_numpy(float)[:, None]
    averaged = x.T @ residual / x.sum(axis=0)[:, None]
    n = len(tokens)
    covariance = n / (n - 1) * averaged @ averaged.T
    if model["df"]:
        of_runs = n / (n - 1) * np.square(model["maker"] @ residual).sum() / model["df"]
        covariance = _positive(covariance - np.diag(of_runs / x.sum(axis=0)))
    return covariance, n - 1


def _positive(matrix: np.ndarray) -> np.ndarray:
    """The nearest covariance matrix: no variance below zero."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * values.clip(0) @ vectors.T


def _document_groups(eligible: pd.DataFrame, quality: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Tokens (G,) and nats (N, G) of the groups; None where runs lack them or differ in them."""
    if quality == "smallbench" or "dev_by_group" not in eligible or eligible.empty:
        return None
    groups = eligible.dev_by_group
    if not groups.map(np.ndim).eq(2).all():
        return None
    if groups.map(len).nunique() > 1:  # corpora of another vocabulary
        return None
    values = np.stack([np.asarray(group, float) for group in groups])  # (N, G, 2)
    tokens = values[0, :, 0]
    if not (values[:, :, 0] == tokens).all():
        return None
    return tokens, values[:, :, 1]


def satterthwaite(*parts: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The sum of independent variances (variance, df), and its df (Satterthwaite 1946)."""
    total = sum(np.asarray(variance, float) for variance, _ in parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return total, np.square(total) / sum(np.square(variance) / df for variance, df in parts)


def half_width(*parts: tuple) -> np.ndarray:
    """Half of the 95 % t interval under these variances; NaN where one of them is unknown."""
    variance, df = satterthwaite(*parts)
    return stats.t.ppf(1 - LEVEL / 2, df) * np.sqrt(variance)


def estimate_noise(runs: pd.DataFrame) -> Noise | None:
    """How far runs scatter, pooled over the cells.

    None where no seed is repeated in two cells: then no interval exists.
    """
    eligible = eligible_runs(runs)
    model = fit(eligible)
    if not model.df:
        return None
    low, high = sd_interval(model.sigma2, model.df)
    return Noise(
        sigma=math.sqrt(model.sigma2),
        sigma_low=low,
        sigma_high=high,
        sigma_seed=math.sqrt(max(model.total - model.sigma2, 0.0)),
        df=model.df,
        n_cells=len(model.cells),
        n_seeds=eligible.seed.nunique(),
        documents=math.sqrt(np.diag(model.documents).mean()),
    )


def sd_interval(variance: float, df: int) -> tuple[float, float]:
    """The 95 % chi-square interval of a standard deviation."""
    low, high = (
        math.sqrt(df * variance / stats.chi2.ppf(q, df)) for q in (1 - LEVEL / 2, LEVEL / 2)
    )
    return low, high


def means(runs: pd.DataFrame, quality: str = "dev_loss") -> pd.DataFrame:
    """Each cell's mean of dev_loss, or of the quality named, with its 95 % interval.

    Columns cell, n_seeds, dev_loss (or the quality), low, high. Means are at the seeds that all
    cells share. The interval is over all seeds that could have been drawn, for these dev documents:
    others would move all cells by about the same (`Noise.documents`). It is NaN with one seed, and
    for a cell of one seed where no two cells have two in common: another cell's scatter alone says
    too little of it.
    """
    return mean_table(fit(eligible_runs(runs), quality), quality)


def mean_table(model: Fit, quality: str = "dev_loss") -> pd.DataFrame:
    """`means` of a fitted model."""
    # Of both df the fewer; those of the cell are unknown where no seed repeats in two cells.
    half = half_width((model.mean_variance, np.fmin(model.total_df, model.variance_df)))
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
