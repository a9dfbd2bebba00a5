"""The noise floor: how far runs of the baseline scatter over seeds."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from .cells import baseline_cell
from .noise import sd_interval
from .power import seeds_needed
from .selection import eligible_runs

FLOOR_SEEDS = 8  # the interval of a standard deviation from 8 seeds spans a factor of 3


@dataclass(frozen=True)
class Floor:
    """The standard deviation of dev_loss (nats per token) over seeds of one cell, with its CI."""

    sd: float
    low: float
    high: float
    n_seeds: int

    def seeds_needed(self, difference: float) -> int:
        """Seeds that each of two cells needs, unpaired, to find a difference (nats).

        By a two-sided t test at 5 % with a power of 80 %; pairing needs fewer
        (`Noise.seeds_needed`).
        """
        return seeds_needed(difference, self.sd, paired=False)


def noise_floor(runs: pd.DataFrame) -> Floor | None:
    """How far runs of the baseline scatter over seeds; None with fewer than FLOOR_SEEDS of them."""
    eligible = eligible_runs(runs)
    losses = eligible[eligible.cell.isin(baseline_cell(eligible).cell)].dev_loss
    if len(losses) < FLOOR_SEEDS:
        return None
    low, high = sd_interval(losses.var(), len(losses) - 1)
    return Floor(float(losses.std()), low, high, len(losses))
