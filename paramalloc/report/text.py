"""What the report says in words: from the runs' rows alone, each sentence only where they bear it out."""

from __future__ import annotations

import os
import platform
import shlex
from importlib import metadata

import pandas as pd

from ..analysis import (
    GROUP_COLUMNS,
    NOTHING,
    STATUSES,
    cell_name,
    cells_table,
    comparable,
    completed_cells,
    eligible_runs,
    estimate_noise,
    fit_surface,
    means,
    noise_floor,
    with_defaults,
    wrong_kills,
)
from ..plots import short_count
from ..runs import Note, current_commit
from .rates import chosen, rates_checked
from .tables import code

TITLE = "Where should a small language model keep its parameters?"
PACKAGES = ["paramalloc", "numpy", "pandas", "scipy", "tokenizers", "altair", "vl-convert-python"]


def scale(runs: pd.DataFrame) -> Note:
    """At which scale the answer holds: parameters, vocabulary, tokens, corpus, seeds, machine."""
    table = cells_table(runs)
    done, used = completed_cells(table), comparable(runs)
    if done.empty:
        return Note("")
    first, used = done.iloc[0], used[used.status == "completed"]
    seeds = (
        f"{done.n_seeds.min()}"
        if done.n_seeds.nunique() == 1
        else f"{done.n_seeds.min()} to {done.n_seeds.max()}"
    )
    words = [
        f"{len(done)} of {len(table)} cells complete",
        f"{seeds} {'seed' if done.n_seeds.max() == 1 else 'seeds'} a cell",
        f"about {short_count(done.total_params.median())} parameters",
        *(f"vocabulary {size:,.0f}" for size in used.vocab_size.mode()[:1]),
        f"{short_count(first.tokens)} training tokens of {code(first.dataset)}",
        *(
            [f"on {', '.join(map(code, names))}"]
            if (names := sorted(used.device.dropna().unique()))
            else []
        ),
    ]
    return Note("Measured at: " + " · ".join(words) + ".")


def corpus(runs: pd.DataFrame) -> Note:
    """Which text, and how far each dev loss lies below the unigram entropy (nats per token)."""
    table = cells_table(runs)
    done = completed_cells(table)
    if done.empty:
        return NOTHING if table.empty else Note("No cell is complete yet.")
    first, gaps = done.iloc[0], done.unigram_loss - done.dev_loss
    name = f"Corpus {code(first.dataset)} (fingerprint {code(str(first.data_fingerprint)[:16])})"
    text = f"{name}, {first.tokens:,.0f} training tokens."
    if gaps.isna().all():
        return Note(text)
    return Note(
        f"{text} Token frequencies alone (the unigram entropy of the dev split) give {first.unigram_loss:.3f} nats "
        f"per token; the completed cells lie {gaps.min():.3f} to {gaps.max():.3f} nats below it."
    )


def certainty(runs: pd.DataFrame) -> Note:
    """The noise behind the intervals, how many seeds a difference needs, and whether the learning rate was fair."""
    if len(runs) == 0:
        return NOTHING
    found, floor = estimate_noise(runs), noise_floor(runs)
    needed = lambda of, what: " and ".join(
        f"{of.seeds_needed(gap)} {what} to find a difference of {gap} nats" for gap in (0.02, 0.005)
    )
    single = eligible_runs(runs).groupby("cell").seed.nunique().max() == 1
    lines = [
        ("Each cell has one seed" if single else "No two cells have two seeds in common")
        + ", so there is no noise to compare a "
        "difference with: no interval, no claim. More seeds: `paramalloc sweep … --seed 0,1,2`."
    ]
    if found:
        shared = (
            f"scatters by {found.sigma_seed:.4f}"
            if found.sigma_seed >= 5e-5
            else "is too little to be seen beside it"
        )
        lines = [
            f"Two runs that share their seed scatter by {found.sigma:.4f} nats per token (standard deviation; 95 %: {found.sigma_low:.4f} to "
            f"{found.sigma_high:.4f}), pooled over {found.n_cells} cells and {found.n_seeds} seeds; what all cells of a seed share {shared}."
        ]
        lines.append(
            f"One comparison of two cells named beforehand, on the same seeds, needs {needed(found, 'seeds')} (power 80 %)."
        )
        lines.append(
            "The intervals of means and differences "
            + (
                "hold for other dev documents as well. A mean's is wide, as other documents would be harder or easier for all cells alike; in "
                "differences most of that cancels, so cells are compared by these."
                if found.documents
                else "are those of this dev split: the runs did not record their losses by groups of documents."
            )
        )
    if floor:
        lines.append(
            f"Noise floor: runs of the baseline with {floor.n_seeds} different seeds scatter by {floor.sd:.4f} nats (standard deviation; 95 %: "
            f"{floor.low:.4f} to {floor.high:.4f}). Two cells on different seeds would need {needed(floor, 'seeds a cell')} (power 80 %)."
        )
    return Note(
        "\n".join(f"- {line}" for line in [*lines, *_on_test(runs), *rates_checked(runs, found)])
    )


