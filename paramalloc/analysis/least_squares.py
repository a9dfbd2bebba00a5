"""Least squares of the cell + seed model, of any pattern of seeds: arrays in, arrays out (noise.py says what it means)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

EXACT = 1e-20  # nats^2: a variance of losses that repeat to the last digit


def coded(claimed: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The names of the cells, and the codes of cells and seeds (N,) of runs with a column `cell`."""
    cell, cells = pd.factorize(claimed.cell)
    return list(cells), cell, pd.factorize(claimed.seed, use_na_sentinel=False)[0]


def two_way(cell: np.ndarray, seed: np.ndarray, y: np.ndarray) -> dict:
    """`noise.Fit` but for its documents, from the codes of cells and seeds (N,): as names and values."""
    x, z = np.eye(cell.max(initial=-1) + 1)[cell], np.eye(seed.max(initial=-1) + 1)[seed]
    n = x.sum(axis=0)
    without_seed = lambda a: a - z @ (z.T @ a / _column(z.sum(axis=0), a))
    within = lambda a: a - x @ (x.T @ a / _column(n, a))
    information = x.T @ without_seed(x)
    unit = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
    effect = unit @ x.T @ without_seed(y)
    df = len(y) - z.shape[1] - np.linalg.matrix_rank(information, hermitian=True)
    sigma2 = (
        max(float(np.square(without_seed(y - x @ effect)).sum() / df), EXACT) if df else math.nan
    )
    total, total_df = _total(within(y) @ y, z.T @ within(z), len(y) - len(n), sigma2)
    weights = averaging(x, z, unit @ without_seed(x).T, np.eye(len(n)) - unit @ information)
    return {
        "n": n,
        "mean": weights @ y,
        "mean_variance": _variance(weights, z, sigma2, total),
        "effect": effect,
        "unit": unit,
        "information": information,
        "sigma2": sigma2,
        "df": int(df),
        "total": total,
        "total_df": total_df,
    }


def averaging(x: np.ndarray, z: np.ndarray, effects: np.ndarray, linked: np.ndarray) -> np.ndarray:
    """(C, N): the weights of the runs in each cell's mean as it would be at the seeds that all cells share: its effect in the cell + seed
    model, beside the mean of those seeds (Searle 1987, Linear Models for Unbalanced Data, ch. 4: least squares means). Plain
    means where all cells have the same seeds; where none is shared by all, at the mean of all runs; of cells that no chain
    of seeds links (`linked` averages over those that one does, whose effects sum to zero), as they stand."""
    runs = x.T @ z
    if (runs == runs[:1]).all():
        return (x / x.sum(axis=0)).T
    shared = (runs > 0).all(axis=0)
    used = x * (z @ shared)[:, None] if shared.any() else x
    return effects + linked @ (used / used.sum(axis=0)).T


def _variance(weights: np.ndarray, z: np.ndarray, sigma2: float, total: float) -> np.ndarray:
    """Of weighted sums of runs, whose seeds could have been others; (sigma_seed^2 + sigma^2) / n of a plain mean."""
    if math.isnan(sigma2):
        return total * np.square(weights).sum(axis=1)
    return sigma2 * np.square(weights).sum(axis=1) + max(total - sigma2, 0.0) * np.square(
        weights @ z
    ).sum(axis=1)


def _column(counts: np.ndarray, a: np.ndarray) -> np.ndarray:
    return counts if a.ndim == 1 else counts[:, None]


def _total(rss: float, blocks: np.ndarray, df: int, sigma2: float) -> tuple[float, float]:
    """sigma_seed^2 + sigma^2 is the variance within cells, whatever the pattern; its degrees of freedom by Satterthwaite (1946),
    since runs of one seed in two cells are no independent witnesses: with the eigenvalues l of the blocks within cells it is
    a sum of chi-squares scaled by sigma^2 + l sigma_seed^2."""
    if not df:
        return math.nan, math.nan
    total, scale = rss / df, np.linalg.eigvalsh(blocks)
    if math.isnan(sigma2):
        return total, df
    seed2 = max(total - sigma2, 0.0)
    parts = sigma2 + np.concatenate([scale, np.zeros(max(df - len(scale), 0))])[:df] * seed2
    return total, float(parts.sum() ** 2 / np.square(parts).sum()) if parts.any() else df


def adjusted_means(claimed: pd.DataFrame, quality: str) -> pd.Series:
    """The mean of each cell, by name, at the seeds that all cells share (`averaging`)."""
    claimed = claimed[claimed[quality].notna()]
    (cells, cell, seed), y = coded(claimed), claimed[quality].to_numpy(float)
    return pd.Series(two_way(cell, seed, y)["mean"], cells, dtype=float)
