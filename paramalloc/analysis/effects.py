"""Main effects: of the share averaged over GLU expansions, and of the expansion over shares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..runs import baseline_request
from .comparisons import critical_value, estimate_contrasts
from .groups import REQUEST_COLUMNS
from .noise import fit
from .selection import eligible_runs

EFFECT_COLUMNS = ["axis", "level", "baseline", "n_pairs", "difference", "low", "high"]


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
    (`critical_value`); they are NaN with one seed. It does not test for an interaction of the two
    axes.
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
    difference, covariance, df = estimate_contrasts(model, weights)
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