def _on_test(runs: pd.DataFrame) -> list[str]:
    """Whether the split that chose nothing agrees on the lowest cell."""
    best, theirs = (
        completed_cells(cells_table(runs)).cell,
        means(runs, "test_loss").set_index("cell").test_loss,
    )
    if len(best) < 2 or theirs.reindex(best).isna().any():
        return []
    same = (
        f", as on dev ({theirs.min():.3f} nats per token)"
        if theirs.idxmin() == best[0]
        else (f" ({theirs.min():.3f} nats per token; {best[0]} {theirs[best[0]]:.3f})")
    )
    return [f"On the test split, which chose nothing, {theirs.idxmin()} is the lowest{same}."]


def early_stopping(runs: pd.DataFrame) -> str:
    """What early stop would have cost, as far as runs were watched; nothing where none was."""
    kills = wrong_kills(runs)
    if kills is None:
        return ""
    watched = f" of the {kills['watched']} runs that it watched" if kills["watched"] else " runs"
    rule = (
        "Early stop in `flag` mode marks a run whose dev perplexity stays above the baseline's at equal tokens (the status says from which count on). "
        "It would have ended"
    )
    if not kills["flagged"]:
        return f"{rule} none{watched}."
    return (
        f"{rule} {kills['flagged']}{watched}; wrongly, where the run ended no worse than the baseline, {kills['wrong']} of these: {100 * kills['rate']:.0f} % "
        f"(95 %: {100 * kills['low']:.0f} % to {100 * kills['high']:.0f} %, as if runs were independent)."
    )


def methods(runs: pd.DataFrame) -> Note:
    """How the numbers were made."""
    done = completed_cells(cells_table(runs))
    if done.empty:
        return corpus(runs)
    rates = " and ".join(
        f"{words} {_values(done[name])}"
        for name, words in (
            ("lr", "base learning rate"),
            ("embed_lr", "its multiple for the tables"),
        )
    )
    used = lambda name: ", ".join(map(code, sorted(done[name].dropna().astype(str).unique())))
    lines = [
        "A decoder as Llama's: norms before each block (RMSNorm), rotary positions, no biases; MLP "
        + used("mlp")
        + f", embedding {used('embedding')}.",
        f"Optimizer {used('optimizer')}, parametrization {used('parametrization')}{_rescaled(done)}, {rates}.{chosen(runs)}",
        _recipe(runs),
        "Every cell sees the same tokens in the same order at equal seeds; differences are paired over seeds.",
        "Dev loss: every token of the dev split scored once, in nats. Bits per byte divide by the bytes of the text. Curves, and early stop, "
        "show the probe: a fixed sample of the dev split, whose loss is another number.",
        _shared_seeds(runs),
        "A cell's mean and its differences: a model of cell and seed block, its variance pooled over the cells, t intervals of 95 %; where "
        "the losses by document groups are recorded, the choice of documents is part of them.",
        early_stopping(runs),
        _smallbench(runs),
        "Differences to the baseline are claimed at 5 % over all cells together (step-down, as Holm's, with the known correlation). A cell may be "
        "the best unless another is told from it as lower, all pairs compared at 5 % together (as Tukey's).",
        "The surface is a quadratic in the logarithms of share and expansion with a term for each seed; where its minimum may lie is Box and "
        "Hunter's region."
        if fit_surface(runs)
        else "",
        "The probability of a place on a front is its share of draws under the fitted noise of loss and of throughput; costs within 1 % tie.",
        "Behind every number stand rows of results.csv, one a run: a cell's are the completed ones with its `requested_share` and "
        f"`requested_glu`, `tokens` {done.tokens.iloc[0]:.0f} and the table's `lr`, the seeds up from 1000 left out (those tell of the learning rate alone).",
    ]
    return Note("\n".join(f"- {line}" for line in lines if line))


