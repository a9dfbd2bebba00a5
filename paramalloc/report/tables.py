"""The tables of the report, as text for reading; what is missing is a dash, never zero."""

from __future__ import annotations

import pandas as pd

from ..analysis import (
    COST_SENSE,
    NO_COMPARISON,
    NOTHING,
    SPEED_COLUMNS,
    SURVIVED,
    cells_table,
    completed_cells,
    eligible_runs,
    front_probability,
    front_table,
    is_screening,
    lacks_speeds,
    main_effects,
    means,
)
from ..plots import COST_AXES, format_rows, short_count
from ..runs import COLUMNS, Note
from .markup import Table
from .open_runs import no_cells

QUALITY_HEADINGS = {
    "dev_loss": "dev loss (bits per byte give the same front)",
    "smallbench": "SmallBench",
}
ONE_SEED_FRONTS = Note(
    "There is no such table: with one seed a cell, nobody knows how probable a place on a front is."
    " The pictures show what was measured."
)
ONE_BUDGET = 1.02  # totals within 2 % are rounded from one budget: no front against them
POSSIBLE = 0.1  # cells off the measured front are named from this probability on

# Headings, units included, and what stands in their columns.
RESULT_TEXTS = {
    "cell (requested)": "{cell}",
    "dev loss (nats/token)": "{dev_loss:.3f}",
    "95 % CI over seeds": "[{low:.3f}, {high:.3f}]",
    "below unigram (nats)": "{gap:.3f}",
    "dev ppl": "{dev_ppl:.1f}",
    "dev bpb (bits/byte)": "{dev_bpb:.3f}",
    "SmallBench": "{smallbench:.3f}",
    "tokens/s": "{tokens_per_s:,.0f}",
    "decode (ms/token)": "{decode_ms_per_token:.2f}",
    "seeds": "{seeds:.0f}",
}
SHAPE_TEXTS = {
    "cell (requested)": "{cell}",
    "d_model × layers": "{d_model:.0f} × {n_layers:.0f}",
    "realised share × GLU": "{percent:.1f} % × {glu:.2f}",
    "d_ff": "{d_ff:.0f}",
    "heads": "{n_heads:.0f} × {d_head:.0f}",
    "parameters": "{total_params:,.0f}",
    "learning rate": "{lr:g}",
    "status": "{state}",
}
SCREENING_TEXTS = {
    "cell (requested)": "{cell}",
    "early stop": "{outcome}",
    "whole runs": "{n_survived:.0f}",
    "stopped runs": "{n_stopped:.0f}",
}
EFFECT_TEXTS = {
    "difference": "{contrast}",
    "mean over": "{n_pairs} {over}",
    "dev loss (nats/token)": "{difference:+.4f}",
    "simultaneous 95 % CI": "[{low:+.4f}, {high:+.4f}]",
}
# Left out where nobody measured them.
OPTIONAL = ["95 % CI over seeds", "SmallBench", "decode (ms/token)"]


# ---------------------------------------------------------------- cells


def cell_results(runs: pd.DataFrame) -> Table | Note:
    """What each cell reached and what it cost."""
    cells = cells_table(runs)
    if cells.empty:
        return NOTHING
    if is_screening(runs):
        return _screening_results(cells)
    cells = cells.merge(means(runs)[["cell", "low", "high"]], "left", "cell")
    cells = cells.assign(
        gap=cells.unigram_loss - cells.dev_loss,
        seeds=cells.n_seeds.where(cells.n_seeds > 0),
    )
    frame = _format_columns(cells, RESULT_TEXTS)
    optional = [*OPTIONAL, "tokens/s"] if lacks_speeds(runs) else OPTIONAL
    unmeasured = [name for name in optional if set(frame[name]) == {"—"}]
    return Table(frame.drop(columns=unmeasured), "What the cells reached")


def _screening_results(cells: pd.DataFrame) -> Table:
    """Which cells a screening left; without losses, as they would be compared."""
    outcomes = {"stopped_early": "screened out", SURVIVED: "worth whole runs"}
    cells = cells.assign(outcome=cells.status.map(outcomes).fillna("not complete yet"))
    return Table(_format_columns(cells, SCREENING_TEXTS), "What the screening left")


def cell_shapes(runs: pd.DataFrame) -> Table | Note:
    """The model and the learning rate of each cell, and how its runs ended."""
    cells = cells_table(runs)
    if cells.empty:
        return NOTHING
    cells = cells.assign(
        percent=100 * cells.embed_share, state=[_status(cell) for cell in cells.itertuples()]
    )
    return Table(_format_columns(cells, SHAPE_TEXTS), "What the cells are, and how they ended")


