"""Beyond one grid: what the share does by who pays for it, arms across groups, equal tokens, FLOPs and time, wrong kills."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from .groups import GROUP_COLUMNS, REQUEST_COLUMNS, comparable_groups, of_size, typed
from .least_squares import adjusted_means
from .noise import Fit, compared, differences, fit, mean_table
from .power import LEVEL
from .selection import BASELINE, baseline_cell, eligible_runs, finished, rates

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
]


def dev_curves(runs: pd.DataFrame) -> pd.DataFrame:
    """The probes of every run that has some: columns run_id, tokens, dev_loss (nats per token), dev_ppl."""
    rows = [
        (run, tokens, loss) for run, curve in _lists(runs, "dev_curve") for tokens, loss in curve
    ]
    frame = pd.DataFrame(rows, columns=["run_id", "tokens", "dev_loss"]).astype(
        {"tokens": float, "dev_loss": float}
    )
    return frame.assign(dev_ppl=np.exp(frame.dev_loss))


def losses_by_frequency(runs: pd.DataFrame) -> pd.DataFrame:
    """Dev loss by decile of token frequency (1: the most frequent tokens): columns run_id, decile, tokens, loss."""
    rows = [
        (run, decile, tokens, loss)
        for run, deciles in _lists(runs, "dev_by_frequency")
        for decile, (tokens, loss) in enumerate(deciles, 1)
    ]
    return pd.DataFrame(rows, columns=["run_id", "decile", "tokens", "loss"])


def _lists(runs: pd.DataFrame, name: str):
    """(run_id, list) of the runs where a column that holds lists is not null."""
    found = zip(runs.run_id, runs[name]) if name in runs else ()
    return ((run, values) for run, values in found if isinstance(values, list))


def matching_runs(runs: pd.DataFrame, *free: str) -> pd.DataFrame:
    """The runs that agree with the largest of the `groups` in corpus, recipe, and size within 10 %, but for what `free` names (of SAME,
    or total_params). A vocabulary makes a fingerprint of its own: where it is free, the name of the dataset is held."""
    runs = typed(runs)
    main = next(iter(comparable_groups(runs)), runs.head(0))
    same = [
        "dataset" if name == "data_fingerprint" and "vocab_size" in free else name
        for name in GROUP_COLUMNS
        if name not in free
    ]
    for name in same if len(main) else ():
        value = main[name].iloc[0]
        runs = runs[runs[name].isna() if pd.isna(value) else runs[name] == value]
    return runs if "total_params" in free else of_size(runs, main.total_params)


def arm(
    runs: pd.DataFrame, axis: str, quality: str = "dev_loss", free: tuple[str, ...] = ()
) -> pd.DataFrame:
    """The cells of an arm whose runs need not be comparable in dev_loss: columns of the axis (any column of the runs, such as
    vocab_size, tokens, embedding, mlp, total_params), cell, lr, n_seeds, the quality, low, high, in order of the axis.

    Only runs that are `alike` but for the axis and what else is `free`, each request at the learning rates that all of the axis have in
    common for it, if there are some: a rate tuned at one value of the axis alone would count as an effect of the axis. The noise
    is pooled over all. Over vocabularies use quality "dev_bpb": bits per byte compare under any tokenizer.
    """
    parts = [
        eligible_runs(group)
        for group in at_common_rates(comparable_groups(matching_runs(runs, axis, *free)))
    ]
    parts = [
        part.assign(cell=part.cell + f" ({number})", axis=part[axis])
        for number, part in enumerate(parts)
        if len(part)
    ]
    columns = [axis, "cell", "lr", "n_seeds", quality, "low", "high"]
    if not parts:
        return pd.DataFrame(columns=columns)
    claimed = pd.concat(parts, ignore_index=True)
    table = (
        mean_table(fit(claimed, quality), quality)
        .join(claimed.groupby("cell")[["axis", "lr"]].first(), on="cell")
        .rename(columns={"axis": axis})
    )
    table["cell"] = table.cell.str.replace(r" \(\d+\)$", "", regex=True)
    return table[columns].sort_values([axis, "cell"], ignore_index=True)


def at_common_rates(parts: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """The runs of each part, those of a request at the rates that its completed runs on claim seeds have in every part that has such
    runs; at all of its rates where there is none."""
    asked = lambda runs: pd.Series(
        [f"{share:g} {glu:g}" for share, glu in runs[REQUEST_COLUMNS].to_numpy(float)],
        runs.index,
        dtype=object,
    )
    tried = [
        rates(done).groupby(asked(done)).agg(set) for part in parts if len(done := finished(part))
    ]
    common = (
        pd.concat(tried).groupby(level=0).agg(lambda sets: set.intersection(*sets))
        if tried
        else pd.Series(dtype=object)
    )
    kept = lambda part: [
        rate in (common.get(name) or {rate}) for name, rate in zip(asked(part), rates(part))
    ]
    return [part[kept(part)] for part in parts]


def by_tradeoff(runs: pd.DataFrame) -> pd.DataFrame:
    """What the embedding share does, by what shrinks as it grows: columns payer, cell, embed_share, dev_loss, low, high, and
    difference, difference_low, difference_high to the payer's own 35 % cell, seeds paired (NaN for that cell itself).

    With a tied (or untied) embedding share is width, so width and depth pay; of these only the cells at the baseline's GLU expansion.
    A factorized embedding keeps d_model: with n_layers kept as well the MLP pays, at a requested expansion the depth.
    Only runs that are `alike` but for the embedding; the noise is pooled over all cells of all payers.
    """
    runs = matching_runs(runs, "embedding")
    factorized, asked = runs.embedding == "factorized", runs.requested_glu.notna()
    payer = np.select([~factorized, ~asked], TRADEOFFS[:2], TRADEOFFS[2])
    parts = {name: eligible_runs(runs[payer == name]) for name in TRADEOFFS}
    parts = {
        name: part.assign(name=part.cell, cell=f"{name}: " + part.cell)
        for name, part in parts.items()
        if part.cell.nunique() > 1
    }
    model = fit(pd.concat(parts.values(), ignore_index=True)) if parts else None
    found = [_tradeoff_rows(name, part, model) for name, part in parts.items()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=TRADEOFF_COLUMNS)


def _tradeoff_rows(payer: str, claimed: pd.DataFrame, model: Fit) -> pd.DataFrame:
    """One payer's rows of the model of all."""
    base = next(iter(baseline_cell(claimed).cell), None)
    beside = (
        compared(model, model.cells.index(base)).set_index("cell")
        if base
        else differences(claimed.head(0)).set_index("cell")
    )
    cells = claimed[
        claimed.requested_glu.isna() | np.isclose(claimed.requested_glu, BASELINE[1])
    ].groupby("cell")
    table = (
        mean_table(model)
        .set_index("cell")
        .join(beside[["difference", "low", "high"]].add_prefix("beside_"))
    )
    table = table.join(
        cells.agg(embed_share=("embed_share", "mean"), name=("name", "first")), how="inner"
    ).assign(traded_against=payer)
    columns = {
        "name": "cell",
        "beside_difference": "difference",
        "beside_low": "difference_low",
        "beside_high": "difference_high",
    }
    return table.rename(columns=columns)[TRADEOFF_COLUMNS].sort_values(
        "embed_share", ignore_index=True
    )


