"""SmallBench v1, the study's secondary metric: what a small model knows of English grammar, without any training on it.

The headline is BLiMP (Warstadt et al. 2020, arXiv 1912.00582): which of two sentences that differ minimally is likelier?
Accuracy, mean over the 12 phenomena, centred on chance: 0 is guessing, 1 is perfect. LAMBADA, ARC-Easy and PIQA are
diagnostics and never in it: at these sizes they are near chance.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from ..data import EOT, Corpus
from ..model import DecoderLM
from ..runs import hold
from .likelihood import log_likelihoods
from .ngram import KneserNey, Unigram
from .sets import Set

SIZES = {
    "full": {},
    "quick": {"blimp": 50, "lambada": 200, "arc_easy": 200, "piqa": 200},
}  # the first of each group
ORDER = 5
NGRAM_TOKENS = 25_000_000  # of the training text, at most: they take 4 GB while they are counted
COLUMNS = ("correct", "correct_norm", "bits", "bytes")

# texts, how many of the last tokens of each are scored, whether it matters if all these are the likeliest
# -> log-probabilities, and that (or None)
Score = Callable[[list[list[int]], list[int], bool], tuple[np.ndarray, np.ndarray | None]]


# -------------------------------------------------------------------- scoring


def subset(sets: list[Set], size: str) -> list[Set]:
    """The sets, or for "quick" a fixed part: so many of each group, in the set's order."""
    limits, found = SIZES[size], []
    for part in sets:
        rank = pd.Series([item.group for item in part.items]).pipe(
            lambda groups: groups.groupby(groups).cumcount()
        )
        found.append(
            Set(
                part.name,
                [item for item, n in zip(part.items, rank) if n < limits.get(part.name, math.inf)],
            )
        )
    return found


