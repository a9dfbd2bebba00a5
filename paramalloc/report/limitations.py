"""What the numbers of a report cannot say, as far as the runs themselves show it."""

from __future__ import annotations

import pandas as pd

from ..analysis import (
    SPEED_COLUMNS,
    comparable,
    eligible_runs,
    is_screening,
    is_timed_alone,
    lacks_speeds,
    trained_cells,
)
from ..config import load_profile
from ..plots import short_count
from ..runs import Note
from .confounds import comparison_limits
from .markup import bullets, code
from .open_runs import differences_from, no_cells

BUILTIN = (
    "The built-in corpus is the text of the installed packages: its losses never compare across"
    " environments."
)
TOKENIZER = "Token perplexities compare only under this tokenizer; bits per byte under any."
DECODING = (
    "A decoding time is one timing of one sequence after each run. Where fewer layers take"
    " longer, that is its noise."
)


NOT_ALONE = (
    "Fronts against speed are left out: the runs trained beside others. `paramalloc time SWEEP`"
    " measures the speeds of each shape alone."
)
SOME_ALONE = (
    "No speed of {} was measured so, on the same device, with as many threads and the same CUDA"
    " graphs: fronts against speed leave these cells out, and nothing compares at equal training"
    " time. There, `paramalloc time SWEEP` measures what lacks speeds, with `--again` all."
)
ALONE = (
    "Speeds of training and decoding are medians over rounds, one shape at a time with nothing else"
    " running, on {}. Another machine may rank the cells differently."
)


def limits(runs: pd.DataFrame) -> Note:
    """What these numbers cannot say, as far as the runs themselves show it."""
    done = trained_cells(runs)
    if done.empty:
        return no_cells(runs)
    lines = [*_about_the_scale(runs, done), _left_out(runs)]
    if not is_screening(runs):
        lines[:0] = comparison_limits(runs, done)
        lines[-1:-1] = _about_the_measurements(runs, done)
    return Note(bullets(lines))


# ---------------------------------------------------------------- the scale


def _about_the_scale(runs: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    return [_smaller_than_the_study(done), _tokens_per_parameter(done), _corpus(done)]


def _smaller_than_the_study(done: pd.DataFrame) -> str:
    """What is smaller than the study may not be quoted as its answer."""
    _, study = load_profile("study")
    params, tokens = done.total_params.median(), done.tokens.iloc[0]
    if params > 0.9 * study["total_params"] and tokens > 0.9 * study["tokens"]:
        return ""
    return (
        f"{short_count(params)} parameters and {short_count(tokens)} tokens are not the study's"
        f" {short_count(study['total_params'])} and {short_count(study['tokens'])}, where the"
        " answer may differ. On a GPU: `make reference PROFILE=study`."
    )


def _tokens_per_parameter(done: pd.DataFrame) -> str:
    tokens = done.tokens.iloc[0]
    ratio = tokens / done.total_params.median()
    return (
        f"{short_count(tokens)} training tokens are {ratio:.2g} a parameter: a larger budget may"
        " change the ranking."
    )


def _corpus(done: pd.DataFrame) -> str:
    return BUILTIN if (done.dataset == "builtin").any() else TOKENIZER


# ---------------------------------------------------------------- the measurements


def _about_the_measurements(runs: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    used = runs[runs.run_id.isin(done.run_ids.explode())]
    lines = _about_the_speeds(runs, used, done)
    if "out_of_domain" in used and used.out_of_domain.eq(True).any():
        lines.append("The text is tokenised, so SmallBench is out of domain.")
    return lines


def _about_the_speeds(runs: pd.DataFrame, used: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    if lacks_speeds(used):
        return [NOT_ALONE]
    if is_timed_alone(runs, "tokens_per_s"):
        return _about_speeds_alone(runs, done)
    lines = []
    if done.tokens_per_s.notna().any():
        lines.append(_training_speeds(runs, used))
    if done.decode_ms_per_token.notna().any():
        lines.append(DECODING + _repeatability(runs, "decode_ms_per_token"))
    return lines


def _about_speeds_alone(runs: pd.DataFrame, done: pd.DataFrame) -> list[str]:
    """Where they were measured, and which cells have none from there."""
    timed = eligible_runs(runs).dropna(subset=SPEED_COLUMNS)
    missing = done.cell[done[SPEED_COLUMNS].isna().any(axis=1)]
    lines = [ALONE.format(" and ".join(map(code, sorted(timed.inference_device.unique()))))]
    if len(missing):
        lines.append(SOME_ALONE.format(", ".join(sorted(missing))))
    return lines


def _training_speeds(runs: pd.DataFrame, used: pd.DataFrame) -> str:
    """How far the speeds of training carry."""
    if len(used[["device", "precision"]].drop_duplicates()) > 1:
        return "Speeds come from different devices or precisions and do not compare."
    return (
        "Tokens per second hold for the machine that trained and what else ran on it, other cells"
        " included. Another machine may rank the cells differently."
        + _repeatability(runs, "tokens_per_s")
    )


def _repeatability(runs: pd.DataFrame, cost: str) -> str:
    """How far the speeds of one cell's runs differ, where that is more than ties a front (1 %)."""
    speeds = eligible_runs(runs).groupby("cell")[cost].agg(["min", "max", "count"])
    factor = (speeds["max"] / speeds["min"])[speeds["count"] > 1]
    if not (factor > 1.01).any():
        return ""
    return (
        f" The runs of one cell differ by a factor of up to {factor.max():.2f} (median cell:"
        f" {factor.median():.2f}); fronts take their geometric means."
    )


def _left_out(runs: pd.DataFrame) -> str:
    """What else the table of runs holds: it answers other questions."""
    main = comparable(runs)
    others = runs.drop(main.index)
    if others.empty:
        return ""
    names = {name for names in differences_from(main, others).values() for name in names}
    names = ", ".join(sorted(names)) or "of another recipe"
    return (
        f"{len(others)} other runs ({names}) do not compare with the grid's. None of its means"
        " and differences include them; arms and the check of the learning rate use them."
    )
