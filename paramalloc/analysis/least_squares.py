"""Least squares of the cell + seed model, of any pattern of seeds: arrays in, arrays out.

noise.py says what the model means. Shapes: N runs, C cells, S seeds.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from .variances import cell_variances

EXACT = 1e-20  # nats^2: a variance of losses that repeat to the last digit


def coded(runs: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The names of the cells, and the codes of cells and seeds (N,), of runs with a `cell`."""
    cell, cells = pd.factorize(runs.cell)
    return list(cells), cell, pd.factorize(runs.seed, use_na_sentinel=False)[0]


def two_way(
    cell: np.ndarray, seed: np.ndarray, y: np.ndarray, share: np.ndarray | None = None
) -> dict:
    """The fields of `noise.Fit` but its documents, from codes (N,) and values (N,).

    `share` are the codes of groups of cells whose variances are alike; None: those of all cells.
    """
    x = np.eye(cell.max(initial=-1) + 1)[cell]  # (N, C)
    z = np.eye(seed.max(initial=-1) + 1)[seed]  # (N, S)
    n = x.sum(axis=0)

    # Cells with the seeds taken out, by the normal equations.
    without_seeds = _without(x, z)
    information = x.T @ without_seeds
    unit = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
    weights = unit @ without_seeds.T

    # The residuals, the variance within a seed, and that of each cell.
    df = len(y) - z.shape[1] - np.linalg.matrix_rank(information, hermitian=True)
    maker = _without(np.eye(len(y)), z) - without_seeds @ weights
    residual = _without(y - x @ (weights @ y), z)
    sigma2 = math.nan
    if df:
        sigma2 = max(float(np.square(residual).sum() / df), EXACT)
    share = np.zeros_like(cell) if share is None else share
    variance, variance_df, sample = cell_variances(maker, residual, sigma2, cell, share)

    # The variance over seeds, and means at the seeds that all cells share.
    rss_within = _without(y, x) @ y
    total, total_df = _total(rss_within, z.T @ _without(z, x), len(y) - len(n), sigma2)
    averages = averaging(x, z, weights, np.eye(len(n)) - unit @ information)
    return {
        "n": n,
        "mean": averages @ y,
        "mean_variance": _variance(averages, z, variance[cell], sigma2, total),
        "effect": weights @ y,
        "weights": weights,
        "cell": cell,
        "linked": unit @ information,
        "residual": residual,
        "maker": maker,
        "sigma2": sigma2,
        "df": int(df),
        "variance": variance,
        "variance_df": variance_df,
        "sample": sample,
        "total": total,
        "total_df": total_df,
    }


def _without(a: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """`a` (N,) or (N, m) less its means over the groups (N, g), coded as 0 and 1."""
    counts = groups.sum(axis=0)
    if a.ndim > 1:
        counts = counts[:, None]
    return a - groups @ (groups.T @ a / counts)


def averaging(x: np.ndarray, z: np.ndarray, effects: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """(C, N): the weights of the runs in each cell's mean at the seeds that all cells share.

    A cell's effect in the cell + seed model, added to the mean of those seeds (Searle 1987, Linear
    Models for Unbalanced Data, ch. 4: least squares means). Plain means where all cells have the
    same seeds. Where none is shared by all, at the mean of all runs; cells that no chain of seeds
    links stay as they are (`linked` averages over those that one links, whose effects sum to zero).
    """
    runs = x.T @ z
    if (runs == runs[:1]).all():
        return (x / x.sum(axis=0)).T
    shared = (runs > 0).all(axis=0)
    used = x * (z @ shared)[:, None] if shared.any() else x
    return effects + linked @ (used / used.sum(axis=0)).T


def _variance(
    weights: np.ndarray, z: np.ndarray, variance: np.ndarray, sigma2: float, total: float
) -> np.ndarray:
    """The variance of weighted sums of runs (N,), over the choice of seeds.

    (sigma_seed^2 + sigma^2) / n of a plain mean.
    """
    if math.isnan(sigma2):
        return total * np.square(weights).sum(axis=1)
    seed2 = max(total - sigma2, 0.0)
    return np.square(weights) @ variance + seed2 * np.square(weights @ z).sum(axis=1)


def _total(rss: float, blocks: np.ndarray, df: int, sigma2: float) -> tuple[float, float]:
    """The variance within cells, sigma_seed^2 + sigma^2 whatever the pattern, and its df.

    Runs of one seed in two cells are not independent: with the eigenvalues l of the blocks within
    cells the sum of squares is a sum of chi-squares scaled by sigma^2 + l sigma_seed^2, whose df
    are Satterthwaite's (1946).
    """
    if not df:
        return math.nan, math.nan
    total = rss / df
    scale = np.linalg.eigvalsh(blocks)
    if math.isnan(sigma2):
        return total, df
    seed2 = max(total - sigma2, 0.0)
    parts = sigma2 + np.concatenate([scale, np.zeros(max(df - len(scale), 0))])[:df] * seed2
    if not parts.any():
        return total, df
    return total, float(parts.sum() ** 2 / np.square(parts).sum())


def adjusted_means(runs: pd.DataFrame, quality: str) -> pd.Series:
    """The mean of each cell, by name, at the seeds that all cells share (`averaging`)."""
    runs = runs[runs[quality].notna()]
    cells, cell, seed = coded(runs)
    mean = two_way(cell, seed, runs[quality].to_numpy(float))["mean"]
    return pd.Series(mean, cells, dtype=float)
