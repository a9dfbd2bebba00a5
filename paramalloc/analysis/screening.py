"""A screening: early stop killed runs, so the others say which cells are worth whole runs, no more.

What is left was selected by its loss. Its means are too low, and so is its scatter (a sample that
is cut off from above), so that a difference between two survivors looks larger and surer than it
is. Runs on fresh seeds, none of them killed, are free of that.
"""

from __future__ import annotations

import shlex
from itertools import count, islice

import pandas as pd

from ..config import profiles
from .cells import SURVIVED, cells_table, is_screening, screened_out
from .groups import comparable, on_evaluation_seeds
from .selection import comparable_cells
from .wording import join_words

NO_COMPARISON = "A screening compares no cells."
CLAIM_SEEDS = 3  # of the command that follows a screening, as many as the reference study has


def describe_screening(runs: pd.DataFrame) -> tuple[str, ...]:
    """That it is a screening, which cells are worth whole runs, which are not, and what to train.

    A sentence or two each; the first stands alone.
    """
    table = cells_table(runs)
    n_runs = (table.n_stopped + table.n_survived).sum()
    out, kept = screened_out(table), list(table.cell[table.status == SURVIVED])
    others = [cell for cell in table.cell if cell not in (*out, *kept)]
    sentences = [
        f"This is a screening and claims nothing: early stop ended {table.n_stopped.sum()} of"
        f" {n_runs} runs, so no cells are compared.",
        _count_cells(kept, table, "worth whole runs, as none of their runs was stopped"),
        _count_cells(out, table, "screened out"),
        _count_cells(others, table, "not complete yet"),
        "The runs that are left were selected by their loss, so their means and their scatter are"
        " too low."
        f" To compare cells, train them whole on fresh seeds: `{claim_command(runs)}`"
        " (SWEEP: the one that was screened).",
    ]
    return tuple(sentence for sentence in sentences if sentence)


def _count_cells(cells: list[str], table: pd.DataFrame, what: str) -> str:
    if not cells:
        return ""
    verb = "is" if len(cells) == 1 else "are"
    return f"{len(cells)} of {len(table)} cells {verb} {what}: {join_words(cells)}."


def claim_command(runs: pd.DataFrame) -> str:
    """The command that trains the surviving cells on seeds that no run of theirs has had.

    SWEEP stands for the sweep that was screened, which the runs do not name.
    """
    table = cells_table(runs)
    kept = table[table.status == SURVIVED]
    used = set(on_evaluation_seeds(comparable(runs)).seed)
    seeds = islice((seed for seed in count() if seed not in used), CLAIM_SEEDS)
    words = ["paramalloc", "sweep", "SWEEP", *_same_recipe(runs)]
    words += ["--cells", ",".join(map(_request, kept.requested_share, kept.requested_glu))]
    words += ["--seed", ",".join(map(str, seeds)), "--early-stop", "flag"]
    return shlex.join(words)


def _same_recipe(runs: pd.DataFrame) -> list[str]:
    """The profile and the dataset of the runs, as options of `paramalloc sweep`."""
    first = comparable(runs).reindex(columns=["profile", "dataset"]).bfill().iloc[0]
    words = ["--profile", first.profile] if first.profile in profiles() else []
    return [*words, "--dataset", first.dataset] if pd.notna(first.dataset) else words


def _request(share: float, glu: float) -> str:
    """A cell as `--cells` names it: `0.35x2.66`, or its share alone."""
    return f"{share:g}" if pd.isna(glu) else f"{share:g}x{glu:g}"


def describe_earlier_screening(runs: pd.DataFrame) -> str:
    """Which seeds screened, where the cells are compared on others; empty where none did."""
    table = cells_table(runs)
    if is_screening(runs) or not table.n_stopped.any():
        return ""
    rows = on_evaluation_seeds(pd.concat(comparable_cells(runs).values()))
    seeds = sorted(rows.seed[rows.screens].unique())
    text = (
        f"Seed {join_words(f'{seed:g}' for seed in seeds)} screened: early stop ended runs there."
        " No mean, difference or front includes them."
    )
    without = list(table.cell[table.dev_loss.isna()])
    if without:
        names = join_words(without)
        text += f" Nothing is claimed of cells without whole runs on other seeds: {names}."
    return text
