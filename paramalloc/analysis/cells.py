"""The table of cells: one row each, with means over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..runs import baseline_request
from .groups import (
    LABEL_COLUMNS,
    MEAN_COLUMNS,
    QUALITY_COLUMNS,
    RATE_COLUMNS,
    REALISED_COLUMNS,
    REQUEST_COLUMNS,
    SHAPE_COLUMNS,
    SPEED_COLUMNS,
    on_evaluation_seeds,
)
from .least_squares import adjusted_means
from .selection import (
    at_best_lr,
    at_compared_lr,
    cached,
    cell_name,
    comparable_cells,
    eligible_of,
    is_at_edge,
    is_selected_in_sample,
    stopped_runs,
)

CELL_COLUMNS = [
    "cell",
    *REQUEST_COLUMNS,
    *SHAPE_COLUMNS,
    *REALISED_COLUMNS,
    *MEAN_COLUMNS,
    *SPEED_COLUMNS,
    *RATE_COLUMNS,
    "tokens_trained",
    "flagged_at_tokens",
    *LABEL_COLUMNS,
    "n_seeds",
    "n_flagged",
    "n_survived",
    "n_stopped",
    "n_diverged",
    "n_failed",
    "n_missing",
    "lr_selected_in_sample",
    "lr_at_edge",
    "baseline_share",
    "baseline_glu",
    "status",
    "run_ids",
]

# A cell's status is the first of these that one of its runs has, but after a screening.
STATUSES = [
    "completed",
    "stopped_early",
    "diverged",
    "failed",
    "missing",
]
SURVIVED = "survived"  # the status of a cell that was screened, and of which no run was killed


@cached
def cells_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: what was requested and realised, and the mean dev loss (nats per token).

    Only eligible runs are averaged (`eligible_runs`). Of cells with unequal seeds, dev_loss,
    dev_ppl, dev_bpb and smallbench are means at the seeds that all share (`adjusted_means`), so
    that rows may be ranked. So are tokens_per_s and decode_ms_per_token, as geometric means: speeds
    differ by factors, and runs of a seed trained beside the same other work.

    `n_seeds` counts the completed runs, `n_flagged` those of them that early stop would have
    killed, `n_stopped` those that it killed, `n_survived` those that were completed on
    `screening_seeds`, which no mean includes, `n_diverged` those that diverged; `n_failed` and
    `n_missing` those that failed or were never trained, at any rate, since they may not have
    recorded theirs.

    `lr_selected_in_sample`: the rate is the best of several on the very runs that are averaged, so
    their mean is optimistic. `lr_at_edge`: the best of the rates that were tried is the lowest or
    the highest of them, so a better one may lie beyond.
    """
    cells = comparable_cells(runs)
    rows = [_cell_row(name, cell) for name, cell in cells.items()]
    table = pd.DataFrame(rows, columns=CELL_COLUMNS)
    eligible = eligible_of(cells)
    share, glu = baseline_request(eligible if len(eligible) else runs)
    table = table.assign(baseline_share=share, baseline_glu=glu)
    if len(eligible):
        means = {name: adjusted_means(eligible, name) for name in QUALITY_COLUMNS}
        for name in SPEED_COLUMNS:
            means[name] = np.exp(adjusted_means(with_logs(eligible, name), name))
        table = table.assign(**{name: table.cell.map(mean) for name, mean in means.items()})
    return table.sort_values([*REQUEST_COLUMNS, "d_model", "d_embed"], ignore_index=True)


def with_logs(eligible: pd.DataFrame, cost: str) -> pd.DataFrame:
    """The runs with the logarithm of a cost in its place; NaN where it is not above 0."""
    return eligible.assign(**{cost: np.log(eligible[cost].where(eligible[cost] > 0))})


