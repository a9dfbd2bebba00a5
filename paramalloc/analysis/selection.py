"""Which runs count, and the table of cells."""

from __future__ import annotations

import pickle
from functools import lru_cache, wraps

import numpy as np
import pandas as pd

from ..runs import Note
from .groups import (
    MEANS,
    QUALITY_COLUMNS,
    RATES,
    REALISED,
    REQUEST_COLUMNS,
    SHAPE_COLUMNS,
    SPEEDS,
    TEXT_COLUMNS,
    comparable,
    on_evaluation_seeds,
    typed,
)
from .least_squares import adjusted_means

BASELINE = (0.35, 2.66)  # requested share and GLU of the cell that every other one is compared with
CLOSE = 0.02  # nats per token: 2 % of perplexity, a distance that a change of seed alone can make
NO_RUNS = (
    "no runs yet: run `make` (the quick grid of 12 cells) or "
    "`papermill notebooks/train.ipynb outputs/notebooks/one.ipynb` (one cell), then this notebook again."
)

CELL_COLUMNS = [
    "cell",
    *REQUEST_COLUMNS,
    *SHAPE_COLUMNS,
    *REALISED,
    *MEANS,
    *SPEEDS,
    *RATES,
    "tokens_trained",
    "flagged_at_tokens",
    *TEXT_COLUMNS,
    "n_seeds",
    "n_flagged",
    "n_stopped",
    "n_diverged",
    "n_failed",
    "n_missing",
    "lr_selected_in_sample",
    "lr_at_edge",
    "status",
    "run_ids",
]

STATUSES = [
    "completed",
    "stopped_early",
    "diverged",
    "failed",
    "missing",
]  # the one that tells most comes first

NOTHING = Note("no runs yet")


def remembered(table):
    """`table` with its results for the last few frames, by their content: a report asks for them some forty times."""
    kept = lru_cache(maxsize=8)(lambda content: table(pickle.loads(content)))
    return wraps(table)(lambda runs: kept(pickle.dumps(runs)).copy())


@remembered
def cells_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: what was requested, what was realised, and the mean dev loss (nats per token) over its seeds.

    Only completed runs on claim seeds are averaged, at the cell's learning rate (`at_best_lr`). Of cells with unequal seeds, dev_loss,
    dev_ppl, dev_bpb and smallbench are means at the seeds that all share (`adjusted_means`), so that a row may be ranked
    against another. tokens_per_s and decode_ms_per_token are medians. `n_seeds` counts the
    completed runs, `n_flagged` those of them that early stop would have killed, `n_stopped` those that it killed, `n_diverged` those that diverged; `n_failed` and `n_missing` those that
    failed or were never trained, of any rate, since they need not have recorded theirs.

    `lr_selected_in_sample`: the rate is the best of several on the very runs that are averaged, so their mean is optimistic.
    `lr_at_edge`: the best of several rates that were tried is the lowest or the highest of them, so a better one may lie beyond.
    """
    cells = by_cell(full_smallbench_only(comparable(typed(runs))))
    table, claimed = (
        pd.DataFrame([_cell_row(name, cell) for name, cell in cells.items()], columns=CELL_COLUMNS),
        _eligible(cells),
    )
    if len(claimed):
        table = table.assign(
            **{name: table.cell.map(adjusted_means(claimed, name)) for name in QUALITY_COLUMNS}
        )
    return table.sort_values([*REQUEST_COLUMNS, "d_model", "d_embed"], ignore_index=True)


@remembered
def eligible_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that a claim rests on, with their `cell`: of one group, completed, on claim seeds, at their cell's learning rate.

    Tuning seeds (config.TUNING_SEED and up) chose the rate and killed runs carry no final loss: neither is here. Of claims, themselves.
    """
    if "cell" in runs:
        return runs
    runs = full_smallbench_only(comparable(typed(runs)))
    found = _eligible(by_cell(runs))
    return found if len(found) else runs.head(0).assign(cell=pd.Series(dtype=str))