def _rescaled(done: pd.DataFrame) -> str:
    """What the default does, to which the base learning rate owes its name."""
    said = " (muP for the width, CompleteP for the depth: one base rate is rescaled to each shape)"
    return said if set(done.parametrization.dropna()) == {"completep"} else ""


def _shared_seeds(runs: pd.DataFrame) -> str:
    """Why a cell with more seeds than the others has not the plain mean of them."""
    seeds = eligible_runs(runs).groupby("cell").seed.agg(set)
    shared = ", ".join(f"{seed:g}" for seed in sorted(set.intersection(*seeds)))
    if len(set.union(*seeds)) == len(set.intersection(*seeds)) or not shared:
        return ""
    return f"Means are at the seeds that all cells share ({shared}); a cell's further seeds tell of the noise, and of what a seed does to all cells."


def _smallbench(runs: pd.DataFrame) -> str:
    claimed = eligible_runs(runs)
    error = claimed.get("smallbench_se", pd.Series(dtype=float)).astype(float).median()
    if claimed.smallbench.isna().all() or pd.isna(error):
        return ""
    return (
        f"SmallBench is BLiMP's accuracy in telling a grammatical sentence from one that is not, the mean over 12 phenomena, 0 where a coin "
        f"decides and 1 where all is right; its standard error over the sentences is {error:.4f} for one run, the scatter over seeds comes on top."
    )


def _recipe(runs: pd.DataFrame) -> str:
    """What else every run has in common; nothing where the runs did not record it."""
    first, names = (
        eligible_runs(runs).iloc[0],
        ["batch_tokens", "seq_len", "warmup", "weight_decay", "grad_clip"],
    )
    if first[names].isna().any():
        return ""
    return (
        f"A step takes {first.batch_tokens:,.0f} tokens in windows of {first.seq_len:,.0f}; the rate rises over {100 * first.warmup:g} % of the "
        f"steps and falls linearly to zero; weight decay {first.weight_decay:g}, gradients clipped at a norm of {first.grad_clip:g}."
    )


def _values(numbers: pd.Series) -> str:
    """The one value of the cells, or from the lowest to the highest."""
    low, high = numbers.min(), numbers.max()
    return (
        "not recorded"
        if pd.isna(low)
        else f"{low:g}"
        if low == high
        else f"{low:g} to {high:g}, by the cell"
    )


def unfinished(runs: pd.DataFrame) -> Note:
    """Every run that has no final loss, with what is known of it: never drawn as zero, never averaged in."""
    open_runs, main = runs[runs.status != "completed"], comparable(runs)
    if open_runs.empty:
        return Note("Every run is complete.") if len(runs) else NOTHING
    others = differing(open_runs.drop(open_runs.index.intersection(main.index)), main)
    return Note(
        "\n".join(_unfinished_line(run, others.get(at)) for at, run in open_runs.iterrows())
    )


