"""What the share does on the mean of the expansions, and the expansion on the mean of the shares."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .groups import REQUEST_COLUMNS
from .noise import contrasted, fit, simultaneous
from .selection import BASELINE, eligible_runs

EFFECT_COLUMNS = ["axis", "level", "n_pairs", "difference", "low", "high"]


def main_effects(runs: pd.DataFrame) -> pd.DataFrame:
    """Each requested share less the baseline's, each requested expansion less the baseline's, seeds paired: nats per token of dev_loss,
    negative is better.

    A row is the mean of `n_pairs` differences, over all values of the other axis at which both cells are complete, two at least:
    `axis` (requested_share or requested_glu), its `level`, the `difference`, and `low` and `high`, which all rows hold together in 95 %
    (`noise.simultaneous`; NaN with one seed). A mean of four cells is surer than one; that it is the same at each value of the
    other axis it does not say.
    """
    claimed = eligible_runs(runs)
    model, asked = fit(claimed), claimed.drop_duplicates("cell")[["cell", *REQUEST_COLUMNS]]
    rows = [
        row
        for axis, own in zip(REQUEST_COLUMNS, BASELINE)
        for row in _contrasts(asked, model.cells, axis, own)
    ]
    if not rows:
        return pd.DataFrame(columns=EFFECT_COLUMNS)
    contrasts = np.stack([contrast for *_, contrast in rows])
    difference, covariance, df = contrasted(model, contrasts)
    half = simultaneous(covariance, df) * np.sqrt(np.diag(covariance))
    found = pd.DataFrame([row[:3] for row in rows], columns=EFFECT_COLUMNS[:3])
    return found.assign(difference=difference, low=difference - half, high=difference + half)


def _contrasts(asked: pd.DataFrame, cells: list[str], axis: str, own: float) -> list[tuple]:
    """(axis, level, pairs, weights of the cells) for each level of an axis but the baseline's. Of several shapes that one
    request got, none: they are no grid."""
    other = next(name for name in REQUEST_COLUMNS if name != axis)
    at = (
        asked.dropna(subset=REQUEST_COLUMNS)
        .drop_duplicates(REQUEST_COLUMNS, keep=False)
        .pivot(index=other, columns=axis, values="cell")
    )
    beside = next((level for level in at if np.isclose(level, own)), None)
    rows = []
    for level in at.columns.drop(beside) if beside is not None else ():
        pairs = at[[level, beside]].dropna()
        if len(pairs) > 1:
            rows.append(
                (
                    axis,
                    level,
                    len(pairs),
                    (np.isin(cells, pairs[level]) - 1.0 * np.isin(cells, pairs[beside]))
                    / len(pairs),
                )
            )
    return rows
