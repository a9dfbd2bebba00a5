"""From outcomes to estimates: accuracies with standard errors, paired differences.

Standard errors are those of a sample of items, stratified by group (Miller 2024, arXiv 2411.00640,
has them for language models; the paired difference too).
"""

import math

import numpy as np
import pandas as pd

from .sets import Set

ACCURACIES = {"correct": "accuracy", "correct_norm": "accuracy_norm"}


def estimate(values: np.ndarray, groups: pd.Series) -> tuple[float, float]:
    """Mean over phenomena of the mean over their paradigms, and its standard error over items.

    `values` (items,) have `groups` "phenomenon/paradigm". The error is stratified by paradigm:
    sqrt(sum_k w_k^2 s_k^2 / n_k).
    """
    values = pd.Series(np.asarray(values, dtype=float))
    paradigms = values.groupby(groups.to_numpy()).agg(["mean", "var", "count"])
    phenomenon = paradigms.index.to_series().str.split("/").str[0]
    weight = 1 / (phenomenon.nunique() * phenomenon.map(phenomenon.value_counts()))
    mean = (weight * paradigms["mean"]).sum()
    variance = (weight**2 * paradigms["var"] / paradigms["count"]).sum(skipna=False)
    return float(mean), float(np.sqrt(variance))


def _mean_with_error(values: pd.Series, groups: pd.Series) -> tuple[float | None, float | None]:
    """Mean over all items, and its standard error, stratified by group; None where unknown."""
    strata = values.groupby(groups).agg(["var", "count"])
    error = np.sqrt((strata["var"] * strata["count"]).sum(skipna=False)) / len(values)
    return _none_if_nan(values.mean()), _none_if_nan(error)


def headline(correct: np.ndarray, groups: pd.Series) -> dict[str, float | None]:
    """BLiMP centred on chance, (accuracy - 0.5) / 0.5, and its standard error."""
    accuracy, error = estimate(correct, groups)
    return {"smallbench": 2 * accuracy - 1, "se": _none_if_nan(2 * error)}


def compare(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, float | None]:
    """The difference of two models' headlines, one - other, and its error, paired by item."""
    difference = one["correct"].to_numpy() - other["correct"].to_numpy()
    accuracy, error = estimate(difference, one["group"])
    return {"smallbench": 2 * accuracy, "se": _none_if_nan(2 * error)}


def summarise(part: Set, outcomes: pd.DataFrame) -> dict:
    """Summarise one set: accuracies with standard errors, bits per byte, chance.

    Of BLiMP, instead of bits per byte, the headline and the accuracies of phenomena and paradigms.
    """
    summary: dict = {"items": len(outcomes)}
    for column, accuracy in ACCURACIES.items():
        mean, error = _mean_with_error(outcomes[column], outcomes["group"])
        summary |= {accuracy: mean, f"{accuracy}_se": error}
    chances = [1 / len(item.choices) for item in part.items if len(item.choices) > 1]
    summary["chance"] = float(np.mean(chances)) if chances else 0.0
    if part.name != "blimp":
        summary["bpb"] = float(outcomes["bits"].sum() / outcomes["bytes"].sum())
        return summary
    paradigms = outcomes.groupby("group")[list(ACCURACIES)].mean()
    phenomena = paradigms.groupby(paradigms.index.str.split("/").str[0]).mean()
    paradigms.index = paradigms.index.str.split("/").str[1]
    summary["phenomena"] = _accuracies(phenomena)
    summary["paradigms"] = _accuracies(paradigms)
    return headline(outcomes["correct"], outcomes["group"]) | summary


def _accuracies(means: pd.DataFrame) -> dict[str, dict[str, float]]:
    return {
        name: {"accuracy": row.correct, "accuracy_norm": row.correct_norm}
        for name, row in means.iterrows()
    }


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