def differing(runs: pd.DataFrame, main: pd.DataFrame) -> dict[int, list[str]]:
    """By index, in what a run outside of the main group differs from it: `embedding untied`."""
    names = ["dataset", "total_params", *GROUP_COLUMNS]
    own, theirs = (
        with_defaults(part.reindex(columns=names))
        for part in (main[main.data_fingerprint.notna()], runs)
    )
    first = own.iloc[0] if len(own) else pd.Series(index=names, dtype=object)
    known = lambda name, value: (
        f"{name.replace('data_fingerprint', 'corpus')} {code(f'{value:g}' if isinstance(value, float) else value)}"
    )
    apart = lambda name, value: (
        not 0.9 < value / first[name] < 1.1 if name == "total_params" else value != first[name]
    )
    both = lambda run: [name for name in names if pd.notna(run[name]) and pd.notna(first[name])]
    differs = lambda run: [known(name, run[name]) for name in both(run) if apart(name, run[name])]
    return {at: differs(run) for at, run in theirs.iterrows()}


def _unfinished_line(run: pd.Series, group: list[str] | None) -> str:
    known = [f"{name} {run[name]:g}" for name in ("lr", "seed") if pd.notna(run[name])]
    if pd.notna(run.tokens_trained):
        known.append(f"reached {run.tokens_trained:,.0f} tokens")
    known += [f"of another group: {', '.join(group) or 'its recipe'}"] if group is not None else []
    status = run.status.replace("_", " ") if run.status in STATUSES else code(run.status)
    return f"- {cell_name(run)}: **{status}**" + (f" ({', '.join(known)})" if known else "")


def command(config) -> str:
    """The command that writes this report again, from the parameters of the analysis notebook."""
    given = {
        "name": config.name,
        "profile": config.profile,
        "dataset": config.dataset,
        "outputs": config.outputs,
    }
    options = [word for name, value in given.items() if value for word in (f"--{name}", value)]
    return shlex.join(["paramalloc", "report", *([config.runs] if config.runs else []), *options])


def provenance(runs: pd.DataFrame, command: str) -> Note:
    """What trained the runs, then where and with what this report was made."""
    used = comparable(runs)
    others = runs.drop(used.index)
    lines = {
        **_made(used),
        **(
            {
                f"the {len(others)} other runs": "; ".join(
                    f"{name.removeprefix('the runs were ')} {value}"
                    for name, value in _made(others).items()
                )
            }
            if len(others)
            else {}
        ),
        "this report was made by": code(command),
        "at commit": code(current_commit() or "unknown"),
        "with": ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name))),
        "under Python": f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
    }
    return Note("\n".join(f"- {name}: {value}" for name, value in lines.items()))


def _made(runs: pd.DataFrame) -> dict[str, str]:
    """When, by which code, where and of what these runs were made."""
    devices = (
        ", ".join(
            sorted({f"{d} ({p})" for d, p in zip(runs.device, runs.precision) if pd.notna(d)})
        )
        or "none"
    )
    dates = sorted(runs.created.dropna().astype(str))
    return {
        "the runs were made": f"{code(dates[0])} to {code(dates[-1])}" if dates else "none",
        "by commit": _recorded(runs, "commit"),
        "with torch": _recorded(runs, "torch"),
        "on": code(devices),
        "from the data": ", ".join(f"{code(name)} ({code(mark)})" for name, mark in _corpora(runs))
        or "none",
    }


def _recorded(runs: pd.DataFrame, name: str) -> str:
    """All values that the started runs recorded; some may have been trained before it was."""
    values = runs.get(name, pd.Series(index=runs.index, dtype=object))[runs.created.notna()]
    return (
        ", ".join(
            [
                *map(code, sorted(values.dropna().astype(str).unique())),
                *["not recorded"] * bool(values.isna().any()),
            ]
        )
        or "none"
    )


def _corpora(runs: pd.DataFrame) -> list[tuple]:
    """Names and fingerprints (sha256 over what was tokenised, and how) of the corpora."""
    known = (
        runs[["dataset", "data_fingerprint"]]
        .dropna()
        .drop_duplicates()
        .sort_values(["dataset", "data_fingerprint"])
    )
    return list(known.itertuples(index=False, name=None))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
