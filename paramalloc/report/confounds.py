"""What else than the allocation sets cells apart, and what else limits their comparison."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..analysis import (
    describe_earlier_screening,
    eligible_runs,
    fit,
    linked,
    main_effects,
    views,
)
from .markup import span
from .rates import is_tuned, own_rates_clause

TIED = "With a tied embedding, share is width and GLU expansion is depth: neither moves alone."
ONE_RATE = (
    "One base learning rate and one multiple for the tables serve all shapes, which may explain"
    " part of a difference."
)
EQUAL_BUDGETS = (
    "At equal FLOPs or time, the cheapest cell sets the common budget. It has finished its"
    " learning-rate decay and the others have not, so the comparison favours it."
)
# What a column of the table of cells marks.
CELL_MARKS = {
    "n_diverged": ("Runs of {} diverged. Their means are of the other seeds, which flatters them."),
    "lr_selected_in_sample": (
        "The learning rate of {} was chosen on the seeds that are averaged, not on tuning seeds:"
        " their losses are somewhat optimistic."
    ),
    "lr_at_edge": (
        "The best learning rate of {} lies at the edge of those that were tried: a better one may"
        " lie beyond."
    ),
}


def comparison_limits(runs: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    """What confounds or limits the comparison of the cells `done`, a sentence or two each."""
    one_rate = done.lr.nunique() == 1 and not is_tuned(runs)
    return [
        confound(runs),
        TIED if (done.embedding == "tied").any() else "",
        _few_seeds(done),
        _unlinked(runs),
        _best_at_edge(done),
        _heads(done),
        _totals(done),
        ONE_RATE if one_rate else "",
        describe_earlier_screening(runs),
        *[_marked_cells(done, column) for column in CELL_MARKS],
        EQUAL_BUDGETS if len(views(runs)) else "",
    ]


def confound(runs: pd.DataFrame) -> str:
    """What else sets a distinguishably worse share apart; empty where the rows do not say this."""
    effects = main_effects(runs)
    if effects.empty:
        return ""
    claims = effects[(effects.low > 0) | (effects.high < 0)]
    if len(claims) != 1:
        return ""
    claim = claims.iloc[0]
    if claim.axis != "requested_share" or claim.low <= 0:
        return ""
    eligible = eligible_runs(runs)
    single_headed = eligible.n_heads == 1
    if (single_headed != (eligible.requested_share == claim.level)).any():
        return ""
    if eligible.lr.nunique() > 1:
        return ""
    text = (
        f"The one claim, that {100 * claim.level:g} % is worse, is confounded: only those cells"
        " have a single attention head, and all cells share one learning rate."
    )
    return " ".join([text, own_rates_clause(runs, claim.level)]).strip()


def _few_seeds(done: pd.DataFrame) -> str:
    if done.n_seeds.min() >= 2:
        return ""
    cells = "Every cell has" if done.n_seeds.max() == 1 else "Some cells have"
    return f"{cells} one seed: a difference of a few hundredths of a nat may be seed noise."


def _unlinked(runs: pd.DataFrame) -> str:
    """The cells whose seeds no chain of shared seeds links to those of the best.

    Nothing says which part of a difference to them comes from the seeds.
    """
    model = fit(eligible_runs(runs))
    with_best = linked(model, int(np.argmin(model.mean)))
    alone = [cell for cell, is_linked in zip(model.cells, with_best, strict=True) if not is_linked]
    if not alone or not model.df:
        return ""
    names = ", ".join(alone)
    return f"{names}: no seed in common with the best cell, so they are not compared with it."


def _best_at_edge(done: pd.DataFrame) -> str:
    """Where the lowest cell has no neighbour on one side, a lower one may lie there."""
    best = done.iloc[0]
    ends = []
    for column, noun in (("requested_share", "share"), ("requested_glu", "expansion")):
        values = done[column]
        if values.nunique() < 2:
            continue
        if best[column] == values.min():
            ends.append(f"the smallest {noun}")
        elif best[column] == values.max():
            ends.append(f"the largest {noun}")
    if not ends:
        return ""
    return f"The lowest cell has {' and '.join(ends)} of these: a lower one may lie beyond."


def _heads(done: pd.DataFrame) -> str:
    """Heads are whole numbers, too: at a small width their number moves with the shape."""
    heads = done[["n_heads", "d_head"]].drop_duplicates()
    if len(heads) < 2:
        return ""
    counts = f"{span(heads.n_heads)} of dimension {span(heads.d_head)}"
    counts = "; ".join([counts, *_own_head_counts(done)])
    return (
        f"The attention heads move with the shape ({counts}): they may explain part of a"
        " difference."
    )


def _own_head_counts(done: pd.DataFrame) -> list[str]:
    """The shares whose head counts no other share has."""
    counts = []
    for share, n_heads in done.groupby("requested_share").n_heads:
        others = done.n_heads.drop(n_heads.index)
        if len(others) and not n_heads.isin(others).any():
            counts.append(f"{100 * share:g} % alone {span(n_heads)}")
    return counts


def _totals(done: pd.DataFrame) -> str:
    excess = done.total_params.max() / done.total_params.min() - 1
    if excess <= 0.005:
        return ""
    return (
        f"The cells' totals differ by up to {100 * excess:.1f} %: part of a difference comes from"
        " the budgets."
    )


def _marked_cells(done: pd.DataFrame, column: str) -> str:
    """The sentence about the cells that this column marks; none where no cell is."""
    cells = list(done.cell[done[column] > 0])
    if not cells:
        return ""
    every = len(cells) == len(done) > 1
    return CELL_MARKS[column].format("every cell" if every else ", ".join(cells))