def views(runs: pd.DataFrame) -> pd.DataFrame:
    """Each cell at equal tokens, training FLOPs and training time (s): columns cell, view ("tokens", "flops", "time"), at, dev_loss.

    Interpolated on the probes (dev_curve) at the largest amount that every cell reached, mean over seeds. The cell that
    sets the amount of FLOPs or time is at the end of its schedule there; the learning rate of the others has not decayed yet, which
    favours it.
    """
    claimed = eligible_runs(runs)
    claimed = claimed[
        claimed.get("dev_curve", claimed.cell)
        .map(lambda curve: isinstance(curve, list) and len(curve) > 0)
        .astype(bool)
    ]
    seconds = 1 / claimed.groupby("cell").tokens_per_s.transform("median")
    cost = {
        "tokens": pd.Series(1.0, claimed.index),
        "flops": claimed.flops_per_token,
        "time": seconds,
    }
    found = [
        _view(claimed, name, per_token)
        for name, per_token in cost.items()
        if len(claimed) and per_token.notna().all()
    ]
    return (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=["cell", "view", "at", "dev_loss"])
    )


def _view(claimed: pd.DataFrame, name: str, per_token: pd.Series) -> pd.DataFrame:
    probes = [np.asarray(curve, float) for curve in claimed.dev_curve]
    at = min(curve[-1, 0] * cost for curve, cost in zip(probes, per_token))
    loss = [
        np.interp(at / cost, curve[:, 0], curve[:, 1]) for curve, cost in zip(probes, per_token)
    ]
    means = adjusted_means(claimed.assign(dev_loss=loss), "dev_loss")
    return pd.DataFrame({"cell": means.index, "view": name, "at": at, "dev_loss": means.to_numpy()})


def wrong_kills(runs: pd.DataFrame) -> dict | None:
    """How often early stop would have killed a run that ended no worse than the baseline: of the completed runs that it
    compared in `flag` mode (`watched`; None where old runs recorded nothing but their flags), those that it flagged (`flagged`), those
    of them with a final dev_loss at or below the baseline's of the same seed, or its mean (`wrong`), and their `rate` with `low` and
    `high` (95 %, Clopper & Pearson 1934; NaN where none was flagged). None where none was watched or no baseline is complete."""
    claimed = eligible_runs(runs)
    own = claimed.cell.isin(baseline_cell(claimed).cell)
    flagging = (claimed.early_stop == "flag") | (claimed.flagged_at_tokens > 0)
    base, watched = claimed[own], claimed[~own & flagging]
    if base.empty or watched.empty:
        return None
    flagged = watched[watched.flagged_at_tokens > 0]
    theirs = flagged.seed.map(base.groupby("seed").dev_loss.mean()).fillna(base.dev_loss.mean())
    counts = {
        "watched": None if watched.early_stop.isna().any() else len(watched),
        "flagged": len(flagged),
        "wrong": int((flagged.dev_loss <= theirs).sum()),
    }
    if flagged.empty:
        return counts | dict.fromkeys(["rate", "low", "high"], math.nan)
    interval = stats.binomtest(counts["wrong"], len(flagged)).proportion_ci(1 - LEVEL)
    return counts | {
        "rate": counts["wrong"] / len(flagged),
        "low": interval.low,
        "high": interval.high,
    }
