"""Beyond one grid: arms that differ in one more axis, and what the share is traded against."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..runs import baseline_request
from .cells import baseline_cell
from .comparisons import DIFFERENCE_COLUMNS, compare_with
from .groups import (
    GROUP_COLUMNS,
    REQUEST_COLUMNS,
    comparable_groups,
    similar_size,
    with_all_columns,
)
from .noise import Fit, fit, mean_table
from .selection import completed_runs, eligible_runs, rate_labels

TRADEOFFS = ["width and depth", "the MLP", "the depth"]
TRADEOFF_COLUMNS = [
    "traded_against",
    "cell",
    "embed_share",
    "dev_loss",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "baseline_share",
]


def matching_runs(runs: pd.DataFrame, *free: str) -> pd.DataFrame:
    """The runs that agree with the first of the `comparable_groups`, but for what `free` names.

    In corpus, recipe, and size within 10 %; `free` is of GROUP_COLUMNS, or total_params. A
    vocabulary makes a fingerprint of its own: where it is free, the name of the dataset is held.
    """
    runs = with_all_columns(runs)
    groups = comparable_groups(runs)
    main = groups[0] if groups else runs.head(0)
    held = [name for name in GROUP_COLUMNS if name not in free]
    if "vocab_size" in free:
        held = ["dataset" if name == "data_fingerprint" else name for name in held]
    for name in held if groups else ():
        value = main[name].iloc[0]
        runs = runs[runs[name].isna() if pd.isna(value) else runs[name] == value]
    return runs if "total_params" in free else similar_size(runs, main.total_params)


def arm(
    runs: pd.DataFrame, axis: str, quality: str = "dev_loss", free: tuple[str, ...] = ()
) -> pd.DataFrame:
    """The cells of an arm, whose runs need not be comparable in dev_loss.

    `axis` is any column of the runs, such as vocab_size, tokens, embedding, mlp, total_params. The
    columns are the axis, cell, lr, n_seeds, the quality, low, high, in order of the axis.

    Only `matching_runs` but for the axis and what else is `free`, each request at the learning
    rates that all of the axis have in common for it, if there are some: a rate tuned at one value
    of the axis alone would count as an effect of the axis. The noise is pooled over all. Over
    vocabularies use quality "dev_bpb": bits per byte compare under any tokenizer.
    """
    columns = [axis, "cell", "lr", "n_seeds", quality, "low", "high"]
    groups = at_common_rates(comparable_groups(matching_runs(runs, axis, *free)))
    parts = []
    for number, group in enumerate(groups):
        part = eligible_runs(group)
        if len(part):
            parts.append(part.assign(cell=part.cell + f" ({number})", axis=part[axis]))
    if not parts:
        return pd.DataFrame(columns=columns)
    eligible = pd.concat(parts, ignore_index=True)
    first = eligible.groupby("cell")[["axis", "lr"]].first()
    table = mean_table(fit(eligible, quality), quality).join(first, on="cell")
    table = table.rename(columns={"axis": axis})
    table["cell"] = table.cell.str.replace(r" \(\d+\)$", "", regex=True)
    return table[columns].sort_values([axis, "cell"], ignore_index=True)


def at_common_rates(groups: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The runs of each group at the learning rates that all groups tried for the request.

    Common are the rates of a request's completed runs on evaluation seeds in every group that has
    such runs. A request without a common rate keeps all of its own.
    """
    tried = [_rates_by_request(completed_runs(group)) for group in groups]
    tried = [rates for rates in tried if len(rates)]
    common = pd.Series(dtype=object)
    if tried:
        common = pd.concat(tried).groupby(level=0).agg(lambda sets: set.intersection(*sets))
    parts = []
    for group in groups:
        keys = zip(_request_labels(group), rate_labels(group), strict=True)
        parts.append(group[[rate in (common.get(request) or {rate}) for request, rate in keys]])
    return parts


def _rates_by_request(runs: pd.DataFrame) -> pd.Series:
    """The set of learning rates of each request."""
    return rate_labels(runs).groupby(_request_labels(runs)).agg(set)


def _request_labels(runs: pd.DataFrame) -> pd.Series:
    """The request of each run, as text to group by."""
    requests = runs[REQUEST_COLUMNS].to_numpy(float)
    labels = [f"{share:g} {glu:g}" for share, glu in requests]
    return pd.Series(labels, runs.index, dtype=object)


def by_tradeoff(runs: pd.DataFrame) -> pd.DataFrame:
    """What the embedding share does, by what gives way as it grows.

    Columns traded_against, cell, embed_share, dev_loss, low, high, and difference, difference_low,
    difference_high to the cell at baseline_share of the same trade-off, seeds paired (NaN for that
    cell itself).

    With a tied (or untied) embedding share is width, so width and depth give way; of these only the
    cells at the baseline's GLU expansion. A factorized embedding keeps d_model: with n_layers kept
    as well the MLP gives way, at a requested expansion the depth. Only `matching_runs` but for the
    embedding; the noise is pooled over all cells.
    """
    runs = matching_runs(runs, "embedding")
    factorized, requested = runs.embedding == "factorized", runs.requested_glu.notna()
    tradeoff = np.select([~factorized, ~requested], TRADEOFFS[:2], TRADEOFFS[2])
    parts = {}
    for name in TRADEOFFS:
        part = eligible_runs(runs[tradeoff == name])
        if part.cell.nunique() > 1:
            parts[name] = part.assign(name=part.cell, cell=f"{name}: " + part.cell)
    if not parts:
        return pd.DataFrame(columns=TRADEOFF_COLUMNS)
    eligible = pd.concat(parts.values(), ignore_index=True)
    model = fit(eligible)
    share, glu = baseline_request(eligible)
    tables = []
    for name, part in parts.items():
        compared = part.assign(baseline_share=share, baseline_glu=glu)
        tables.append(_tradeoff_rows(name, compared, model))
    return pd.concat(tables, ignore_index=True)


def _tradeoff_rows(name: str, eligible: pd.DataFrame, model: Fit) -> pd.DataFrame:
    """The rows of one trade-off, from the model and with the baseline of all."""
    differences = pd.DataFrame(columns=DIFFERENCE_COLUMNS)
    baseline = baseline_cell(eligible).cell
    if len(baseline):
        differences = compare_with(model, model.cells.index(baseline.iloc[0]))
    differences = differences.set_index("cell")[["difference", "low", "high"]]
    differences.columns = ["difference", "difference_low", "difference_high"]
    baseline_share, baseline_glu = baseline_request(eligible)
    at_baseline_glu = np.isclose(eligible.requested_glu, baseline_glu)
    cells = eligible[eligible.requested_glu.isna() | at_baseline_glu].groupby("cell")
    shares = cells.agg(embed_share=("embed_share", "mean"), name=("name", "first"))
    table = mean_table(model).set_index("cell").join(differences).join(shares, how="inner")
    table = table.rename(columns={"name": "cell"})
    table = table.assign(traded_against=name, baseline_share=baseline_share)
    return table[TRADEOFF_COLUMNS].sort_values("embed_share", ignore_index=True)
