"""What the report says in words: from the runs' rows alone, each sentence only where they bear it out."""

from __future__ import annotations

import os
import platform
import shlex
from importlib import metadata

import numpy as np
import pandas as pd

from ..analyze import NOTHING, Note, cell_name, cells_table, claims, comparable, completed, noise, noise_floor, rate_check, screening, views, wrong_kills
from ..analyze.cells import STATUSES
from ..analyze.groups import SAME, with_defaults
from ..analyze.noise import fit, linked
from ..config import TUNING_SEED, load_profile
from ..plots import short
from ..runs import commit
from .tables import code

TITLE = "Where should a small language model keep its parameters?"
EQUAL = ("At equal FLOPs or time the cell that sets the common amount is at the end of its schedule, the others before it, where the "
         "learning rate has not decayed: that favours it.")
PACKAGES = ["paramalloc", "numpy", "pandas", "scipy", "tokenizers", "altair", "vl-convert-python"]


def scale(runs: pd.DataFrame) -> Note:
    """At which scale the answer holds: parameters, vocabulary, tokens, corpus, seeds, machine."""
    table = cells_table(runs)
    done, used = completed(table), comparable(runs)
    if done.empty:
        return Note("")
    first, used = done.iloc[0], used[used.status == "completed"]
    seeds = f"{done.n_seeds.min()}" if done.n_seeds.nunique() == 1 else f"{done.n_seeds.min()} to {done.n_seeds.max()}"
    words = [f"{len(done)} of {len(table)} cells complete", f"{seeds} {'seed' if done.n_seeds.max() == 1 else 'seeds'} a cell",
             f"about {short(done.total_params.median())} parameters", *(f"vocabulary {size:,.0f}" for size in used.vocab_size.mode()[:1]),
             f"{short(first.tokens)} training tokens of {code(first.dataset)}",
             *(f"on {code(name)}" for name in used.device.dropna().unique()[:1])]
    return Note("Measured at: " + " · ".join(words) + ".")


def corpus(runs: pd.DataFrame) -> Note:
    """Which text, and how far each dev loss lies below the unigram entropy (nats per token)."""
    table = cells_table(runs)
    done = completed(table)
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
    """The noise behind the intervals, how many seeds a difference needs, and what early stop would have cost."""
    if len(runs) == 0:
        return NOTHING
    found, floor, kills = noise(runs), noise_floor(runs), wrong_kills(runs)
    needed = lambda of: " and ".join(f"{of.seeds_needed(gap)} for a difference of {gap} nats" for gap in (0.02, 0.005))
    single = claims(runs).groupby("cell").seed.nunique().max() == 1
    lines = [("Each cell has one seed" if single else "No seed is repeated in two cells") + ", so there is no noise to compare a difference "
             "with: no interval, no claim. More seeds: `paramalloc sweep … --seed 0,1,2`."]
    if found:
        lines = [f"Run-to-run noise at equal seed: {found.sigma:.4f} nats per token (95 %: {found.sigma_low:.4f} to {found.sigma_high:.4f}), "
                 f"pooled over {found.n_cells} cells and {found.n_seeds} seeds; what the cells of a seed share: {found.sigma_seed:.4f}."]
        lines.append(f"One comparison of two cells named beforehand, on the same seeds, needs {needed(found)} (seeds, power 80 %).")
        lines.append("The intervals of means and differences " + ("hold for other dev documents as well." if found.documents else
                     "are those of this dev split: the runs did not record their losses by groups of documents."))
    if floor:
        lines.append(f"Noise floor of the baseline over {floor.n_seeds} seeds: {floor.sd:.4f} nats (95 %: {floor.low:.4f} to {floor.high:.4f}). "
                     f"Two cells on different seeds would need {needed(floor)} (seeds a cell, power 80 %).")
    lines += _rates_checked(runs)
    if kills and not kills["flagged"]:
        lines.append(f"Early stop would have killed none of the {kills['watched']} runs that it watched.")
    elif kills:
        lines.append(f"Early stop would have killed {kills['flagged']} of the {kills['watched']} runs that it watched, {kills['wrong']} of them wrongly: "
                     f"{100 * kills['rate']:.0f} % (95 %: {100 * kills['low']:.0f} % to {100 * kills['high']:.0f} %).")
    return Note("\n".join(f"- {line}" for line in lines))


