"""How the numbers were made: model, optimizer, data, and the statistics."""

from __future__ import annotations

import pandas as pd

from ..analysis import eligible_runs, fit_surface, is_screening, trained_cells, wrong_kills
from ..config import TUNING_SEED
from ..runs import Note
from .markup import bullets, code, plural, span
from .open_runs import no_cells
from .rates import describe_choice

RECIPE_COLUMNS = ["batch_tokens", "seq_len", "warmup", "weight_decay", "grad_clip"]
SAME_DATA = (
    "At equal seeds, every cell sees the same tokens in the same order. Differences are paired"
    " by seed."
)
DEV_LOSS = (
    "Dev loss scores every token of the dev split once, in nats. Bits per byte divide by the"
    " bytes of the text. Learning curves and early stop show the probe: a fixed sample of the"
    " dev split, with a loss of its own."
)
INTERVALS = (
    "Means and differences come from a model of cell plus seed. Its variance is pooled over the"
    " cells, and intervals are t intervals of 95 %. Those of differences include the choice of"
    " documents, where losses by document group are recorded; those of means are over seeds."
)
COMPARISONS = (
    "A difference to the baseline is distinguishable at the 5 % level, adjusted for all cells"
    " (Holm's step-down, with the known correlation). A cell may be the best unless another is"
    " distinguishably lower, all pairs adjusted together (Tukey)."
)
KILL = (
    "In `kill` mode, early stop ends a run whose dev perplexity has stayed above that of the"
    " baseline with its seed, at equal tokens. A cell is screened out once one of its runs was."
)
SURFACE = (
    "The surface is a quadratic in the logarithms of share and expansion, with a term for each"
    " seed. Box and Hunter's region says where its minimum may lie."
)
FRONTS = (
    "The probability of a place on a front is its share of draws under the fitted noise of loss"
    " and speed. Costs within 1 % tie."
)


def methods(runs: pd.DataFrame) -> Note:
    """How the numbers were made."""
    done = trained_cells(runs)
    if done.empty:
        return no_cells(runs)
    if is_screening(runs):
        lines = [_model(done), _optimizer(done), DEV_LOSS, KILL]
        return Note(bullets(lines))
    lines = [
        _model(done),
        _optimizer(done) + describe_choice(runs),
        _schedule(runs),
        SAME_DATA,
        DEV_LOSS,
        _shared_seeds(runs),
        INTERVALS,
        early_stopping(runs),
        _smallbench(runs),
        COMPARISONS,
        SURFACE if fit_surface(runs) else "",
        FRONTS,
        _source_rows(done),
    ]
    return Note(bullets(lines))


def _model(done: pd.DataFrame) -> str:
    return (
        "The model is a decoder as Llama's: RMSNorm before each block, rotary positions, no"
        f" biases. MLP {_values(done, 'mlp')}, embedding {_values(done, 'embedding')}."
    )


def _values(done: pd.DataFrame, column: str) -> str:
    """All values of a column, as code."""
    return ", ".join(map(code, sorted(done[column].dropna().astype(str).unique())))


def _optimizer(done: pd.DataFrame) -> str:
    """The base learning rate owes its name to the default parametrization, which rescales it."""
    rescaled = ""
    if set(done.parametrization.dropna()) == {"completep"}:
        rescaled = " (muP for width, CompleteP for depth: one base rate is rescaled to each shape)"
    return (
        f"Optimizer {_values(done, 'optimizer')}, parametrization"
        f" {_values(done, 'parametrization')}{rescaled}, base learning rate {_rates(done.lr)} and"
        f" its multiple for the embedding tables {_rates(done.embed_lr)}."
    )


def _rates(values: pd.Series) -> str:
    if values.isna().all():
        return "not recorded"
    if values.nunique() == 1:
        return f"{values.min():g}"
    return f"{span(values, '{:g}')}, by the cell"


def _schedule(runs: pd.DataFrame) -> str:
    """What else all runs have in common; nothing where the runs did not record it."""
    first = eligible_runs(runs).iloc[0]
    if first[RECIPE_COLUMNS].isna().any():
        return ""
    return (
        f"A step takes {first.batch_tokens:,.0f} tokens in windows of {first.seq_len:,.0f}. The"
        f" rate rises over {100 * first.warmup:g} % of the steps and falls linearly to zero."
        f" Weight decay is {first.weight_decay:g}; gradients are clipped at a norm of"
        f" {first.grad_clip:g}."
    )


def _shared_seeds(runs: pd.DataFrame) -> str:
    """Why the mean of a cell with more seeds than the others is not the plain mean of them."""
    seeds = eligible_runs(runs).groupby("cell").seed.agg(set)
    shared = sorted(set.intersection(*seeds))
    if not shared or len(set.union(*seeds)) == len(shared):
        return ""
    names = ", ".join(f"{seed:g}" for seed in shared)
    return (
        f"Means are at the seeds that all cells share ({names}). A cell's further seeds inform"
        " the noise, and the effect of a seed on all cells."
    )


def early_stopping(runs: pd.DataFrame) -> str:
    """What early stop would have cost, as far as runs were watched; nothing where none was."""
    kills = wrong_kills(runs)
    if kills is None:
        return ""
    rule = (
        "In `flag` mode, early stop marks a run whose dev perplexity stays above the baseline's"
        " at equal tokens; the status says from where on. It would have ended"
    )
    watched = f" of the {kills['watched']} runs that it watched" if kills["watched"] else " runs"
    if not kills["flagged"]:
        return f"{rule} none{watched}."
    low, high = 100 * kills["low"], 100 * kills["high"]
    return (
        f"{rule} {kills['flagged']}{watched}. {kills['wrong']} of these ended no worse than the"
        f" baseline's run on their seed, so wrongly: {100 * kills['rate']:.0f} % (95 % CI"
        f" [{low:.0f} %, {high:.0f} %], as if runs were independent). {_wrong_cells(kills)}"
    )


def _wrong_cells(kills: dict) -> str:
    """One killed run screens a cell out, whose mean may be good: the price of a screening."""
    wrong = kills["wrong_cells"]
    names = f" ({', '.join(wrong)})" if wrong else ""
    return (
        f"In `kill` mode it would have screened out {plural(len(kills['cells']), 'cell')}, of which"
        f" {len(wrong)}{names} ended no worse than the baseline in the mean over seeds, so wrongly."
    )


def _smallbench(runs: pd.DataFrame) -> str:
    eligible = eligible_runs(runs)
    if eligible.smallbench.isna().all() or "smallbench_se" not in eligible:
        return ""
    error = eligible.smallbench_se.astype(float).median()
    if pd.isna(error):
        return ""
    return (
        "SmallBench is BLiMP's accuracy in preferring a grammatical sentence to an ungrammatical"
        " one, the mean over 12 phenomena: 0 is chance, 1 is perfect. Its standard error over"
        f" the sentences is {error:.4f} for one run; the variation over seeds adds to it."
    )


def _source_rows(done: pd.DataFrame) -> str:
    return (
        "Every number comes from rows of results.csv, one per run. A cell's are the completed"
        " ones with its `requested_share` and `requested_glu`,"
        f" `tokens` {done.tokens.iloc[0]:.0f} and the table's `lr`. Seeds from {TUNING_SEED} on"
        " are left out: they only choose a learning rate."
    )
