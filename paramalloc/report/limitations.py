"""What the numbers of a report cannot say, as far as the runs themselves show it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..analysis import (
    cells_table,
    comparable,
    completed_cells,
    eligible_runs,
    fit,
    linked,
    screening,
    views,
)
from ..config import load_profile
from ..plots import short_count
from ..runs import Note
from .rates import tuned
from .text import corpus, differing

EQUAL = (
    "At equal FLOPs or time the cell that sets the common amount is at the end of its schedule, the others before it, where the "
    "learning rate has not decayed: that favours it."
)


def limits(runs: pd.DataFrame) -> Note:
    """What these numbers cannot say, as far as the runs themselves show it."""
    table = cells_table(runs)
    done = completed_cells(table)
    if done.empty:
        return corpus(runs)
    few, tied, lost = done.n_seeds.min() < 2, (done.embedding == "tied").any(), screening(table)
    used = runs[runs.run_id.isin(done.run_ids.explode())]
    lines = [
        "With a tied embedding the share is width and the GLU expansion is depth: neither moves alone."
        if tied
        else "",
        _scaled_down(done),
        f"{'Every cell rests' if done.n_seeds.max() == 1 else 'Some cells rest'} on one seed: a difference of a few hundredths of a nat may be seed "
        "noise."
        if few
        else "",
        _unlinked(runs),
        _edge(done),
        _heads(done),
        _totals(done),
        "One base learning rate and one multiple for the tables for all shapes: part of a difference may be their doing."
        if done.lr.nunique() == 1 and not tuned(runs)
        else "",
        f"Early stop killed runs of {', '.join(lost)}: their cells are screened, not compared."
        if lost
        else "",
        _marked(
            done,
            "n_diverged",
            "Runs of {} diverged: their means are of the seeds that did not, which flatters them.",
        ),
        _marked(
            done,
            "lr_selected_in_sample",
            "The learning rate of {} was chosen on the seeds that are averaged, not on tuning seeds: "
            "their losses are somewhat optimistic.",
        ),
        _marked(
            done,
            "lr_at_edge",
            "The best learning rate of {} lies at the edge of those that were tried: a better one may lie beyond.",
        ),
        EQUAL if len(views(runs)) else "",
        f"{short_count(done.tokens.iloc[0])} training tokens are {done.tokens.iloc[0] / done.total_params.median():.2g} a parameter: the ranking may change "
        "with a larger budget.",
        _speeds(runs, used) if done.tokens_per_s.notna().any() else "",
        f"A decoding time is one timing of one sequence after each run: where fewer layers take longer, that is its noise."
        f"{_unsteady(runs, 'decode_ms_per_token')}"
        if done.decode_ms_per_token.notna().any()
        else "",
        "The built-in corpus is the text of the installed packages: its losses never compare across environments."
        if (done.dataset == "builtin").any()
        else "Token perplexities compare only under this tokenizer; bits per byte under any.",
        "The text is tokenised: SmallBench is out of domain."
        if used.get("out_of_domain", pd.Series(dtype=bool)).eq(True).any()
        else "",
        _left_out(runs),
    ]
    return Note("\n".join(f"- {line}" for line in lines if line))


def _heads(done: pd.DataFrame) -> str:
    """Heads are whole numbers, too: at a small width their number moves with the shape."""
    heads = done[["n_heads", "d_head"]].drop_duplicates()
    span = lambda values: (
        f"{values.min():.0f}"
        if values.nunique() == 1
        else f"{values.min():.0f} to {values.max():.0f}"
    )
    if len(heads) < 2:
        return ""
    by_share = done.groupby("requested_share").n_heads
    alone = [
        f"; {100 * share:g} % alone {span(own)}"
        for share, own in by_share
        if 0 < len(own) < len(done) and not own.isin(done.n_heads.drop(own.index)).any()
    ]
    return (
        f"The attention heads move with the shape ({span(heads.n_heads)} of dimension {span(heads.d_head)}{''.join(alone)}): part of a difference "
        "may be theirs."
    )


def _edge(done: pd.DataFrame) -> str:
    """Where the lowest cell has no neighbour on one side, a lower one may lie there."""
    best, names = done.iloc[0], {"requested_share": "share", "requested_glu": "expansion"}
    ends = [
        f"the {end} {what}"
        for name, what in names.items()
        if done[name].nunique() > 1
        for end, value in (("smallest", done[name].min()), ("largest", done[name].max()))
        if best[name] == value
    ]
    return (
        f"The lowest cell has {' and '.join(ends)} of these: a lower one may lie beyond."
        if ends
        else ""
    )


def _totals(done: pd.DataFrame) -> str:
    apart = done.total_params.max() / done.total_params.min() - 1
    return (
        f"The cells' totals lie {100 * apart:.1f} % apart: part of a difference is that of the budgets."
        if apart > 0.005
        else ""
    )


def _speeds(runs: pd.DataFrame, used: pd.DataFrame) -> str:
    """How far the speeds of training carry."""
    if len(used[["device", "precision"]].drop_duplicates()) > 1:
        return "Speeds come from different devices or precisions and do not compare."
    return (
        "Tokens per second hold for the machine that trained and what ran on it meanwhile, other cells included; another may rank the cells "
        f"otherwise.{_unsteady(runs, 'tokens_per_s')}"
    )


def _unsteady(runs: pd.DataFrame, cost: str) -> str:
    """How far the speeds of one cell's runs lie apart, where that is more than the 1 % that ties a front."""
    speeds = eligible_runs(runs).groupby("cell")[cost].agg(["min", "max", "count"])
    apart = (speeds["max"] / speeds["min"])[speeds["count"] > 1]
    if not (apart > 1.01).any():
        return ""
    return f" The runs of one cell lie up to {apart.max():.2f} times apart (the median cell's {apart.median():.2f}); fronts take their medians."


