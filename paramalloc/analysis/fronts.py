"""Pareto fronts of quality against cost: of the numbers as they stand, and how probable each cell's place is under their noise."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .noise import draw_t, fit, linked
from .selection import cells_table, completed_cells, eligible_runs

COST_SENSE = {
    "tokens_per_s": "more",
    "decode_ms_per_token": "less",
    "train_flops": "less",
    "kv_bytes_per_token": "less",
    "total_params": "less",
}  # which direction of a cost is better
QUALITY_SENSE = {"dev_loss": "less", "dev_bpb": "less", "smallbench": "more"}
TIE = 0.01  # costs within 1 % of each other count as equal: then quality alone decides
DRAWS = 4_000


def efficient(cost: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Of (..., C) costs and qualities, both better when lower: True where no other cell is at least as good in both and better in
    one. A cost is worse or better only by more than TIE. Where either is NaN: False."""
    c, q = cost[..., :, None], quality[..., :, None]  # (..., i, j): i beside j
    other, theirs = cost[..., None, :], quality[..., None, :]
    slack = TIE * np.minimum(abs(c), abs(other))
    dominates = (
        (c <= other + slack) & (q <= theirs) & ((c < other - slack) | (q < theirs))
    )  # a NaN does neither
    return ~dominates.any(axis=-2) & ~np.isnan(cost) & ~np.isnan(quality)


def pareto_front(
    table: pd.DataFrame, cost: str, quality: str = "dev_loss", cost_sense: str | None = None
) -> pd.Series:
    """True where no other cell is at least as good in both and better in one; costs within 1 % are equal.

    `cost_sense` is "more" or "less" (which is better). Ties stay together; a cell with a NaN is never on the front.
    """
    return pd.Series(
        efficient(
            _sign(cost_sense or COST_SENSE[cost]) * table[cost].to_numpy(float),
            _sign(QUALITY_SENSE[quality]) * table[quality].to_numpy(float),
        ),
        index=table.index,
    )


def _sign(sense: str) -> float:
    return {"more": -1.0, "less": 1.0}[sense]


def front_table(table: pd.DataFrame, cost: str, quality: str = "dev_loss") -> pd.DataFrame:
    """The cells on the front of `quality` against `cost`, from the best on."""
    front = table[pareto_front(table, cost, quality)]
    return front.sort_values(
        [quality, cost], ascending=[QUALITY_SENSE[quality] == "less", True], ignore_index=True
    )


def screening(table: pd.DataFrame) -> list[str]:
    """The cells that a front lacks or half has, because early stop killed runs of them: it only screens."""
    return list(table.cell[(table.n_stopped > 0) | (table.status == "stopped_early")])


def front_probability(runs: pd.DataFrame, cost: str, quality: str = "dev_loss") -> pd.Series:
    """How probable it is, by cell name, that a cell is on the front: the share of DRAWS draws of all cells' true quality and
    cost, given the measured ones and their noise, in which it is. NaN where quality, cost or the noise is unknown, and of cells
    that no seeds link to the one with the best quality.

    Qualities are drawn from the cell + seed model (t); SmallBench of one seed has no probabilities, as its standard error over
    items leaves out what another seed would do. Costs are drawn on the log scale with a variance pooled over cells; one that
    never varies within a cell has none.
    """
    table = completed_cells(cells_table(runs)).set_index("cell")
    known = table.index[table[cost].notna() & table[quality].notna()]
    generator, claimed = np.random.default_rng(0), eligible_runs(runs)
    known, claimed = _linked_cells(known, claimed, quality)
    drawn = _qualities(claimed, table.loc[known], quality, generator)
    if drawn is None or not len(known):
        return pd.Series(np.nan, table.index)
    costs = _sign(COST_SENSE[cost]) * _costs(claimed, table.loc[known], cost, generator)
    front = efficient(costs, _sign(QUALITY_SENSE[quality]) * drawn)
    return pd.Series(front.mean(axis=0), known).reindex(table.index)


def _linked_cells(
    known: pd.Index, claimed: pd.DataFrame, quality: str
) -> tuple[pd.Index, pd.DataFrame]:
    """Of these cells those that can be compared with the one of the best quality, and their runs."""
    claimed = claimed[claimed.cell.isin(known)]
    model = fit(claimed, quality)
    if model.df:
        best = int(np.argmin(_sign(QUALITY_SENSE[quality]) * model.mean))
        known = known[known.isin(np.array(model.cells)[linked(model, best)])]
    return known, claimed[claimed.cell.isin(known)]


def _qualities(
    claimed: pd.DataFrame, table: pd.DataFrame, quality: str, generator
) -> np.ndarray | None:
    """(DRAWS, C) draws of the cells' qualities, None where no seed repeats; what all cells of a seed share is left out."""
    model = fit(claimed, quality)
    if not model.df:
        return None
    at = [model.cells.index(name) for name in table.index]
    drawn = model.effect + draw_t(model.sigma2 * model.unit, model.df, DRAWS, generator)
    return (drawn + draw_t(model.documents, model.documents_df, DRAWS, generator))[:, at]


def _costs(claimed: pd.DataFrame, table: pd.DataFrame, cost: str, generator) -> np.ndarray:
    """(DRAWS, C) draws of the cells' costs, around the table's."""
    logs = np.log(claimed[cost].where(claimed[cost] > 0))
    cells = logs.groupby(claimed.cell)
    n, df = cells.count().reindex(table.index).to_numpy(), int((cells.count() - 1).clip(0).sum())
    spread = np.sqrt(np.square(logs - cells.transform("mean")).sum() / df) if df else 0.0
    scale = np.sqrt(generator.chisquare(df, (DRAWS, 1)) / df) if df else 1.0
    return table[cost].to_numpy(float) * np.exp(
        spread / np.sqrt(n) * generator.standard_normal((DRAWS, len(table))) / scale
    )