def methods(runs: pd.DataFrame) -> Note:
    """How the numbers were made."""
    done = completed(cells_table(runs))
    if done.empty:
        return corpus(runs)
    rates = " and ".join(f"{words} {_values(done[name])}" for name, words in (("lr", "learning rate"), ("embed_lr", "its multiple for the tables")))
    used = lambda name: ", ".join(map(code, sorted(done[name].dropna().astype(str).unique())))
    lines = [
        f"Optimizer {used('optimizer')}, parametrization {used('parametrization')}, {rates}.{_chosen(runs)}",
        "Every cell sees the same tokens in the same order at equal seeds; differences are paired over seeds.",
        "Dev loss: every token of the dev split scored once, in nats. Bits per byte divide by the bytes of the text.",
        "A cell's mean and its differences: a model of cell and seed block, its variance pooled over the cells, t intervals of 95 %; where "
        "the losses by document groups are recorded, the choice of documents is part of them.",
        "Differences to the baseline are claimed at 5 % over all cells together (step-down, as Holm's, with the known correlation).",
        "The probability of a place on a front is its share of draws under the fitted noise of loss and of throughput; costs within 1 % tie.",
        "Behind every number stand rows of results.csv, one a run: a cell's are the completed ones with its "
        "`requested_share` and `requested_glu`, the seeds up from 1000 left out.",
    ]
    return Note("\n".join(f"- {line}" for line in lines))


def _chosen(runs: pd.DataFrame) -> str:
    """Among which learning rates each cell chose its own on tuning seeds, if all did."""
    tuning = _tuning(runs)
    if not _tuned(runs):
        return ""
    tried, seeds = (", ".join(f"{value:g}" for value in sorted(tuning[name].dropna().unique())) for name in ("lr", "seed"))
    return f" Each cell chose its learning rate among {tried} on seed {seeds}, which no mean holds ({len(tuning)} runs, in results.csv)."


def _tuned(runs: pd.DataFrame) -> bool:
    """Whether every cell's claim is at the best of the rates that it tried at the claim's budget."""
    done, check = completed(cells_table(runs)), rate_check(runs)
    check = check[check.tokens.isin(done.tokens)]
    return bool(set(done.cell) <= set(check.cell) and (check.gain == 0).all())


def _rates_checked(runs: pd.DataFrame) -> list[str]:
    """What other learning rates gained on tuning seeds, a sentence per budget: part of a difference may be the rate's doing."""
    if _tuned(runs):
        return []
    return [f"Was the learning rate fair? On tuning seeds, {short(tokens)} tokens a run, {len(check)} {'cells' if len(check) > 1 else 'cell'} tried "
            f"{_between(check.n_lrs)} rates: the best was lower than the claim's by {check.gain.max():.4f} nats at most "
            f"({check.cell[check.gain.idxmax()]}), by {check.gain.median():.4f} in the median."
            for tokens, check in rate_check(runs).groupby("tokens")]


def _between(counts: pd.Series) -> str:
    return f"{counts.min():.0f}" if counts.nunique() == 1 else f"{counts.min():.0f} to {counts.max():.0f}"


def _tuning(runs: pd.DataFrame) -> pd.DataFrame:
    runs = comparable(runs)
    return runs[(runs.seed >= TUNING_SEED) & runs.status.isin(["completed", "diverged"])]


def _values(numbers: pd.Series) -> str:
    """The one value of the cells, or from the lowest to the highest."""
    low, high = numbers.min(), numbers.max()
    return "not recorded" if pd.isna(low) else f"{low:g}" if low == high else f"{low:g} to {high:g}, by the cell"


