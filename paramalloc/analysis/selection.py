"""Which runs count: completed, on evaluation seeds, at the best learning rate of their cell."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import lru_cache, wraps

import numpy as np
import pandas as pd

from ..runs import Note
from .groups import (
    REQUEST_COLUMNS,
    SHAPE_COLUMNS,
    comparable,
    on_evaluation_seeds,
    tuning_runs,
    with_all_columns,
)

CLOSE = 0.02  # nats per token: 2 % of perplexity, a distance that a change of seed alone can make
NO_RUNS = (
    "no runs yet: run `make` (the quick grid of 12 cells) or "
    "`papermill notebooks/train.ipynb outputs/notebooks/one.ipynb` (one cell), "
    "then this notebook again."
)
NOTHING = Note("no runs yet")


def cached(table: Callable) -> Callable:
    """Keep the results of `table` for the last few frames, by their content.

    A report asks for each some forty times.
    """

    @lru_cache(maxsize=8)
    def from_content(content: bytes) -> pd.DataFrame:
        return table(pickle.loads(content))

    @wraps(table)
    def lookup(runs: pd.DataFrame) -> pd.DataFrame:
        return from_content(pickle.dumps(runs)).copy()

    return lookup


def eligible_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that every mean and difference rests on, with the name of their `cell`.

    Of one comparable group, completed, on evaluation seeds, at their cell's learning rate. Runs on
    tuning seeds (config.TUNING_SEED and up) chose that rate, and runs on seeds on which early stop
    killed others chose cells (`screening_seeds`): neither is here. Eligible runs come back as they
    are.
    """
    return runs if "cell" in runs else _find_eligible(runs)


@cached
def _find_eligible(runs: pd.DataFrame) -> pd.DataFrame:
    eligible = eligible_of(comparable_cells(runs))
    if eligible.empty:
        return with_all_columns(runs).head(0).assign(cell=pd.Series(dtype=str))
    return eligible


