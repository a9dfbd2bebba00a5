"""Pareto fronts of quality against cost, and how probable each cell's place on them is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..runs import COLUMNS
from .cells import cells_table, completed_cells, with_logs
from .comparisons import draw_t, linked
from .groups import SPEED_COLUMNS
from .least_squares import coded, two_way
from .noise import fit
from .power import DRAWS
from .selection import eligible_runs

COST_COLUMNS = [
    "tokens_per_s",
    "decode_ms_per_token",
    "train_flops",
    "kv_bytes_per_token",
    "total_params",
]
# Which direction is better: "less" or "more".
COST_SENSE = {name: COLUMNS[name].better for name in COST_COLUMNS}
QUALITY_SENSE = {name: COLUMNS[name].better for name in ("dev_loss", "dev_bpb", "smallbench")}
NORMAL_95 = 1.96  # standard deviations on each side of a 95 % interval
TIE = 0.01  # costs within 1 % of each other count as equal: then quality alone decides


def efficient(cost: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Which of (..., C) cells are on the front, where less is better in both.

    True where no other cell is at least as good in both and better in one. A cost is worse or
    better only by more than TIE. Where either is NaN: False.
    """
    # (..., i, j): does cell i dominate cell j? A NaN compares false with everything.
    cost_i, cost_j = cost[..., :, None], cost[..., None, :]
    quality_i, quality_j = quality[..., :, None], quality[..., None, :]
    slack = TIE * np.minimum(abs(cost_i), abs(cost_j))
    no_worse = (cost_i <= cost_j + slack) & (quality_i <= quality_j)
    better = (cost_i < cost_j - slack) | (quality_i < quality_j)
    dominated = (no_worse & better).any(axis=-2)
    return ~dominated & ~np.isnan(cost) & ~np.isnan(quality)


def pareto_front(
    table: pd.DataFrame, cost: str, quality: str = "dev_loss", cost_sense: str | None = None
) -> pd.Series:
    """True where no other cell is at least as good in both and better in one.

    `cost_sense` is "more" or "less" (which is better). Costs within 1 % are equal; ties stay
    together; a cell with a NaN is never on the front.

    >>> table = pd.DataFrame({"train_flops": [1.0, 2.0, 3.0], "dev_loss": [5.0, 4.9, 5.1]})
    >>> pareto_front(table, "train_flops").tolist()
    [True, True, False]
    """
    costs = _sign(cost_sense or COST_SENSE[cost]) * table[cost].to_numpy(float)
    qualities = _sign(QUALITY_SENSE[quality]) * table[quality].to_numpy(float)
    return pd.Series(efficient(costs, qualities), index=table.index)


def _sign(sense: str) -> float:
    return {"more": -1.0, "less": 1.0}[sense]


def front_table(table: pd.DataFrame, cost: str, quality: str = "dev_loss") -> pd.DataFrame:
    """The cells on the front of `quality` against `cost`, from the best on."""
    front = table[pareto_front(table, cost, quality)]
    ascending = [QUALITY_SENSE[quality] == "less", True]
    return front.sort_values([quality, cost], ascending=ascending, ignore_index=True)


def front_probability(runs: pd.DataFrame, cost: str, quality: str = "dev_loss") -> pd.Series:
    """How probable it is, by cell name, that a cell is on the front.

    The fraction of DRAWS draws of all cells' true quality and cost, given the measured ones and
    their noise, in which it is. NaN where quality, cost or their noise is unknown, and of cells
    that no seeds link to the one with the best quality.

    Qualities are drawn from the cell + seed model (t); SmallBench of one seed has no probabilities,
    as its standard error over items leaves out what another seed would do. Speeds are drawn from
    the same model of their logarithms, around the table's geometric means: the seed is a block, as
    its runs trained beside the same other work. Those that were measured alone are shared by the
    seeds of a cell: their noise is that of their interval (`speeds_width`). Other costs are counted
    and have no noise.
    """
    table = completed_cells(cells_table(runs)).set_index("cell")
    measured = table.index[table[cost].notna() & table[quality].notna()]
    generator = np.random.default_rng(0)
    names, eligible = _linked_cells(measured, eligible_runs(runs), quality)
    qualities = _draw_qualities(eligible, names, quality, generator)
    if qualities is None or not len(names):
        return pd.Series(np.nan, table.index)
    costs = _draw_costs(eligible, table.loc[names], cost, generator)
    if np.isnan(costs).any():
        return pd.Series(np.nan, table.index)
    front = efficient(_sign(COST_SENSE[cost]) * costs, _sign(QUALITY_SENSE[quality]) * qualities)
    return pd.Series(front.mean(axis=0), names).reindex(table.index)


