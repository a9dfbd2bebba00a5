"""The noise floor: how far runs of the baseline scatter over seeds, and how many seeds a difference needs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from .noise import sd_interval
from .power import seeds_needed
from .selection import baseline_cell, eligible_runs

FLOOR_SEEDS = (
    8  # fewer say too little about a standard deviation: with 8 its interval spans a factor of 3
)


@dataclass(frozen=True)
class Floor:
    """The standard deviation of dev_loss (nats per token) over seeds of one cell, with its 95 % interval."""

    sd: float
    low: float
    high: float
    n_seeds: int

    def seeds_needed(self, difference: float) -> int:
        """Seeds that each of two cells needs, unpaired, for a difference (nats) to be found by a two-sided t test at 5 % with a
        power of 80 %; pairing needs fewer (`Noise.seeds_needed`)."""
        return seeds_needed(difference, self.sd, paired=False)


def noise_floor(runs: pd.DataFrame) -> Floor | None:
    """How far runs of the baseline scatter over seeds; None with fewer than FLOOR_SEEDS of them."""
    claimed = eligible_runs(runs)
    losses = claimed[claimed.cell.isin(baseline_cell(claimed).cell)].dev_loss
    if len(losses) < FLOOR_SEEDS:
        return None
    return Floor(float(losses.std()), *sd_interval(losses.var(), len(losses) - 1), len(losses))