def _cell_row(name: str, runs: pd.DataFrame) -> dict:
    """The row of one cell from all of its runs."""
    claimed = runs[~runs.screens]
    done = at_best_lr(claimed)
    stopped = stopped_runs(runs)
    evaluated = on_evaluation_seeds(runs)
    statuses = evaluated.status
    if evaluated.empty:
        evaluated = runs.assign(status="missing")
    # Without a completed run, the curves still show how far the others came.
    shown = evaluated if done.empty else done
    compared = at_compared_lr(runs if done.empty else claimed)
    first = evaluated.bfill().iloc[0]
    status = _cell_status(evaluated, done, stopped)
    return {
        "cell": name,
        **first[[*REQUEST_COLUMNS, *SHAPE_COLUMNS, *REALISED_COLUMNS, *LABEL_COLUMNS]],
        **done[MEAN_COLUMNS].mean(),
        **shown[RATE_COLUMNS].max(),
        "n_seeds": done.seed.nunique(),
        "n_flagged": int((done.flagged_at_tokens > 0).sum()),
        "n_survived": len(at_best_lr(runs[runs.screens])),
        "n_stopped": len(stopped),
        "n_diverged": int((compared.status == "diverged").sum()),
        "n_failed": int((statuses == "failed").sum()),
        "n_missing": int((statuses == "missing").sum()),
        "lr_selected_in_sample": is_selected_in_sample(claimed),
        "lr_at_edge": is_at_edge(claimed),
        "tokens_trained": (stopped if status == "stopped_early" else shown).tokens_trained.max(),
        "flagged_at_tokens": done.flagged_at_tokens.min(),
        "status": status,
        "run_ids": list(shown.run_id.dropna()),
    }


def _cell_status(evaluated: pd.DataFrame, done: pd.DataFrame, stopped: pd.DataFrame) -> str:
    """The status of a cell: one killed run screens it out, unless it is complete on other seeds."""
    first = min(evaluated.status, key=_status_rank)
    if len(done):
        return first
    if len(stopped):
        return "stopped_early"
    return SURVIVED if first == "completed" and evaluated.screens.any() else first


def _status_rank(status: str) -> int:
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)


def is_screening(runs: pd.DataFrame) -> bool:
    """Whether early stop killed runs, and no two cells are whole on other seeds: no claim is made.

    Then no run is eligible, and what is left says which cells are worth whole runs.
    """
    table = cells_table(runs)
    return bool((table.n_stopped > 0).any()) and completed_cells(table).empty


def trained_cells(runs: pd.DataFrame) -> pd.DataFrame:
    """The `completed_cells`; of a screening the cells that it trained."""
    table = cells_table(runs)
    if not is_screening(runs):
        return completed_cells(table)
    return table[table.n_stopped + table.n_survived > 0].reset_index(drop=True)


def screened_out(table: pd.DataFrame) -> list[str]:
    """The cells of which early stop killed a run, and which are not complete on other seeds."""
    return list(table.cell[(table.n_stopped > 0) & table.dev_loss.isna()])


def completed_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The cells with a dev_loss, from the lowest on."""
    return table[table.dev_loss.notna()].sort_values("dev_loss", ignore_index=True)


def baseline_name(runs: pd.DataFrame) -> str:
    """What the baseline cell of these runs, or cells, is called: `35 % × 2.66`."""
    request = zip(REQUEST_COLUMNS, baseline_request(runs), strict=True)
    return cell_name(pd.Series(dict(request)))


def baseline_cell(table: pd.DataFrame) -> pd.DataFrame:
    """The completed baseline cell, as a table of one row or none.

    `table` is that of the cells, or eligible runs. The baseline is the one that the runs were
    trained with (`runs.baseline_request`): as requested, or its share alone where the GLU expansion
    was not requested (an arm that keeps d_model and n_layers).
    """
    share, glu = baseline_request(table)
    same_share = np.isclose(table.requested_share.astype(float), share)
    same_glu = np.isclose(table.requested_glu.astype(float), glu)
    rows = completed_cells(table[same_share & (same_glu | table.requested_glu.isna())])
    return rows.sort_values("requested_glu", kind="stable").head(1)