def _linked_cells(
    names: pd.Index, eligible: pd.DataFrame, quality: str
) -> tuple[pd.Index, pd.DataFrame]:
    """The cells that can be compared with the one of the best quality, and their runs."""
    eligible = eligible[eligible.cell.isin(names)]
    model = fit(eligible, quality)
    if model.df:
        best = int(np.argmin(_sign(QUALITY_SENSE[quality]) * model.mean))
        names = names[names.isin(np.array(model.cells)[linked(model, best)])]
    return names, eligible[eligible.cell.isin(names)]


def _draw_qualities(
    eligible: pd.DataFrame, names: pd.Index, quality: str, generator: np.random.Generator
) -> np.ndarray | None:
    """(DRAWS, C) draws of the cells' qualities, without what all cells of a seed share.

    None where no seed repeats.
    """
    model = fit(eligible, quality)
    if not model.df:
        return None
    over_runs = model.effect + draw_t(model.covariance, model.df, DRAWS, generator)
    over_documents = draw_t(model.documents, model.documents_df, DRAWS, generator)
    return (over_runs + over_documents)[:, [model.cells.index(name) for name in names]]


def is_timed_alone(runs: pd.DataFrame, cost: str) -> bool:
    """Whether a cost of these runs is a speed that `paramalloc time` measured."""
    return cost in SPEED_COLUMNS and bool((eligible_runs(runs).speeds == "alone").any())


def lacks_width(runs: pd.DataFrame, cost: str) -> bool:
    """Whether a cost was measured alone, and of some cell without a known interval."""
    return is_timed_alone(runs, cost) and bool(_widths(eligible_runs(runs), cost).isna().any())


def _widths(eligible: pd.DataFrame, cost: str) -> pd.Series:
    """The interval of the speeds by cell, of those that have the cost; NaN where unknown."""
    used = eligible[eligible[cost].notna()]
    return used.groupby("cell").speeds_width.max()


def _draw_costs(
    eligible: pd.DataFrame, table: pd.DataFrame, cost: str, generator: np.random.Generator
) -> np.ndarray:
    """(DRAWS, C) draws of the cells' costs, around the table's.

    NaN where the noise is unknown: where no speed repeats, or no seeds link those of all cells.
    """
    centre = table[cost].to_numpy(float)
    if is_timed_alone(eligible, cost):
        normal = generator.standard_normal((DRAWS, len(table)))
        sd = _widths(eligible, cost).reindex(table.index).to_numpy(float) / (2 * NORMAL_95)
        return centre * np.exp(sd * normal)
    if cost not in SPEED_COLUMNS:
        return np.broadcast_to(centre, (DRAWS, len(table)))
    measured = with_logs(eligible, cost).dropna(subset=cost)
    names, cell, seed = coded(measured)
    model = two_way(cell, seed, measured[cost].to_numpy(float))
    are_linked = np.linalg.matrix_rank(model["linked"], hermitian=True) == len(names) - 1
    if not model["df"] or not are_linked:
        return np.full((DRAWS, len(table)), np.nan)
    weights = model["weights"]
    noise = draw_t(model["sigma2"] * weights @ weights.T, model["df"], DRAWS, generator)
    return centre * np.exp(noise[:, [names.index(name) for name in table.index]])
