"""Was the learning rate fair to every cell? What the runs on tuning seeds say."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from .groups import (
    GROUP_COLUMNS,
    REQUEST_COLUMNS,
    comparable,
    similar_size,
    tuning_runs,
    with_all_columns,
)
from .power import DRAWS, LEVEL
from .selection import cached, eligible_runs, mean_loss_by, split_by_cell

RATE_CHECK_COLUMNS = [
    "tokens",
    "cell",
    *REQUEST_COLUMNS,
    "lr",
    "best_lr",
    "gain",
    "tried",
    "losses",
    "seeds",
    "precisions",
]


@cached
def rate_check(runs: pd.DataFrame) -> pd.DataFrame:
    """What each cell would have gained from the best of the learning rates tried on tuning seeds.

    One row per budget of `tokens` and cell: its request, the `lr` of its eligible runs, `best_lr`,
    `gain` in nats per token of dev_loss (0 where lr is the best; a rate at which a run diverged is
    the worst), the rates `tried` with the mean dev `losses` there, on which `seeds` and in which
    `precisions`. The budget may differ from that of the eligible runs, as a shorter one is cheaper,
    and so may the precision; all else is the same, embed_lr included. A cell that did not try its
    lr, or diverged at it, has no row.
    """
    runs = with_all_columns(runs)
    eligible = eligible_runs(runs)
    rows = []
    for tokens, budget in _of_main_recipe(runs, tuning_runs(runs)).groupby("tokens"):
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
    by_rate = losses.sort_index()
    return {
        **tries[REQUEST_COLUMNS].iloc[0],
        "lr": lr,
        "best_lr": losses.index[0],
        "gain": losses[lr] - losses.min(),
        "tried": tuple(by_rate.index),
        "losses": tuple(by_rate),
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


def _of_main_recipe(runs: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """The candidates that differ from the first comparable group in their tokens at most."""
    main = comparable(runs)
    main = main[main.data_fingerprint.notna()]
    if main.empty or candidates.empty:
        return candidates.head(0)
    names = [name for name in GROUP_COLUMNS if name != "tokens"]
    recipe, recipes = main[names].iloc[0], candidates[names]
    same = (recipes == recipe) | (recipes.isna() & recipe.isna())
    return similar_size(candidates[same.all(axis=1)], main.total_params)


# ---------------------------------------------------------------- one other rate for all


class CommonRate(NamedTuple):
    """What one other rate for all cells would gain, by a paired t test over the cells.

    `best_lr` is the best in the mean of the `n_rates` that all cells tried beside the grid's `lr`;
    `difference` is its mean loss less that at `lr` (nats per token). `p` is adjusted for the choice
    among n_rates (Bonferroni).
    """

    lr: float
    best_lr: float
    difference: float
    t: float
    df: int
    p: float
    n_rates: int

    @property
    def is_better(self) -> bool:
        """Whether the grid's rate is distinguishably worse."""
        return self.difference < 0 and self.p < LEVEL


def common_rate(check: pd.DataFrame) -> CommonRate | None:
    """The best common rate of the cells of one budget of `rate_check`.

    None with one cell, where the cells' runs have several rates, or no other is common to them.
    """
    losses = losses_at_rates(check)
    losses = losses.loc[:, np.isfinite(losses).all()]
    if len(check) < 2 or check.lr.nunique() > 1 or losses.shape[1] < 2:
        return None
    lr = check.lr.iloc[0]
    differences = losses.drop(columns=lr).sub(losses[lr], axis=0)
    best = differences.mean().idxmin()
    n, n_rates = differences.shape
    mean, error = differences[best].mean(), differences[best].std() / np.sqrt(n)
    t = mean / error if error else np.copysign(np.inf, mean)
    p = min(1.0, n_rates * 2 * stats.t.sf(abs(t), n - 1))
    return CommonRate(lr, best, mean, t, n - 1, p, n_rates)


def losses_at_rates(check: pd.DataFrame) -> pd.DataFrame:
    """The mean dev losses of one budget of `rate_check`: a row a cell, a column a rate."""
    pairs = zip(check.tried, check.losses, strict=True)
    rows = [dict(zip(tried, losses, strict=True)) for tried, losses in pairs]
    return pd.DataFrame(rows, index=check.index).sort_index(axis=1)


# ---------------------------------------------------------------- what it does to the shares


def distances_of_shares(cells: pd.DataFrame, losses: pd.Series, baseline: float) -> pd.Series:
    """Each requested share's mean loss less that of the share `baseline`, by share.

    Over the expansions at which all shares have a loss. Empty where the baseline is not among the
    shares, or no expansion is common.
    """
    table = cells.assign(loss=losses)
    table = table.pivot_table(index="requested_glu", columns="requested_share", values="loss")
    means = table.dropna().mean()
    reference = next((share for share in means.index if np.isclose(share, baseline)), None)
    if reference is None:
        return pd.Series(dtype=float)
    return (means - means[reference]).drop(reference).dropna()


def runs_at_own_rates(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on evaluation seeds, at each cell's best rate of `rate_check` and at its budget.

    With their `cell`. They differ from the eligible runs in rate and tokens alone, and chose
    nothing. Empty where the check had the tokens of the eligible runs.
    """
    runs = with_all_columns(runs)
    of_recipe = _of_main_recipe(runs, runs)
    check = rate_check(runs)
    check = check[~check.tokens.isin(eligible_runs(runs).tokens)]
    parts = [of_recipe.head(0).assign(cell="")]
    for tokens, rows in check.groupby("tokens"):
        own = eligible_runs(of_recipe[of_recipe.tokens == tokens])
        best = own.cell.map(rows.set_index("cell").best_lr)
        parts.append(own[np.isclose(own.lr, best.astype(float))])
    return pd.concat(parts, ignore_index=True)
