"""Main effects of share and GLU expansion, each averaged over the other, and their interaction."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..runs import baseline_request
from .cells import baseline_cell
from .comparisons import critical_value, estimate_contrasts, step_down
from .groups import REQUEST_COLUMNS
from .noise import Fit, fit
from .selection import eligible_runs
from .variances import SHIFT_ERRORS

EFFECT_COLUMNS = ["axis", "level", "baseline", "n_pairs", "difference", "low", "high"]
DEVIATION_WEIGHT = 0.06  # of a cell's deviation from additivity in its variance
INTERACTION_COLUMNS = ["cell", "deviation", "low", "high", "p_adjusted"]


class _Contrast(NamedTuple):
    """A level of an axis less the baseline's: the number of pairs, the cells' weights (C,)."""

    axis: str
    level: float
    baseline: float
    n_pairs: int
    weights: np.ndarray


def main_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Each requested share, and each requested expansion, less the baseline's, seeds paired.

    Columns `axis` (requested_share or requested_glu), its `level`, the `baseline`'s level,
    `n_pairs`, and in nats per token of dev_loss (negative is better) the `difference`, `low` and
    `high`. A difference is the mean of n_pairs differences of cells, over all values of the other
    axis at which both cells are complete, two at least. The intervals hold together in 95 %
    (`critical_value`); they are NaN with one seed. `interaction` tests whether they are the same at
    all values of the other axis.
    """
    eligible = eligible_runs(runs)
    model = fit(eligible)
    requests = eligible.drop_duplicates("cell")[["cell", *REQUEST_COLUMNS]]
    contrasts = []
    for axis, baseline in zip(REQUEST_COLUMNS, baseline_request(eligible), strict=True):
        contrasts += _contrasts(requests, model.cells, axis, baseline)
    if not contrasts:
        return pd.DataFrame(columns=EFFECT_COLUMNS)
    weights = np.stack([contrast.weights for contrast in contrasts])
    baseline = [model.cells.index(name) for name in baseline_cell(eligible).cell]
    difference, covariance, df = estimate_contrasts(model, weights, baseline)
    half = critical_value(covariance, df) * np.sqrt(np.diag(covariance))
    table = pd.DataFrame([contrast[:4] for contrast in contrasts], columns=EFFECT_COLUMNS[:4])
    return table.assign(difference=difference, low=difference - half, high=difference + half)


def _contrasts(
    requests: pd.DataFrame, cells: list[str], axis: str, baseline: float
) -> list[_Contrast]:
    """The contrast of each level of an axis but the baseline's.

    Requests that got several shapes are left out: they are no grid.
    """
    other = next(name for name in REQUEST_COLUMNS if name != axis)
    unique = requests.dropna(subset=REQUEST_COLUMNS).drop_duplicates(REQUEST_COLUMNS, keep=False)
    grid = unique.pivot(index=other, columns=axis, values="cell")
    reference = next((level for level in grid if np.isclose(level, baseline)), None)
    if reference is None:
        return []
    contrasts = []
    for level in grid.columns.drop(reference):
        pairs = grid[[level, reference]].dropna()
        if len(pairs) > 1:
            at_level = np.isin(cells, pairs[level])
            at_reference = np.isin(cells, pairs[reference])
            weights = (at_level - 1.0 * at_reference) / len(pairs)
            contrasts.append(_Contrast(axis, level, reference, len(pairs), weights))
    return contrasts


def interaction(runs: pd.DataFrame) -> pd.DataFrame:
    """How far each cell lies off the sum of the effects of its share and its expansion.

    Columns `cell`, `deviation` in nats per token of dev_loss, `low` and `high` (95 %, together for
    all cells), and `p_adjusted`: share and expansion interact where one of them is below 0.05
    (max-t test of the residuals from additivity, seeds paired). NaN with one seed; no rows where
    the cells are not a whole grid of two levels or more of each axis.
    """
    eligible = eligible_runs(runs)
    model = fit(eligible)
    grid = _whole_grid(eligible)
    if min(grid.shape) < 2:
        return pd.DataFrame(columns=INTERACTION_COLUMNS)
    # Of A x B cells: without the mean of their row and of their column.
    without_rows, without_columns = (np.eye(n) - 1 / n for n in grid.shape)
    names = grid.to_numpy().ravel()
    weights = pd.DataFrame(np.kron(without_rows, without_columns), names, names)
    weights = weights.reindex(columns=model.cells, fill_value=0.0)
    noisier = _with_noisy_cells(model, weights)
    deviation, covariance, df = estimate_contrasts(noisier, weights.to_numpy())
    error = np.sqrt(np.diag(covariance))
    half = critical_value(covariance, df) * error
    p = step_down(deviation / error, covariance, df)
    values = (names, deviation, deviation - half, deviation + half, p)
    return pd.DataFrame(dict(zip(INTERACTION_COLUMNS, values, strict=True)))


def _with_noisy_cells(model: Fit, weights: pd.DataFrame) -> Fit:
    """The model with more variance in each cell that its deviation (rows of `weights`) shows.

    A cell that scatters more than others lies off the sum of its effects, and its few seeds may not
    say so (`variances`). So its variance also counts its deviation, as far as its own seeds can
    explain that. In simulated studies with cells three times as noisy, an interaction is then
    claimed falsely in 5 to 6 % instead of 8 % (tests/analysis/test_interaction.py).
    """
    off = (weights @ model.effect).reindex(model.cells, fill_value=0.0).to_numpy()
    explained = SHIFT_ERRORS**2 * model.sample
    more = DEVIATION_WEIGHT * np.minimum(model.n * np.square(off), explained)
    return replace(model, variance=model.variance + more)


def _whole_grid(eligible: pd.DataFrame) -> pd.DataFrame:
    """The names of the cells, a row an expansion, a column a share; empty where one is missing.

    Requests that got several shapes are left out: they are no grid.
    """
    requests = eligible.drop_duplicates("cell").dropna(subset=REQUEST_COLUMNS)
    share, glu = REQUEST_COLUMNS
    unique = requests.drop_duplicates(REQUEST_COLUMNS, keep=False)
    grid = unique.pivot(index=glu, columns=share, values="cell")
    return grid.iloc[:0] if grid.isna().any(axis=None) else grid