def comparable_cells(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of the first comparable group by cell, with all columns.

    One more, `screens`, marks the runs on `screening_seeds`.
    """
    cells = split_by_cell(full_smallbench_only(comparable(with_all_columns(runs))))
    seeds = screening_seeds(cells)
    return {name: cell.assign(screens=cell.seed.isin(seeds)) for name, cell in cells.items()}


def eligible_of(cells: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The eligible runs of `comparable_cells`, with their `cell`."""
    parts = [at_best_lr(runs[~runs.screens]).assign(cell=name) for name, runs in cells.items()]
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def screening_seeds(cells: dict[str, pd.DataFrame]) -> set[float]:
    """The evaluation seeds whose runs chose cells and claim nothing; empty where none was killed.

    Where early stop kills runs, the others of their seeds are a sample that was cut off: their
    means and their scatter are too low. So a seed with a killed run screens, and one that was
    trained under `kill` beside it. Cells that are whole on other seeds are compared on these alone;
    where fewer than two are, all seeds screen.
    """
    if not any(len(stopped_runs(runs)) for runs in cells.values()):
        return set()
    runs = on_evaluation_seeds(pd.concat(cells.values()))
    could_be_killed = (runs.status == "stopped_early") | (runs.early_stop == "kill")
    seeds = set(runs.seed[could_be_killed])
    whole = [completed_runs(cell[~cell.seed.isin(seeds)]) for cell in cells.values()]
    return seeds if sum(map(bool, map(len, whole))) > 1 else set(runs.seed)


def full_smallbench_only(runs: pd.DataFrame) -> pd.DataFrame:
    """Without the quick subset of SmallBench where some runs have all of it, as they differ."""
    if "full" not in set(runs.get("smallbench_size", ())):
        return runs
    return runs.assign(smallbench=runs.smallbench.where(runs.smallbench_size == "full"))


# ------------------------------------------------------------------ cells and their names


def split_by_cell(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of each cell by its name, which has the shape in it where two cells share one."""
    if runs.empty:
        return {}
    cells = [cell for _, cell in runs.groupby(_cell_keys(runs), dropna=False)]
    first_rows = [cell[[*REQUEST_COLUMNS, *SHAPE_COLUMNS]].bfill().iloc[0] for cell in cells]
    short_names = [cell_name(row) for row in first_rows]
    names = []
    for name, row in zip(short_names, first_rows, strict=True):
        unique = short_names.count(name) == 1
        names.append(name if unique else f"{name} ({_shape_name(row)})")
    return dict(zip(names, cells, strict=True))


def _cell_keys(runs: pd.DataFrame) -> list[pd.Series]:
    """Request and shape; a run that never got a shape takes the one of its request."""
    requested = runs[REQUEST_COLUMNS].notna().any(axis=1)
    first = runs.groupby(REQUEST_COLUMNS, dropna=False)[SHAPE_COLUMNS].transform("first")
    shapeless = requested & runs.d_model.isna()
    shape = runs[SHAPE_COLUMNS].where(~shapeless, first)
    return [*(runs[name] for name in REQUEST_COLUMNS), *(shape[name] for name in SHAPE_COLUMNS)]


def cell_name(cell: pd.Series) -> str:
    """How a cell is called, from its request or its shape.

    `35 % × 2.66` (requested share and GLU), `35 %` (a share alone, where width and depth are
    given), or for an explicit shape `216 × 12 × 576` (d_model, n_layers, d_ff).
    """
    if pd.isna(cell.requested_share):
        return _shape_name(cell)
    share = f"{100 * cell.requested_share:g} %"
    if pd.isna(cell.requested_glu):
        return share
    return f"{share} × {cell.requested_glu:.4g}"


def _shape_name(cell: pd.Series) -> str:
    sizes = [cell[name] for name in ("d_model", "n_layers", "d_ff")]
    text = " × ".join("?" if pd.isna(size) else f"{size:.0f}" for size in sizes)
    d_embed = cell.get("d_embed")
    return text if pd.isna(d_embed) else f"{text}, d_embed {d_embed:.0f}"


# ------------------------------------------------------------------ learning rates


def at_best_lr(runs: pd.DataFrame) -> pd.DataFrame:
    """A cell's completed runs on evaluation seeds, at its best learning rate.

    The rate whose mean dev_loss over the tuning seeds is lowest; without tuning runs, over the
    evaluation seeds themselves. A rate at which a run diverged is chosen last. Of two runs of a
    seed (in another precision, say) the newer one: they are not independent.
    """
    done = _at_best_lr(runs)
    by_date = done.sort_values("created", kind="stable")
    repeated = by_date.duplicated("seed", keep="last").reindex(done.index)
    return done[~repeated | done.seed.isna()]


def _at_best_lr(runs: pd.DataFrame) -> pd.DataFrame:
    done = completed_runs(runs)
    tried = set(rate_labels(done))
    if done.empty or len(tried) == 1:
        return done
    judges = (tuning_runs(runs), on_evaluation_seeds(runs))
    ranked = [rate for judge in judges for rate in _best_rates_first(judge)]
    best = next(rate for rate in ranked if rate in tried)
    return done[rate_labels(done) == best]


def completed_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The completed runs on evaluation seeds."""
    runs = on_evaluation_seeds(runs)
    return runs[(runs.status == "completed") & runs.dev_loss.notna()]


def at_compared_lr(runs: pd.DataFrame) -> pd.DataFrame:
    """A cell's runs on evaluation seeds at its best learning rate, however they ended.

    At all rates where none is completed.
    """
    rates = rate_labels(at_best_lr(runs))
    evaluated = on_evaluation_seeds(runs)
    return evaluated[rate_labels(evaluated).isin(rates) | rates.empty]


def stopped_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """A cell's runs that early stop killed, of those `at_compared_lr`."""
    compared = at_compared_lr(runs)
    return compared[compared.status == "stopped_early"]


def is_selected_in_sample(runs: pd.DataFrame) -> bool:
    """Whether the completed runs of the cell have several rates and no tuning run judged one."""
    tried = set(rate_labels(completed_runs(runs)))
    tuned = _best_rates_first(tuning_runs(runs))
    return len(tried) > 1 and not tried & set(tuned)


def is_at_edge(runs: pd.DataFrame) -> bool:
    """Whether the best of the learning rates that were tried is their lowest or highest.

    On tuning seeds, if several were tried there.
    """
    judge = tuning_runs(runs)
    if judge.lr.nunique() <= 1:
        judge = on_evaluation_seeds(runs)
    losses = mean_loss_by(judge, judge.lr)
    return len(losses) > 1 and losses.index[0] in (losses.index.min(), losses.index.max())


def _best_rates_first(runs: pd.DataFrame) -> pd.Index:
    return mean_loss_by(runs, rate_labels(runs)).index


def mean_loss_by(runs: pd.DataFrame, treatment: pd.Series) -> pd.Series:
    """Mean dev_loss by treatment, from the lowest on, over the seeds that all treatments have.

    Over all seeds where none is common. A treatment that diverged on any seed is infinite; runs
    that ended in another way do not count.
    """
    ended = runs.status.isin(["completed", "diverged"])
    losses = runs.dev_loss.mask(runs.status == "diverged", np.inf)[ended].dropna()
    if losses.empty:
        return pd.Series(dtype=float)
    keys = [runs.seed[losses.index], treatment[losses.index]]
    table = losses.groupby(keys, dropna=False).mean().unstack()
    shared = table.dropna()
    means = (shared if len(shared) else table).mean()
    diverged = np.isinf(table).any()
    return means.mask(diverged, np.inf).sort_values(kind="stable")


def rate_labels(runs: pd.DataFrame) -> pd.Series:
    """The learning rates that are chosen per cell (lr and embed_lr), as text to group by."""
    labels = [f"{lr:g} {embed_lr:g}" for lr, embed_lr in zip(runs.lr, runs.embed_lr, strict=True)]
    return pd.Series(labels, runs.index, dtype=object)