def unfinished(runs: pd.DataFrame) -> Note:
    """Every run that has no final loss, with what is known of it: never drawn as zero, never averaged in."""
    open_runs, main = runs[runs.status != "completed"], comparable(runs)
    if open_runs.empty:
        return Note("Every run is complete.") if len(runs) else NOTHING
    others = _others(open_runs.drop(open_runs.index.intersection(main.index)), main)
    return Note("\n".join(_unfinished_line(run, others.get(at)) for at, run in open_runs.iterrows()))


def _others(runs: pd.DataFrame, main: pd.DataFrame) -> dict:
    """By index, in what a run outside of the main group differs from it: `embedding untied`."""
    names = ["dataset", "total_params", *SAME]
    own, theirs = (with_defaults(part.reindex(columns=names)) for part in (main[main.data_fingerprint.notna()], runs))
    first = own.iloc[0] if len(own) else pd.Series(index=names, dtype=object)
    known = lambda name, value: f"{name.replace('data_fingerprint', 'corpus')} {code(f'{value:g}' if isinstance(value, float) else value)}"
    apart = lambda name, value: not 0.9 < value / first[name] < 1.1 if name == "total_params" else value != first[name]
    both = lambda run: [name for name in names if pd.notna(run[name]) and pd.notna(first[name])]
    differs = lambda run: [known(name, run[name]) for name in both(run) if apart(name, run[name])]
    return {at: f"of another group: {', '.join(differs(run)) or 'its recipe'}" for at, run in theirs.iterrows()}


def _unfinished_line(run: pd.Series, group: str | None) -> str:
    known = [f"{name} {run[name]:g}" for name in ("lr", "seed") if pd.notna(run[name])]
    if pd.notna(run.tokens_trained):
        known.append(f"reached {run.tokens_trained:,.0f} tokens")
    known += [group] * bool(group)
    status = run.status.replace("_", " ") if run.status in STATUSES else code(run.status)
    return f"- {cell_name(run)}: **{status}**" + (f" ({', '.join(known)})" if known else "")


def limits(runs: pd.DataFrame) -> Note:
    """What these numbers cannot say, as far as the runs themselves show it."""
    table = cells_table(runs)
    done = completed(table)
    if done.empty:
        return corpus(runs)
    few, tied, lost = done.n_seeds.min() < 2, (done.embedding == "tied").any(), screening(table)
    used = runs[runs.run_id.isin(done.run_ids.explode())]
    lines = [
        "With a tied embedding the share is width and the GLU expansion is depth: neither moves alone." if tied else "",
        _scaled_down(done),
        "Some cells rest on one seed: a difference of a few hundredths of a nat may be seed noise." if few else "",
        _unlinked(runs),
        "One learning rate for all shapes: part of a difference may be its doing." if done.lr.nunique() == 1 and not _tuned(runs) else "",
        f"Early stop killed runs of {', '.join(lost)}: their cells are screened, not compared." if lost else "",
        _marked(done, "n_diverged", "Runs of {} diverged: their means are of the seeds that did not, which flatters them."),
        _marked(done, "lr_chosen_on_claims", "The learning rate of {} was chosen on the seeds that are averaged, not on tuning seeds: "
                "their losses are somewhat optimistic."),
        _marked(done, "lr_at_edge", "The best learning rate of {} lies at the edge of those that were tried: a better one may lie beyond."),
        EQUAL if len(views(runs)) else "",
        f"{done.tokens.iloc[0]:,.0f} training tokens: the ranking may change with a larger budget.",
        "Speeds come from different devices or precisions and do not compare." if _machines(used) > 1 else
        "Tokens per second hold for the machine that trained; another one may rank the cells otherwise.",
        "The built-in corpus is the text of the installed packages: its losses never compare across environments."
        if (done.dataset == "builtin").any() else
        "Token perplexities compare only under this tokenizer; bits per byte under any.",
        "The text is tokenised: SmallBench is out of domain." if used.get("out_of_domain", pd.Series(dtype=bool)).eq(True).any() else "",
        _left_out(runs),
    ]  # fmt: skip
    return Note("\n".join(f"- {line}" for line in lines if line))


