"""Was the learning rate of the claims fair to every cell? What the runs on tuning seeds say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .groups import GROUP_COLUMNS, comparable, of_size, on_evaluation_seeds, typed
from .selection import by_cell, eligible_runs, mean_loss_by, remembered

RATE_CHECK = [
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
DRAWS = 4_000


@remembered
def rate_check(runs: pd.DataFrame) -> pd.DataFrame:
    """What each cell would have gained from the best of the learning rates that it tried on tuning seeds.

    One row per budget of `tokens` and cell: its `requested_share`, `lr` of its claim, `best_lr`, `gain` in nats per token of dev_loss (0
    where the claim's rate is the best; a rate at which a run diverged is the worst), the rates `tried`, on which `seeds` and in which
    `precisions`. The budget may be another than the claims', as a shorter one is cheaper, and so may the precision; all else is the
    claims' own, the tables' rate included. A cell that did not try its claim's rate, or diverged at it, says nothing.
    """
    runs = typed(runs)
    claimed, tuning, rows = eligible_runs(runs), _tuning(runs), []
    for tokens, some in tuning.groupby("tokens"):
        for cell, tries in by_cell(some).items():
            own = claimed[claimed.cell == cell]
            tries = tries[
                tries.embed_lr.isin(own.embed_lr)
                | tries.embed_lr.isna() & own.embed_lr.isna().any()
            ]
            losses, lr = mean_loss_by(tries, tries.lr), own.lr.iloc[0] if len(own) else np.nan
            if len(losses) > 1 and np.isfinite(losses.get(lr, np.inf)):
                known = [
                    tuple(sorted(values))
                    for values in (
                        losses.index,
                        tries.seed.unique(),
                        tries.precision.dropna().unique(),
                    )
                ]
                rows.append(
                    [
                        tokens,
                        cell,
                        tries.requested_share.iloc[0],
                        lr,
                        losses.index[0],
                        losses[lr] - losses.min(),
                        *known,
                    ]
                )
    return pd.DataFrame(rows, columns=RATE_CHECK)


def by_chance(check: pd.DataFrame, sigma: float) -> tuple[float, float]:
    """The mean and the largest gain over the cells of a check (in the mean of DRAWS draws) if all rates were equal and runs scattered
    by `sigma`: the lowest of several is below the one that was named beforehand."""
    generator = np.random.default_rng(0)
    losses = (
        sigma / np.sqrt(len(seeds)) * generator.standard_normal((len(tried), DRAWS))
        for tried, seeds in zip(check.tried, check.seeds)
    )
    gains = np.stack([drawn[0] - drawn.min(axis=0) for drawn in losses])
    return float(gains.mean()), float(gains.max(axis=0).mean())


def _tuning(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on tuning seeds that differ from the study in their budget of tokens at most."""
    main, names = comparable(runs), [name for name in GROUP_COLUMNS if name != "tokens"]
    main = main[main.data_fingerprint.notna()]
    tuning = runs.drop(on_evaluation_seeds(runs).index)
    if main.empty or tuning.empty:
        return tuning.head(0)
    own, theirs = main[names].iloc[0], tuning[names]
    alike = ((theirs == own) | (theirs.isna() & own.isna())).all(axis=1)
    return of_size(tuning[alike], main.total_params)
