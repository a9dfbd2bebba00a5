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
    comparable,
    on_evaluation_seeds,
    with_all_columns,
)
from .least_squares import adjusted_means
from .selection import (
    at_best_lr,
    cached,
    cell_name,
    eligible_of,
    full_smallbench_only,
    is_at_edge,
    is_selected_in_sample,
    rate_labels,
    split_by_cell,
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

# A cell's status is the first of these that one of its runs has.
STATUSES = [
    "completed",
    "stopped_early",
    "diverged",
    "failed",
    "missing",
]


@cached
def cells_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: what was requested and realised, and the mean dev loss (nats per token).

    Only eligible runs are averaged (`eligible_runs`). Of cells with unequal seeds, dev_loss,
    dev_ppl, dev_bpb and smallbench are means at the seeds that all share (`adjusted_means`), so
    that rows may be ranked. So are tokens_per_s and decode_ms_per_token, as geometric means: speeds
    differ by factors, and runs of a seed trained beside the same other work.

    `n_seeds` counts the completed runs, `n_flagged` those of them that early stop would have
    killed, `n_stopped` those that it killed, `n_diverged` those that diverged; `n_failed` and
    `n_missing` those that failed or were never trained, at any rate, since they may not have
    recorded theirs.

    `lr_selected_in_sample`: the rate is the best of several on the very runs that are averaged, so
    their mean is optimistic. `lr_at_edge`: the best of the rates that were tried is the lowest or
    the highest of them, so a better one may lie beyond.
    """
    runs = full_smallbench_only(comparable(with_all_columns(runs)))
    cells = split_by_cell(runs)
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
    done = at_best_lr(runs)
    evaluated = on_evaluation_seeds(runs)
    statuses = evaluated.status
    if evaluated.empty:
        evaluated = runs.assign(status="missing")
    # Without a completed run, the curves still show how far the others came.
    shown = evaluated if done.empty else done
    at_same_lr = evaluated[rate_labels(evaluated).isin(rate_labels(done)) | done.empty]
    first = evaluated.bfill().iloc[0]
    return {
        "cell": name,
        **first[[*REQUEST_COLUMNS, *SHAPE_COLUMNS, *REALISED_COLUMNS, *LABEL_COLUMNS]],
        **done[MEAN_COLUMNS].mean(),
        **shown[RATE_COLUMNS].max(),
        "n_seeds": done.seed.nunique(),
        "n_flagged": int((done.flagged_at_tokens > 0).sum()),
        "n_stopped": int((at_same_lr.status == "stopped_early").sum()),
        "n_diverged": int((at_same_lr.status == "diverged").sum()),
        "n_failed": int((statuses == "failed").sum()),
        "n_missing": int((statuses == "missing").sum()),
        "lr_selected_in_sample": is_selected_in_sample(runs),
        "lr_at_edge": is_at_edge(runs),
        "tokens_trained": shown.tokens_trained.max(),
        "flagged_at_tokens": done.flagged_at_tokens.min(),
        "status": min(evaluated.status, key=_status_rank),
        "run_ids": list(shown.run_id.dropna()),
    }


def _status_rank(status: str) -> int:
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)


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