def _scaled_down(done: pd.DataFrame) -> str:
    """What is smaller than the study may not be quoted as its answer."""
    study = load_profile("study")[1]
    if done.total_params.median() > 0.9 * study["total_params"] and done.tokens.iloc[0] > 0.9 * study["tokens"]:
        return ""
    asked = f"the question's {short(study['total_params'])} and {short(study['tokens'])}"
    return (f"{short(done.total_params.median())} parameters and {short(done.tokens.iloc[0])} tokens are not {asked}, where the answer may be "
            "another. On a GPU: `make reference PROFILE=study`.")


def _unlinked(runs: pd.DataFrame) -> str:
    """The cells whose seeds no chain links to those of the best: nothing says which part of a difference is the seeds'."""
    model = fit(claims(runs))
    alone = [name for name, known in zip(model.cells, linked(model, int(np.argmin(model.mean)))) if not known]
    return f"{', '.join(alone)}: no seed in common with the best cell, so they are not compared with it." if alone and model.df else ""


def _marked(done: pd.DataFrame, column: str, words: str) -> str:
    """The sentence about the cells that this column marks; none where no cell is."""
    cells = list(done.cell[done[column] > 0])
    everything = len(cells) == len(done) > 1
    return words.format("every cell" if everything else ", ".join(cells)) if cells else ""


def _machines(runs: pd.DataFrame) -> int:
    return len(runs[["device", "precision"]].drop_duplicates())


def _left_out(runs: pd.DataFrame) -> str:
    others = runs.drop(comparable(runs).index)
    if others.empty:
        return ""
    names = ", ".join(code(name) for name in sorted(others.dataset.dropna().astype(str).unique()))
    return f"{len(others)} runs of another corpus, size, budget, kind of embedding or recipe ({names}) do not compare and are left out."


def command(config) -> str:
    """The command that writes this report again, from the parameters of the analysis notebook."""
    given = {"name": config.name, "profile": config.profile, "dataset": config.dataset, "outputs": config.outputs}
    options = [word for name, value in given.items() if value for word in (f"--{name}", value)]
    return shlex.join(["paramalloc", "report", *([config.runs] if config.runs else []), *options])


def provenance(runs: pd.DataFrame, command: str) -> Note:
    """What trained the runs, then where and with what this report was made."""
    used = comparable(runs)
    devices = ", ".join(sorted({f"{d} ({p})" for d, p in zip(used.device, used.precision) if pd.notna(d)})) or "none"
    dates = sorted(used.created.dropna().astype(str))
    lines = {
        "the runs were made": f"{code(dates[0])} to {code(dates[-1])}" if dates else "none",
        "by commit": _recorded(used, "commit"),
        "with torch": _recorded(used, "torch"),
        "on": code(devices),
        "from the data": ", ".join(f"{code(name)} ({code(mark)})" for name, mark in _corpora(used)) or "none",
        "this report was made by": code(command),
        "at commit": code(commit() or 'unknown'),
        "with": ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name))),
        "under Python": f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
    }
    return Note("\n".join(f"- {name}: {value}" for name, value in lines.items()))


def _recorded(runs: pd.DataFrame, name: str) -> str:
    """All values that the started runs recorded; some may have been trained before it was."""
    values = runs.get(name, pd.Series(index=runs.index, dtype=object))[runs.created.notna()]
    return ", ".join([*map(code, sorted(values.dropna().astype(str).unique())), *["not recorded"] * bool(values.isna().any())]) or "none"


def _corpora(runs: pd.DataFrame) -> list[tuple]:
    """Names and fingerprints (sha256 over what was tokenised, and how) of the corpora."""
    known = runs[["dataset", "data_fingerprint"]].dropna().drop_duplicates().sort_values(["dataset", "data_fingerprint"])
    return list(known.itertuples(index=False, name=None))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
