"""Runs without a final loss, and in what runs outside of the grid differ from it."""

from __future__ import annotations

import pandas as pd

from ..analysis import (
    GROUP_COLUMNS,
    NO_COMPARISON,
    NOTHING,
    STATUSES,
    cell_name,
    comparable,
    is_screening,
    with_defaults,
)
from ..runs import Note
from .markup import code

COMPARED = ["dataset", "total_params", *GROUP_COLUMNS]


def no_cells(runs: pd.DataFrame) -> Note:
    """Why there is nothing to say of the cells."""
    if runs.empty:
        return NOTHING
    return Note(NO_COMPARISON if is_screening(runs) else "No cell is complete yet.")


def unfinished(runs: pd.DataFrame) -> Note:
    """Every run that has no final loss, with what is known of it.

    It is never drawn as zero and never averaged in.
    """
    if runs.empty:
        return NOTHING
    open_runs = runs[runs.status != "completed"]
    if open_runs.empty:
        return Note("Every run is complete.")
    main = comparable(runs)
    outside = open_runs.drop(open_runs.index.intersection(main.index))
    differences = differences_from(main, outside)
    lines = [_open_run_line(run, differences.get(at)) for at, run in open_runs.iterrows()]
    return Note("\n".join(lines))


def _open_run_line(run: pd.Series, differences: list[str] | None) -> str:
    """`- 25 % × 4: **stopped early** (lr 0.002, seed 0, reached 180,000 tokens)`."""
    facts = [f"{name} {run[name]:g}" for name in ("lr", "seed") if pd.notna(run[name])]
    if pd.notna(run.tokens_trained):
        facts.append(f"reached {run.tokens_trained:,.0f} tokens")
    if differences is not None:
        facts.append(f"of another group: {', '.join(differences) or 'its recipe'}")
    status = run.status.replace("_", " ") if run.status in STATUSES else code(run.status)
    line = f"- {cell_name(run)}: **{status}**"
    return f"{line} ({', '.join(facts)})" if facts else line


def differences_from(main: pd.DataFrame, others: pd.DataFrame) -> dict[int, list[str]]:
    """By index of `others`, in what each differs from the main group: `embedding untied`."""
    prepared = main[main.data_fingerprint.notna()]
    if len(prepared):
        reference = with_defaults(prepared.reindex(columns=COMPARED)).iloc[0]
    else:
        reference = pd.Series(index=COMPARED, dtype=object)
    others = with_defaults(others.reindex(columns=COMPARED))
    differences = {}
    for at, run in others.iterrows():
        names = [name for name in COMPARED if _differs(name, run[name], reference[name])]
        differences[at] = [_name_value(name, run[name]) for name in names]
    return differences


def _differs(name: str, value, reference) -> bool:
    """Whether both values are known and differ; totals do from 10 % on."""
    if pd.isna(value) or pd.isna(reference):
        return False
    if name == "total_params":
        return not 0.9 < value / reference < 1.1
    return bool(value != reference)


def _name_value(name: str, value) -> str:
    number = f"{value:g}" if isinstance(value, float) else value
    return f"{name.replace('data_fingerprint', 'corpus')} {code(number)}"