def encode(part: Set, tokenizer, seq_len: int) -> tuple[list[list[int]], list[int]]:
    """Every choice after its context and an end-of-text, and how many tokens of it are the choice. A context that is too
    long for a window of seq_len loses its beginning; a choice never does."""
    batch = lambda texts: [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    whole = batch([item.context + choice for item in part.items for choice in item.choices])
    before = [len(ids) for ids in batch([item.context for item in part.items])]
    lengths = [n for item, n in zip(part.items, before) for _ in item.choices]
    scored = [len(ids) - n for ids, n in zip(whole, lengths)]
    return [[EOT, *ids][-max(seq_len, n) - 1 :] for ids, n in zip(whole, scored)], scored


def outcomes(part: Set, tokenizer, seq_len: int, score: Score) -> pd.DataFrame:
    """One row per item: whether the right choice is the likeliest (of n that tie it is 1 / n), the same with
    log-probabilities per character, and the bits and UTF-8 bytes of the right choice.

    A single choice, LAMBADA's word, is right if each of its tokens is the likeliest.
    """
    log_p, likeliest = score(
        *encode(part, tokenizer, seq_len), any(len(item.choices) == 1 for item in part.items)
    )
    rows, start = [], 0
    for item in part.items:
        own = log_p[start : start + len(item.choices)]
        per_character = own / [max(1, len(choice.strip())) for choice in item.choices]
        if len(own) > 1:
            right = [won(values, item.gold) for values in (own, per_character)]
        else:
            right = [math.nan if likeliest is None else float(likeliest[start])] * 2
        rows.append(
            (
                item.group,
                *right,
                -own[item.gold] / math.log(2),
                len(item.choices[item.gold].encode()),
            )
        )
        start += len(own)
    return pd.DataFrame(rows, columns=["group", *COLUMNS])


def won(values: np.ndarray, gold: int) -> float:
    """1 if values[gold] is the highest, 1 / n if n are equally high, else 0."""
    highest = values == values.max()
    return highest[gold] / highest.sum()


def model_score(model: DecoderLM, progress=None) -> Score:
    return lambda texts, scored, greedy: log_likelihoods(model, texts, scored, greedy, progress)


def ngram_score(ngram: Unigram | KneserNey) -> Score:
    """The same from an n-gram model: all texts as one stream, each from its end-of-text on."""

    def score(texts, scored, greedy=False):
        stream = np.array(
            [token for text in texts for token in ([] if text[0] == EOT else [EOT]) + text]
        )
        lengths = np.array([len(text) + (text[0] != EOT) for text in texts])
        log_p = np.concatenate(([0.0], ngram.log_probabilities(stream)))
        ends = lengths.cumsum()
        sums = np.concatenate(([0.0], log_p.cumsum()))
        return sums[ends] - sums[ends - scored], None

    return score


# ----------------------------------------------------------------- statistics


def estimate(values: np.ndarray, groups: pd.Series) -> tuple[float, float]:
    """Mean over phenomena of the mean over their paradigms, from groups "phenomenon/paradigm", and its standard error over
    items, stratified by paradigm: sqrt(sum_k w_k^2 s_k^2 / n_k)."""
    cells = (
        pd.Series(np.asarray(values, dtype=float))
        .groupby(groups.to_numpy())
        .agg(["mean", "var", "count"])
    )
    phenomenon = cells.index.to_series().str.split("/").str[0]
    weight = 1 / (phenomenon.nunique() * phenomenon.map(phenomenon.value_counts()))
    return float((weight * cells["mean"]).sum()), float(
        np.sqrt((weight**2 * cells["var"] / cells["count"]).sum(skipna=False))
    )


def plain(values: pd.Series, groups: pd.Series) -> tuple[float | None, float | None]:
    """Mean over all items, and its standard error, stratified by group; None where it cannot be known."""
    parts = values.groupby(groups).agg(["var", "count"])
    return known(values.mean()), known(
        np.sqrt((parts["var"] * parts["count"]).sum(skipna=False)) / len(values)
    )


def known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def headline(correct: np.ndarray, groups: pd.Series) -> dict[str, float]:
    """BLiMP centred on chance, (accuracy - 0.5) / 0.5, and its standard error."""
    accuracy, error = estimate(correct, groups)
    return {"smallbench": 2 * accuracy - 1, "se": known(2 * error)}


def compare(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    """The difference of two models' headlines, one - other, and its standard error, paired by item. Both are of one set."""
    accuracy, error = estimate(
        one["correct"].to_numpy() - other["correct"].to_numpy(), one["group"]
    )
    return {"smallbench": 2 * accuracy, "se": known(2 * error)}


def summarise(part: Set, found: pd.DataFrame) -> dict:
    """Everything that is said of one set: accuracies with standard errors, bits per byte, chance."""
    spread = lambda column: dict(
        zip(
            (column.replace("correct", "accuracy") + end for end in ("", "_se")),
            plain(found[column], found["group"]),
        )
    )
    chances = [1 / len(item.choices) for item in part.items if len(item.choices) > 1]
    result = {
        "items": len(found),
        **spread("correct"),
        **spread("correct_norm"),
        "chance": float(np.mean(chances)) if chances else 0.0,
    }
    if part.name != "blimp":
        return result | {"bpb": float(found["bits"].sum() / found["bytes"].sum())}
    paradigms = found.groupby("group")[["correct", "correct_norm"]].mean()
    phenomena = paradigms.groupby(paradigms.index.str.split("/").str[0]).mean()
    return (
        headline(found["correct"], found["group"])
        | result
        | {
            "phenomena": {
                name: {"accuracy": row.correct, "accuracy_norm": row.correct_norm}
                for name, row in phenomena.iterrows()
            },
            "paradigms": {
                name.split("/")[1]: {"accuracy": row.correct, "accuracy_norm": row.correct_norm}
                for name, row in paradigms.iterrows()
            },
        }
    )


def overview(summary: dict) -> pd.DataFrame:
    """For reading: one row per measure, one column for the model and for each control, standard errors behind ±."""
    results, rows = summary["results"], {}
    cell = lambda value, error=None, form=".1%": (
        "—"
        if value is None
        else f"{value:{form}}" + ("" if error is None else f" ± {error:{form.removeprefix('+')}}")
    )
    for part in summary["sets"]:
        found = {name: result[part] for name, result in results.items()}
        chance = results["model"][part]["chance"]
        if part == "blimp":
            rows["SmallBench"] = {
                name: cell(values["smallbench"], values["se"], ".3f")
                for name, values in found.items()
            } | {"chance": "0"}
            rows["this model is above by"] = {
                name: cell(values["smallbench"], values["se"], "+.3f")
                for name, values in summary["above"].items()
            }
        for key, title in (("accuracy", "accuracy"), ("accuracy_norm", "accuracy, per character")):
            if (part, key) != ("lambada", "accuracy_norm"):
                rows[f"{part}, {title}"] = {
                    name: cell(values[key], values[key + "_se"]) for name, values in found.items()
                } | {"chance": cell(chance)}
        if part != "blimp":
            rows[f"{part}, bits per byte"] = {
                name: cell(values["bpb"], form=".3f") for name, values in found.items()
            } | {"chance": ""}
    return pd.DataFrame(rows).T.fillna("").rename(columns={"model": "this model"})


# ------------------------------------------------------------------- all of it


def run_smallbench(
    model: DecoderLM,
    untrained: DecoderLM,
    corpus: Corpus,
    seq_len: int,
    sets: list[Set],
    size: str,
    progress=None,
):
    """SmallBench of a model beside its controls: (a JSON-like summary, outcomes by item as arrays)."""
    sets, tokenizer, report = (
        subset(sets, size),
        corpus.tokenizer,
        progress or (lambda stage, fraction: None),
    )
    found = {}
    for name, network in (("model", model), ("untrained", untrained)):
        for part in sets:
            stage = f"SmallBench, {part.name}" + (" untrained" if name == "untrained" else "")
            found[name, part.name] = outcomes(
                part,
                tokenizer,
                seq_len,
                model_score(network, lambda fraction: report(stage, fraction)),
            )
    report("SmallBench, n-gram models of the training text", 0.0)
    found |= controls(corpus, sets, seq_len)
    names = list(dict.fromkeys(name for name, _ in found))
    summary = {
        "version": 1,
        "size": size,
        "out_of_domain": corpus.meta["wikitext"],
        "sets": {part.name: {"items": len(part.items), "sha256": part.sha256} for part in sets},
        "results": {
            name: {part.name: summarise(part, found[name, part.name]) for part in sets}
            for name in names
        },
        "above": {
            name: compare(found["model", "blimp"], found[name, "blimp"])
            for name in names[1:]
            if ("model", "blimp") in found
        },
    }
    return summary, as_arrays(
        {key: frame for key, frame in found.items() if key[0] in ("model", "untrained")}
    )


def controls(corpus: Corpus, sets: list[Set], seq_len: int) -> dict[tuple[str, str], pd.DataFrame]:
    """Outcomes of the unigram and the 5-gram model of a corpus. They are kept beside it: all its runs share them."""
    key = hashlib.sha256(
        json.dumps([1, ORDER, NGRAM_TOKENS, seq_len, [part.sha256 for part in sets]]).encode()
    ).hexdigest()[:12]
    path, names = corpus.folder / f"smallbench-{key}.safetensors", ("unigram", f"{ORDER}-gram")
    if not path.exists():
        try:
            with hold(
                corpus.folder / "lease"
            ):  # several runs that end at once need not count the same text side by side
                if not path.exists():
                    save_arrays(path, as_arrays(compute_controls(corpus, sets, seq_len, names)))
        except OSError:  # a corpus that may only be read
            return compute_controls(corpus, sets, seq_len, names)
    kept, group = load_file(path), {part.name: [item.group for item in part.items] for part in sets}
    return {
        (name, part): pd.DataFrame(
            {"group": group[part]} | {column: kept[f"{name}.{part}.{column}"] for column in COLUMNS}
        )
        for name in names
        for part in group
    }


def compute_controls(
    corpus: Corpus, sets: list[Set], seq_len: int, names: tuple[str, str]
) -> dict[tuple[str, str], pd.DataFrame]:
    models = (
        Unigram(corpus.counts("train")),
        KneserNey(corpus.split("train")[:NGRAM_TOKENS], corpus.meta["vocab_size"], ORDER),
    )
    return {
        (name, part.name): outcomes(part, corpus.tokenizer, seq_len, ngram_score(model))
        for name, model in zip(names, models)
        for part in sets
    }


def as_arrays(found: dict[tuple[str, str], pd.DataFrame]) -> dict[str, np.ndarray]:
    return {
        f"{name}.{part}.{column}": frame[column].to_numpy(np.float64)
        for (name, part), frame in found.items()
        for column in COLUMNS
    }


def save_arrays(path: Path, arrays: dict[str, np.ndarray]):
    """Write beside, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(arrays, temporary)
    os.replace(temporary, path)
