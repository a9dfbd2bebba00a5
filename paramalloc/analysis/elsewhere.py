"""What rows of other sizes and vocabularies say against a surface."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from .groups import SIZE, comparable_groups
from .least_squares import adjusted_means
from .power import LEVEL
from .quadratic import AXES
from .selection import eligible_runs
from .surface import Surface


class Misfit(NamedTuple):
    """How far differences of cells elsewhere lie off the surface: root mean square, nats."""

    rms: float
    df: int
    where: str

    def widen(self, difference: tuple[float, float, float]) -> tuple[float, float, float]:
        """(difference, low, high) with the misfit as a further variance."""
        value, low, high = difference
        reach = stats.t.ppf(1 - LEVEL / 2, self.df) * self.rms
        return (
            value,
            value - math.hypot(value - low, reach),
            value + math.hypot(high - value, reach),
        )

    @property
    def words(self) -> str:
        """`the 3 cells at 10M parameters with vocabulary 16,000: 0.045 nats`."""
        return f"{self.where}, {self.rms:.3f} nats (root mean square of their differences)"


def misfit_elsewhere(
    runs: pd.DataFrame, eligible: pd.DataFrame, surface: Surface, total_params: int, vocab_size: int
) -> Misfit | None:
    """How well the surface of the eligible runs predicts differences at other sizes.

    Of each other group of comparable runs, of the same kinds of embedding and MLP, whose cells lie
    within the surface's hull, two at least. None where there is none, or where the budget asked for
    lies beyond all sizes and vocabularies of rows.
    """
    parts, squares, df = [eligible], 0.0, 0
    for group in _groups_elsewhere(runs, eligible):
        off = _off_surface(group, surface)
        if len(off) > 1:
            parts.append(group)
            squares += float(np.square(off - off.mean()).sum())
            df += len(off) - 1
    if not df or not _spanned(pd.concat(parts), total_params, vocab_size):
        return None
    where = " and ".join(_describe(part) for part in parts[1:])
    return Misfit(math.sqrt(2 * squares / df), df, where)


def _groups_elsewhere(runs: pd.DataFrame, eligible: pd.DataFrame) -> list[pd.DataFrame]:
    kinds = eligible[["embedding", "mlp"]].iloc[0]
    groups = [eligible_runs(group) for group in comparable_groups(runs)]
    found = []
    for group in groups:
        if group.empty or (group[["embedding", "mlp"]].iloc[0] != kinds).any():
            continue
        if not _spanned(eligible, group.total_params.median(), group.vocab_size.median()):
            found.append(group)
    return found


def _off_surface(group: pd.DataFrame, surface: Surface) -> np.ndarray:
    """Measured less predicted loss of each cell within the hull, up to a common constant."""
    measured = adjusted_means(group, "dev_loss")
    points = group.groupby("cell")[list(AXES)].mean().loc[measured.index]
    off = measured - surface.predict(points).dev_loss
    return off.dropna().to_numpy()


def _spanned(rows: pd.DataFrame, total_params: float, vocab_size: float) -> bool:
    """Whether size and vocabulary lie within those of the rows."""
    asked = {"total_params": total_params, "vocab_size": vocab_size}
    return all(
        rows[name].min() / (1 + SIZE) <= value <= rows[name].max() * (1 + SIZE)
        for name, value in asked.items()
    )


def _describe(group: pd.DataFrame) -> str:
    size, vocab_size = group.total_params.median(), group.vocab_size.median()
    return (
        f"the {group.cell.nunique()} cells at {size / 1e6:.3g}M parameters "
        f"with vocabulary {vocab_size:,.0f}"
    )
