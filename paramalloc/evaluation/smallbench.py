"""SmallBench v1, the study's secondary metric: what a small model knows of English grammar.

Nothing is trained for it. The headline is BLiMP (Warstadt et al. 2020, arXiv 1912.00582): which of
two sentences that differ minimally is likelier? Accuracy, mean over the 12 phenomena, centred on
chance: 0 is guessing, 1 is perfect. LAMBADA, ARC-Easy and PIQA are diagnostics and never in it: at
these sizes they are near chance.
"""

import math
from collections import Counter

import numpy as np
import pandas as pd

from ..config import TrainConfig
from ..data import Corpus, Progress
from ..model import DecoderLM
from .controls import Untrained, score_controls, score_network, score_untrained
from .estimates import compare, summarise
from .scoring import as_arrays
from .sets import Set
from .trees import kept_trees

SMALLBENCH_VERSION = 1

# How many items of each group a size takes, the first ones; all where no number stands.
SUBSETS = {
    "full": {},
    "quick": {"blimp": 50, "lambada": 200, "arc_easy": 200, "piqa": 200},
}


def run_smallbench(
    model: DecoderLM,
    untrained: Untrained,
    corpus: Corpus,
    seq_len: int,
    sets: list[Set],
    size: str,
    progress: Progress,
) -> tuple[dict, dict[str, np.ndarray]]:
    """SmallBench of a model and of its controls.

    The controls are the untrained model and n-gram models of the training text. Returns a summary
    as in evaluation.json, and the outcomes of both networks by item, (items,) for each
    "model.set.column".
    """
    sets = take_subset(sets, size)
    outcomes = score_network("model", model, corpus, sets, seq_len, progress)
    outcomes |= score_untrained(untrained, corpus, sets, seq_len, progress)
    arrays = as_arrays(outcomes)
    progress("SmallBench, n-gram models of the training text", 0.0)
    outcomes |= score_controls(corpus, sets, seq_len)

    names = list(dict.fromkeys(name for name, _ in outcomes))
    results = {}
    for name in names:
        results[name] = {part.name: summarise(part, outcomes[name, part.name]) for part in sets}
    above = {}
    if ("model", "blimp") in outcomes:
        for name in names[1:]:
            above[name] = compare(outcomes["model", "blimp"], outcomes[name, "blimp"])
    summary = {
        "version": SMALLBENCH_VERSION,
        "size": size,
        "out_of_domain": corpus.meta["wikitext"],
        "sets": {part.name: {"items": len(part.items), "sha256": part.sha256} for part in sets},
        "results": results,
        "above": above,
    }
    return summary, arrays


def prepare_smallbench(
    corpus: Corpus, sets: list[Set], config: TrainConfig, progress: Progress
) -> None:
    """Make what SmallBench keeps beside a run's corpus, where it is not there: the sets as trees
    of its tokens, and the outcomes of the n-gram models."""
    sets = take_subset(sets, config.smallbench)
    for part in sets:
        progress(f"SmallBench, trees of {part.name}", 0.0)
        kept_trees(corpus, part, config.seq_len)
    progress("SmallBench, n-gram models of the training text", 0.0)
    score_controls(corpus, sets, config.seq_len)


def take_subset(sets: list[Set], size: str) -> list[Set]:
    """The sets, or for "quick" a fixed part: so many of each group, in the set's order."""
    return [_first_of_groups(part, SUBSETS[size].get(part.name, math.inf)) for part in sets]


def _first_of_groups(part: Set, limit: float) -> Set:
    if limit == math.inf:
        return part  # with what it knows of itself already
    counts: Counter = Counter()
    items = []
    for item in part.items:
        if counts[item.group] < limit:
            items.append(item)
        counts[item.group] += 1
    return Set(part.name, items)


# ------------------------------------------------------------------- reading


def tabulate(summary: dict) -> pd.DataFrame:
    """A summary for reading: one row per measure, one column for the model and for each control.

    Standard errors stand behind ±.
    """
    rows = {}
    for part in summary["sets"]:
        results = {name: result[part] for name, result in summary["results"].items()}
        if part == "blimp":
            rows |= _headline_rows(results, summary["above"])
        rows |= _accuracy_rows(part, results)
        if part != "blimp":
            rows[f"{part}, bits per byte"] = {
                name: _format(result["bpb"], form=".3f") for name, result in results.items()
            } | {"chance": ""}
    return pd.DataFrame(rows).T.fillna("").rename(columns={"model": "this model"})


def _headline_rows(results: dict, above: dict) -> dict[str, dict[str, str]]:
    scores = {
        name: _format(result["smallbench"], result["se"], ".3f") for name, result in results.items()
    }
    differences = {
        name: _format(difference["smallbench"], difference["se"], "+.3f")
        for name, difference in above.items()
    }
    return {
        "SmallBench": scores | {"chance": "0"},
        "difference of this model to the control": differences,
    }


def _accuracy_rows(part: str, results: dict) -> dict[str, dict[str, str]]:
    titles = {"accuracy": "accuracy", "accuracy_norm": "accuracy, per character"}
    if part == "lambada":  # its only choice has no other to be compared with
        del titles["accuracy_norm"]
    chance = _format(results["model"]["chance"])
    rows = {}
    for key, title in titles.items():
        rows[f"{part}, {title}"] = {
            name: _format(result[key], result[f"{key}_se"]) for name, result in results.items()
        } | {"chance": chance}
    return rows


def _format(value: float | None, error: float | None = None, form: str = ".1%") -> str:
    if value is None:
        return "—"
    if error is None:
        return f"{value:{form}}"
    return f"{value:{form}} ± {error:{form.removeprefix('+')}}"