def _scaled_down(done: pd.DataFrame) -> str:
    """What is smaller than the study may not be quoted as its answer."""
    study = load_profile("study")[1]
    if (
        done.total_params.median() > 0.9 * study["total_params"]
        and done.tokens.iloc[0] > 0.9 * study["tokens"]
    ):
        return ""
    asked = f"the study's {short_count(study['total_params'])} and {short_count(study['tokens'])}"
    return (
        f"{short_count(done.total_params.median())} parameters and {short_count(done.tokens.iloc[0])} tokens are not {asked}, where the answer may be "
        "another. On a GPU: `make reference PROFILE=study`."
    )


def _unlinked(runs: pd.DataFrame) -> str:
    """The cells whose seeds no chain links to those of the best: nothing says which part of a difference is the seeds'."""
    model = fit(eligible_runs(runs))
    alone = [
        name
        for name, known in zip(model.cells, linked(model, int(np.argmin(model.mean))))
        if not known
    ]
    return (
        f"{', '.join(alone)}: no seed in common with the best cell, so they are not compared with it."
        if alone and model.df
        else ""
    )


def _marked(done: pd.DataFrame, column: str, words: str) -> str:
    """The sentence about the cells that this column marks; none where no cell is."""
    cells = list(done.cell[done[column] > 0])
    everything = len(cells) == len(done) > 1
    return words.format("every cell" if everything else ", ".join(cells)) if cells else ""


def _left_out(runs: pd.DataFrame) -> str:
    """What else the table of runs holds: it answers other questions."""
    main = comparable(runs)
    others = runs.drop(main.index)
    if others.empty:
        return ""
    apart = ", ".join(
        sorted({what for found in differing(others, main).values() for what in found})
    )
    return (
        f"{len(others)} other runs ({apart or 'of another recipe'}) do not compare with the grid's and are in none of its means and differences; arms, "
        "and the check of the learning rate, are made of them."
    )