def _eligible(cells: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The runs of these cells that count, with their `cell`."""
    found = [
        cell.assign(cell=name) for name, runs in cells.items() if len(cell := at_best_lr(runs))
    ]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def full_smallbench_only(runs: pd.DataFrame) -> pd.DataFrame:
    """SmallBench in full and its quick subset do not compare: where both are there, only what is in full counts."""
    if "full" in set(runs.get("smallbench_size", ())):
        return runs.assign(smallbench=runs.smallbench.where(runs.smallbench_size == "full"))
    return runs


def by_cell(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of each cell by its name; where two cells have one name, their shapes tell them apart."""
    if runs.empty:
        return {}
    cells = [cell for _, cell in runs.groupby(_keys(runs), dropna=False)]
    firsts = [cell[[*REQUEST_COLUMNS, *SHAPE_COLUMNS]].bfill().iloc[0] for cell in cells]
    names = [cell_name(first) for first in firsts]
    shapes = [
        f"{name} ({_shape_name(first)})" if names.count(name) > 1 else name
        for name, first in zip(names, firsts)
    ]
    return dict(zip(shapes, cells))


def _keys(runs: pd.DataFrame) -> list[pd.Series]:
    """A cell is its request and its shape; a run that never got a shape takes the one of its request."""
    asked = runs[REQUEST_COLUMNS].notna().any(axis=1)
    first = runs.groupby(REQUEST_COLUMNS, dropna=False)[SHAPE_COLUMNS].transform("first")
    shapeless = asked & runs.d_model.isna()
    shape = runs[SHAPE_COLUMNS].where(~shapeless, first)
    return [*(runs[name] for name in REQUEST_COLUMNS), *(shape[name] for name in SHAPE_COLUMNS)]


def _cell_row(name: str, runs: pd.DataFrame) -> dict:
    """The row of one cell from its runs."""
    used, own = at_best_lr(runs), on_evaluation_seeds(runs)
    on_claims, edge = _chosen_on_claims(runs), _at_edge(runs)
    runs = own if len(own) else runs.assign(status="missing")
    shown = (
        used if len(used) else runs
    )  # without a completed run, the curves still show how far the others came
    first, alike = runs.bfill().iloc[0], runs[rates(runs).isin(rates(used)) | used.empty]
    return {
        "cell": name,
        **first[[*REQUEST_COLUMNS, *SHAPE_COLUMNS, *REALISED, *TEXT_COLUMNS]],
        **used[MEANS].mean(),
        **used[SPEEDS].median(),
        **shown[RATES].max(),
        "n_seeds": used.seed.nunique(),
        "n_flagged": int((used.flagged_at_tokens > 0).sum()),
        "n_stopped": int((alike.status == "stopped_early").sum()),
        "n_diverged": int((alike.status == "diverged").sum()),
        "n_failed": int((own.status == "failed").sum()),
        "n_missing": int((own.status == "missing").sum()),
        "lr_selected_in_sample": on_claims,
        "lr_at_edge": edge,
        "tokens_trained": shown.tokens_trained.max(),
        "flagged_at_tokens": used.flagged_at_tokens.min(),
        "status": min(runs.status, key=_rank),
        "run_ids": list(shown.run_id.dropna()),
    }


def _rank(status: str) -> int:
    return STATUSES.index(status) if status in STATUSES else len(STATUSES)


def at_best_lr(runs: pd.DataFrame) -> pd.DataFrame:
    """A cell's completed runs on claim seeds, at the learning rate whose mean dev_loss over the tuning seeds is lowest; without
    tuning runs, over its own seeds. A rate at which a run diverged is chosen last. Of two runs of a seed (in another precision, say)
    the newer one: they are no two witnesses."""
    done = _at_best_lr(runs)
    again = (
        done.sort_values("created", kind="stable")
        .duplicated("seed", keep="last")
        .reindex(done.index)
    )
    return done[~again | done.seed.isna()]


def _at_best_lr(runs: pd.DataFrame) -> pd.DataFrame:
    own, done = on_evaluation_seeds(runs), finished(runs)
    if done.empty or len(set(rates(done))) == 1:
        return done
    tuning = runs.drop(own.index)
    best = next(
        rate
        for judged in (tuning, own)
        for rate in _from_the_best(judged)
        if rate in set(rates(done))
    )
    return done[rates(done) == best]


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The completed runs on claim seeds."""
    own = on_evaluation_seeds(runs)
    return own[(own.status == "completed") & own.dev_loss.notna()]


def _chosen_on_claims(runs: pd.DataFrame) -> bool:
    """Whether the completed runs of the cell have several rates, of which no tuning run judged one."""
    tried = set(rates(finished(runs)))
    tuned = _from_the_best(runs.drop(on_evaluation_seeds(runs).index))
    return len(tried) > 1 and not tried & set(tuned)


def _at_edge(runs: pd.DataFrame) -> bool:
    """Whether the best of the learning rates that were tried, on tuning seeds if several were there, is their lowest or highest."""
    own = on_evaluation_seeds(runs)
    tuning = runs.drop(own.index)
    losses = (
        mean_loss_by(tuning, tuning.lr) if tuning.lr.nunique() > 1 else mean_loss_by(own, own.lr)
    )
    return len(losses) > 1 and losses.index[0] in (losses.index.min(), losses.index.max())


def _from_the_best(runs: pd.DataFrame) -> pd.Index:
    return mean_loss_by(runs, rates(runs)).index


def mean_loss_by(runs: pd.DataFrame, tried: pd.Series) -> pd.Series:
    """Mean dev_loss by what was tried, from the lowest on, over the seeds that all of it has, if there are some. What diverged on any
    seed is infinite, other ends do not count."""
    losses = runs.dev_loss.mask(runs.status == "diverged", np.inf)[
        runs.status.isin(["completed", "diverged"])
    ].dropna()
    if losses.empty:
        return pd.Series(dtype=float)
    table = (
        losses.groupby([runs.seed[losses.index], tried[losses.index]], dropna=False)
        .mean()
        .unstack()
    )
    shared = table.dropna()
    return (
        (shared if len(shared) else table)
        .mean()
        .mask(np.isinf(table).any(), np.inf)
        .sort_values(kind="stable")
    )


def rates(runs: pd.DataFrame) -> pd.Series:
    """What was chosen per cell, as text that tells one choice from another."""
    return pd.Series(
        [f"{lr:g} {embed_lr:g}" for lr, embed_lr in zip(runs.lr, runs.embed_lr)],
        runs.index,
        dtype=object,
    )


def cell_name(cell: pd.Series) -> str:
    """`35 % × 2.66` (requested share and GLU), `35 %` (a share alone, where width and depth are given), or for an explicit
    shape `216 × 12 × 576` (d_model, n_layers, d_ff)."""
    if pd.notna(cell.requested_share):
        return f"{100 * cell.requested_share:g} %" + (
            f" × {cell.requested_glu:.4g}" if pd.notna(cell.requested_glu) else ""
        )
    return _shape_name(cell)


def _shape_name(cell: pd.Series) -> str:
    text = " × ".join(
        "?" if pd.isna(cell[name]) else f"{cell[name]:.0f}"
        for name in ("d_model", "n_layers", "d_ff")
    )
    return text + (f", d_embed {cell.d_embed:.0f}" if pd.notna(cell.get("d_embed")) else "")


def completed_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The cells with a dev_loss, from the lowest on."""
    return table[table.dev_loss.notna()].sort_values("dev_loss", ignore_index=True)


def baseline_cell(table: pd.DataFrame) -> pd.DataFrame:
    """The completed baseline cell, as a table of one row or none: BASELINE as requested, or its share alone where the GLU
    expansion was not requested (an arm that keeps d_model and n_layers)."""
    share, glu = (
        np.isclose(table[name].astype(float), value)
        for name, value in zip(REQUEST_COLUMNS, BASELINE)
    )
    return (
        completed_cells(table[share & (glu | table.requested_glu.isna())])
        .sort_values("requested_glu", kind="stable")
        .head(1)
    )
