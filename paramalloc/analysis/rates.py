"""Was the learning rate fair to every cell? What the runs on tuning seeds say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .groups import GROUP_COLUMNS, comparable, similar_size, tuning_runs, with_all_columns
from .power import DRAWS
from .selection import cached, eligible_runs, mean_loss_by, split_by_cell

RATE_CHECK_COLUMNS = [
    "tokens",
    "cell",
    "requested_share",
    "lr",
    "best_lr",
    "gain",
    "tried",
    "seeds",
    "precisions",
]


@cached
def rate_check(runs: pd.DataFrame) -> pd.DataFrame:
    """What each cell would have gained from the best of the learning rates tried on tuning seeds.

    One row per budget of `tokens` and cell: its `requested_share`, the `lr` of its eligible runs,
    `best_lr`, `gain` in nats per token of dev_loss (0 where lr is the best; a rate at which a run
    diverged is the worst), the rates `tried`, on which `seeds` and in which `precisions`. The
    budget may differ from that of the eligible runs, as a shorter one is cheaper, and so may the
    precision; all else is the same, embed_lr included. A cell that did not try its lr, or diverged
    at it, has no row.
    """
    runs = with_all_columns(runs)
    eligible = eligible_runs(runs)
    rows = []
    for tokens, budget in _tuning_of_main_group(runs).groupby("tokens"):
        for cell, tries in split_by_cell(budget).items():
            row = _rate_row(tries, eligible[eligible.cell == cell])
            if row:
                rows.append({"tokens": tokens, "cell": cell} | row)
    return pd.DataFrame(rows, columns=RATE_CHECK_COLUMNS)


def _rate_row(tries: pd.DataFrame, eligible: pd.DataFrame) -> dict:
    """The row of one cell at one budget; empty where its learning rate was not compared."""
    if eligible.empty:
        return {}
    without_embed_lr = tries.embed_lr.isna() & eligible.embed_lr.isna().any()
    tries = tries[tries.embed_lr.isin(eligible.embed_lr) | without_embed_lr]
    losses = mean_loss_by(tries, tries.lr)
    lr = eligible.lr.iloc[0]
    if len(losses) < 2 or not np.isfinite(losses.get(lr, np.inf)):
        return {}
    return {
        "requested_share": tries.requested_share.iloc[0],
        "lr": lr,
        "best_lr": losses.index[0],
        "gain": losses[lr] - losses.min(),
        "tried": tuple(sorted(losses.index)),
        "seeds": tuple(sorted(tries.seed.unique())),
        "precisions": tuple(sorted(tries.precision.dropna().unique())),
    }


def by_chance(check: pd.DataFrame, sigma: float) -> tuple[float, float]:
    """The mean and the largest gain over the cells of a check if all rates were equal.

    In the mean of DRAWS draws of runs that scatter by `sigma` (nats per token): the lowest of
    several is below the one that was named beforehand.
    """
    generator = np.random.default_rng(0)
    gains = []
    for tried, seeds in zip(check.tried, check.seeds, strict=True):
        normal = generator.standard_normal((len(tried), DRAWS))
        losses = sigma / np.sqrt(len(seeds)) * normal
        gains.append(losses[0] - losses.min(axis=0))
    gains = np.stack(gains)
    return float(gains.mean()), float(gains.max(axis=0).mean())


def _tuning_of_main_group(runs: pd.DataFrame) -> pd.DataFrame:
    """The tuning runs that differ from the first comparable group in their tokens at most."""
    main = comparable(runs)
    main = main[main.data_fingerprint.notna()]
    tuning = tuning_runs(runs)
    if main.empty or tuning.empty:
        return tuning.head(0)
    names = [name for name in GROUP_COLUMNS if name != "tokens"]
    recipe, recipes = main[names].iloc[0], tuning[names]
    same = (recipes == recipe) | (recipes.isna() & recipe.isna())
    return similar_size(tuning[same.all(axis=1)], main.total_params)
