"""Simulated studies with a known truth, and which claims of the analysis are false in them.

12 cells on three seeds, as published: runs scatter by SIGMA, and where cells differ the three
shares do, by WORSE. Every frame of runs carries its `truth`, the expected loss of its cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd
from analysis_fixtures import SEEDS, grid

from paramalloc.analysis import eligible_runs, fit, fit_surface, main_effects
from paramalloc.analysis.comparisons import compare_with, may_be_best
from paramalloc.analysis.quadratic import mesh
from paramalloc.analysis.recommendation import claims_better

SIGMA, WORSE = 0.0106, 0.073  # nats per token: published
BASELINE, BETTER = "35 % × 2.66", "45 % × 4"

Study = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def design() -> pd.DataFrame:
    """The runs of a study without noise: all cells are equal."""
    return eligible_runs(grid(seeds=SEEDS)).assign(truth=5.0)


# ---- what the noise may be: a function of the runs and the random numbers


def normal(times: Callable[[pd.DataFrame], pd.Series] | None = None, worse: float = 0.0) -> Study:
    """Normal noise: runs that `times` marks with a factor scatter more, or less.

    The cells at 25 % are truly worse by `worse`.
    """

    def draw(runs: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
        factor = 1.0 if times is None else times(runs).to_numpy()
        truth = runs.truth + worse * (runs.requested_share == 0.25)
        noise = SIGMA * factor * generator.standard_normal(len(runs))
        return runs.assign(truth=truth, dev_loss=truth + noise)

    return draw


def at_share(factor: float) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda runs: (runs.requested_share == 0.25).map({True: factor, False: 1.0})


def at_cell(name: str, factor: float) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda runs: (runs.cell == name).map({True: factor, False: 1.0})


def heavy_tails(runs: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """Student's t with 3 degrees of freedom, scaled to the same variance."""
    noise = SIGMA / math.sqrt(3) * generator.standard_t(3, len(runs))
    return runs.assign(dev_loss=runs.truth + noise)


def outlier(size: float, cell: str | None = None) -> Study:
    """One run, of any cell or of this one, is off by `size` nats, up or down."""

    def draw(runs: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
        runs = normal()(runs, generator)
        candidates = runs.index if cell is None else runs.index[runs.cell == cell]
        at = generator.choice(candidates)
        runs.loc[at, "dev_loss"] += size * generator.choice([-1, 1])
        return runs

    return draw


def lost(runs: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """One run is missing."""
    return normal()(runs, generator).drop(index=generator.choice(runs.index))


def diverged(runs: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    """The run with the highest loss has none: what diverges is not drawn by lot."""
    runs = normal()(runs, generator)
    return runs.drop(index=(runs.dev_loss - runs.truth).idxmax())


SCENARIOS: dict[str, Study] = {
    "equal noise": normal(),
    f"equal noise, 25 % worse by {WORSE}": normal(worse=WORSE),
    "25 % three times as noisy": normal(at_share(3.0)),
    "25 % half as noisy": normal(at_share(0.5)),
    f"25 % half as noisy, worse by {WORSE}": normal(at_share(0.5), WORSE),
    "baseline three times as noisy": normal(at_cell(BASELINE, 3.0)),
    f"the same, 25 % worse by {WORSE}": normal(at_cell(BASELINE, 3.0), WORSE),
    "heavy tails (t, 3 df)": heavy_tails,
    **{f"an outlier of {size} in any cell": outlier(size) for size in (0.05, 0.1, 0.5)},
    **{
        f"an outlier of {size} in the baseline": outlier(size, BASELINE)
        for size in (0.05, 0.1, 0.5)
    },
    "one run lost": lost,
    "the worst run diverged": diverged,
}

# Where false claims are most frequent, one of each kind (tests/bench/bench_claims.py has all).
HARDEST = [
    "equal noise",
    "25 % three times as noisy",
    f"25 % half as noisy, worse by {WORSE}",
    f"the same, 25 % worse by {WORSE}",
    "the worst run diverged",
]

# ---- what may be claimed falsely: a function of the runs


def differs_falsely(runs: pd.DataFrame) -> bool:
    """A cell is told from the baseline that is equal, or better where it is worse."""
    model = fit(runs)
    table = compare_with(model, model.cells.index(BASELINE)).set_index("cell")
    truth = runs.groupby("cell").truth.first()
    gap = (truth - truth[BASELINE])[table.index]
    return bool((table.distinguishable & (table.difference * gap <= 0)).any())


def best_ruled_out(runs: pd.DataFrame) -> bool:
    """A truly best cell may not be the best; where all are equal, any cell."""
    truth = runs.groupby("cell").truth.first()
    best = truth.index[truth == truth.min()]
    return not set(best) <= set(may_be_best(fit(runs)))


def effect_missed(runs: pd.DataFrame) -> bool:
    """The interval of a main effect does not hold it. Only those of 25 % can be other than zero."""
    table = main_effects(runs)
    share = runs.groupby("requested_share").truth.first()
    at_share = (table.axis == "requested_share") & (table.level == 0.25)
    true = np.where(at_share, share[0.25] - share[0.35], 0.0)
    return bool(((table.low > true) | (table.high < true)).any())


def recommended_falsely(runs: pd.DataFrame) -> bool:
    """`recommend` calls a shape better than the baseline: no shape is, in any scenario."""
    return claims_better(runs, searched_shapes())


@cache
def searched_shapes() -> pd.DataFrame:
    """The points of a grid over share and expansion that lie within the cells' convex hull."""
    runs = normal()(design(), np.random.default_rng(0))
    surface = fit_surface(runs)
    assert surface is not None, "a whole grid has one"
    points = mesh(surface.ranges, 6)
    return points[surface.contains(points)].reset_index(drop=True)


CLAIMS: dict[str, Callable[[pd.DataFrame], bool]] = {
    "differs from the baseline": differs_falsely,
    "ruled out as best": best_ruled_out,
    "main effects": effect_missed,
    "recommended as better": recommended_falsely,
}


def false_claims(scenario: str, studies: int, seed: int = 0) -> dict[str, float]:
    """The part of these studies in which each of the claims is false."""
    generator, runs = np.random.default_rng(seed), design()
    counts = dict.fromkeys(CLAIMS, 0)
    for _ in range(studies):
        study = SCENARIOS[scenario](runs, generator)
        for name, claim in CLAIMS.items():
            counts[name] += claim(study)
    return {name: count / studies for name, count in counts.items()}


def power(studies: int, errors: float = 4.0, cell: str = BETTER, seed: int = 0) -> float:
    """How many studies tell `BETTER` from the baseline when one of both is off by these errors.

    In standard errors of a difference of paired seeds: BETTER is better by so much than all other
    cells, or the baseline (as `cell`) worse.
    """
    generator, runs, found = np.random.default_rng(seed), design(), 0
    gap = errors * SIGMA * math.sqrt(2 / SEEDS)
    off = -gap if cell == BETTER else gap
    runs = runs.assign(truth=runs.truth + off * (runs.cell == cell))
    for _ in range(studies):
        model = fit(normal()(runs, generator))
        table = compare_with(model, model.cells.index(BASELINE)).set_index("cell")
        found += bool(table.distinguishable[BETTER] and table.difference[BETTER] < 0)
    return found / studies