def _format_columns(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({heading: format_rows(rows, form) for heading, form in columns.items()})


def _status(cell) -> str:
    """How the cell ended, how many of its runs ended otherwise, and what early stop flagged.

    `completed, 1 failed, 1 missing, 2 of 3 flagged from 120k tokens on`: in `flag` mode runs train
    on, and the last part counts the completed ones that early stop would have ended.
    """
    ends = {
        "stopped_early": cell.n_stopped,
        "diverged": cell.n_diverged,
        "failed": cell.n_failed,
        "missing": cell.n_missing,
    }
    if cell.status != "completed":
        ends[SURVIVED] = cell.n_survived
    parts = [cell.status]
    parts += [f"{count} {end}" for end, count in ends.items() if count and end != cell.status]
    if cell.n_flagged:
        of_runs = f"{cell.n_flagged} of {cell.n_seeds} " if cell.n_seeds > 1 else ""
        parts.append(f"{of_runs}flagged from {short_count(cell.flagged_at_tokens)} tokens on")
    return ", ".join(parts).replace("_", " ")


# ---------------------------------------------------------------- effects


def effects(runs: pd.DataFrame) -> Table | Note:
    """The main effects: each share averaged over expansions, each expansion over shares."""
    rows = main_effects(runs)
    if is_screening(runs):
        return Note(NO_COMPARISON)
    if rows.empty:
        return Note(
            "Main effects need two expansions, or two shares, at which the baseline's and another"
            " are complete."
        )
    contrasts = [
        f"{_name_level(axis, level)} − {_name_level(axis, baseline)}"
        for axis, level, baseline in zip(rows.axis, rows.level, rows.baseline, strict=True)
    ]
    rows = rows.assign(
        contrast=contrasts,
        over=rows.axis.map({"requested_share": "expansions", "requested_glu": "shares"}),
    )
    return Table(_format_columns(rows, EFFECT_TEXTS), "Main effects")


def _name_level(axis: str, level: float) -> str:
    return f"{100 * level:g} %" if axis == "requested_share" else f"× {level:.4g}"


# ---------------------------------------------------------------- fronts


def fronts(runs: pd.DataFrame) -> Table | Note:
    """The Pareto-efficient cells of each quality against each cost, from the best on.

    In brackets stands the probability of their place. A quality of one seed a cell has none, so it
    has no list.
    """
    table = cells_table(runs)
    if completed_cells(table).empty:
        return no_cells(runs)
    qualities = [quality for quality in QUALITY_HEADINGS if _is_repeated(runs, quality)]
    if not qualities:
        return ONE_SEED_FRONTS
    one_budget = table.total_params.max() <= ONE_BUDGET * table.total_params.min()
    costs = [cost for cost in COST_AXES if not (one_budget and cost == "total_params")]
    if lacks_speeds(runs):
        costs = [cost for cost in costs if cost not in SPEED_COLUMNS]
    columns = {
        "against": [f"{COLUMNS[cost].label} ({COST_SENSE[cost]} is better)" for cost in costs]
    }
    for quality in qualities:
        columns[QUALITY_HEADINGS[quality]] = [_front(runs, table, cost, quality) for cost in costs]
    return Table(pd.DataFrame(columns), "Pareto fronts")


def _is_repeated(runs: pd.DataFrame, quality: str) -> bool:
    """Whether some cell has the quality on two seeds."""
    measured = eligible_runs(runs).dropna(subset=quality)
    return bool(measured.groupby("cell").seed.nunique().max() > 1)


def _front(runs: pd.DataFrame, table: pd.DataFrame, cost: str, quality: str) -> str:
    """`45 % × 4 (93 %), 45 % × 2.66 (60 %); not ruled out: 35 % × 4 (12 %)`.

    Without repeated seeds no probability is known.
    """
    chances = front_probability(runs, cost, quality)
    front = list(front_table(table, cost, quality).cell)
    possible = chances[chances >= POSSIBLE].sort_values(ascending=False).index
    others = [cell for cell in possible if cell not in front]
    text = _name_cells(front, chances) or "not measured"
    if others:
        text += f"; not ruled out: {_name_cells(others, chances)}"
    return text


def _name_cells(cells: list[str], chances: pd.Series) -> str:
    names = []
    for cell in cells:
        chance = chances.get(cell)
        names.append(cell if pd.isna(chance) else f"{cell} ({100 * chance:.0f} %)")
    return ", ".join(names)
