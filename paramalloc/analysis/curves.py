"""What the probes during training tell: curves, losses at equal cost, and kills of early stop."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from .cells import baseline_cell, cells_table
from .least_squares import adjusted_means
from .power import LEVEL
from .selection import eligible_runs


def dev_curves(runs: pd.DataFrame) -> pd.DataFrame:
    """The probes of every run that has some.

    Columns run_id, tokens, dev_loss (nats per token), dev_ppl.
    """
    rows = []
    for run_id, curve in _lists(runs, "dev_curve"):
        rows += [(run_id, tokens, loss) for tokens, loss in curve]
    frame = pd.DataFrame(rows, columns=["run_id", "tokens", "dev_loss"])
    frame = frame.astype({"tokens": float, "dev_loss": float})
    return frame.assign(dev_ppl=np.exp(frame.dev_loss))


def losses_by_frequency(runs: pd.DataFrame) -> pd.DataFrame:
    """Dev loss by decile of token frequency (1: the most frequent tokens).

    Columns run_id, decile, tokens, loss (nats per token).
    """
    rows = []
    for run_id, deciles in _lists(runs, "dev_by_frequency"):
        rows += [(run_id, i, tokens, loss) for i, (tokens, loss) in enumerate(deciles, 1)]
    return pd.DataFrame(rows, columns=["run_id", "decile", "tokens", "loss"])


def _lists(runs: pd.DataFrame, name: str) -> Iterator[tuple[str, list]]:
    """(run_id, list) of the runs where a column that holds lists is not null."""
    if name not in runs:
        return
    for run_id, values in zip(runs.run_id, runs[name], strict=True):
        if isinstance(values, list):
            yield run_id, values


def views(runs: pd.DataFrame) -> pd.DataFrame:
    """Each cell at equal tokens, training FLOPs and training time (s).

    Columns cell, view ("tokens", "flops", "time"), at (the common budget), dev_loss. Losses are
    interpolated on the probes (dev_curve), mean over seeds. The cheapest cell sets the common
    budget of FLOPs or time. It has finished its learning-rate decay and the others have not, so the
    comparison favours it.
    """
    eligible = with_curves(eligible_runs(runs))
    cost_per_token = {
        "tokens": pd.Series(1.0, eligible.index),
        "flops": eligible.flops_per_token,
        "time": 1 / _speeds(runs, eligible),
    }
    parts = []
    for name, cost in cost_per_token.items():
        if len(eligible) and cost.notna().all():
            parts.append(_view(eligible, name, cost))
    if not parts:
        return pd.DataFrame(columns=["cell", "view", "at", "dev_loss"])
    return pd.concat(parts, ignore_index=True)


def _speeds(runs: pd.DataFrame, eligible: pd.DataFrame) -> pd.Series:
    """Tokens per second of each run's cell."""
    speeds = cells_table(runs).set_index("cell").tokens_per_s
    return eligible.cell.map(speeds).astype(float)


def with_curves(eligible: pd.DataFrame) -> pd.DataFrame:
    """The runs that recorded their probes."""
    if "dev_curve" not in eligible:
        return eligible.head(0).assign(dev_curve=None)
    has_some = [isinstance(curve, list) and len(curve) > 0 for curve in eligible.dev_curve]
    return eligible[np.array(has_some, bool)]


def _view(eligible: pd.DataFrame, name: str, cost_per_token: pd.Series) -> pd.DataFrame:
    """The rows of one view."""
    curves = [np.asarray(curve, float) for curve in eligible.dev_curve]
    priced = list(zip(curves, cost_per_token, strict=True))
    budget = min(curve[-1, 0] * cost for curve, cost in priced)
    losses = [np.interp(budget / cost, curve[:, 0], curve[:, 1]) for curve, cost in priced]
    means = adjusted_means(eligible.assign(dev_loss=losses), "dev_loss")
    columns = {"cell": means.index, "view": name, "at": budget, "dev_loss": means.to_numpy()}
    return pd.DataFrame(columns)


def wrong_kills(runs: pd.DataFrame) -> dict | None:
    """How often early stop would have killed what ends no worse than the baseline, runs and cells.

    Of the completed runs that it compared in `flag` mode (`watched`; None where old runs recorded
    nothing but their flags): those that it flagged (`flagged`), those of them with a final dev_loss
    at or below the baseline's of the same seed, or its mean (`wrong`), and their `rate` with `low`
    and `high` (95 %, Clopper & Pearson 1934; NaN where none was flagged). One killed run screens
    its cell out: `cells` names those with a flagged run, `wrong_cells` those of them with a mean
    over seeds at or below the baseline's. None where none was watched or no baseline is complete.
    Older runs recorded a mode only where they were compared.
    """
    eligible = eligible_runs(runs)
    is_baseline = eligible.cell.isin(baseline_cell(eligible).cell)
    was_compared = (eligible.early_stop == "flag") & eligible.compared.ne(False)
    is_watched = was_compared | (eligible.flagged_at_tokens > 0)
    baseline, watched = eligible[is_baseline], eligible[~is_baseline & is_watched]
    if baseline.empty or watched.empty:
        return None
    flagged = watched[watched.flagged_at_tokens > 0]
    baseline_loss = flagged.seed.map(baseline.groupby("seed").dev_loss.mean())
    wrong = int((flagged.dev_loss <= baseline_loss.fillna(baseline.dev_loss.mean())).sum())
    kills = {
        "watched": None if watched.early_stop.isna().any() else len(watched),
        "flagged": len(flagged),
        "wrong": wrong,
        "cells": sorted(flagged.cell.unique()),
        "wrong_cells": _no_worse_cells(eligible, flagged.cell, baseline.cell.iloc[0]),
    }
    if flagged.empty:
        return kills | {"rate": math.nan, "low": math.nan, "high": math.nan}
    ci = stats.binomtest(wrong, len(flagged)).proportion_ci(1 - LEVEL)
    return kills | {"rate": wrong / len(flagged), "low": ci.low, "high": ci.high}


def _no_worse_cells(eligible: pd.DataFrame, cells: pd.Series, baseline: str) -> list[str]:
    """Those of `cells` whose mean dev_loss is at or below that of the cell `baseline`."""
    means = adjusted_means(eligible, "dev_loss")
    of_cells = means[sorted(cells.unique())]
    return list(of_cells.index[of_cells <= means[baseline]])
