"""Was the learning rate of the claims fair to every cell? What the runs on tuning seeds say."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import integrate, stats

from .cells import by_cell, claims
from .groups import SAME, comparable, on_claim_seeds, typed
from .noise import noise

RATE_CHECK = ["tokens", "cell", "lr", "best_lr", "gain", "chance", "n_lrs"]


def rate_check(runs: pd.DataFrame) -> pd.DataFrame:
    """What each cell would have gained from the best of the learning rates that it tried on tuning seeds.

    One row per budget of `tokens` and cell: `lr` of its claim, `best_lr`, `gain` in nats per token of dev_loss (0 where the claim's rate is
    the best; a rate at which a run diverged is the worst), the gain that `chance` alone would give among equal rates (NaN where the noise
    is unknown), `n_lrs` tried. The budget may be another than the claims', as a shorter one is cheaper; all else is the claims'
    own, the tables' rate included. A cell that did not try its claim's rate, or diverged at it, says nothing.
    """
    runs = typed(runs)
    claimed, tuning, scatter, rows = claims(runs), _tuning(runs), noise(runs), []
    for tokens, tried in tuning.groupby("tokens"):
        for cell, tries in by_cell(tried).items():
            own = claimed[claimed.cell == cell]
            tries = tries[tries.embed_lr.isin(own.embed_lr) | tries.embed_lr.isna() & own.embed_lr.isna().any()]
            losses = tries.dev_loss.mask(tries.status == "diverged", np.inf).groupby(tries.lr).mean().dropna()
            lr = own.lr.iloc[0] if len(own) else np.nan
            if len(losses) > 1 and np.isfinite(losses.get(lr, np.inf)):
                chance = scatter.sigma * largest_of(len(losses)) / np.sqrt(tries.seed.nunique()) if scatter else np.nan
                rows.append([tokens, cell, lr, losses.idxmin(), losses[lr] - losses.min(), chance, len(losses)])
    return pd.DataFrame(rows, columns=RATE_CHECK)


def largest_of(count: int) -> float:
    """The mean of the largest of `count` standard normal draws (Harter 1961): 0.85 of three, 1.16 of five."""
    return float(integrate.quad(lambda x: x * count * stats.norm.pdf(x) * stats.norm.cdf(x) ** (count - 1), -12, 12)[0])


def _tuning(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on tuning seeds that differ from the study in their budget of tokens at most."""
    main, names = comparable(runs), [name for name in SAME if name != "tokens"]
    main = main[main.data_fingerprint.notna()]
    tuning = runs.drop(on_claim_seeds(runs).index)
    if main.empty or tuning.empty:
        return tuning.head(0)
    own, theirs = main[names].iloc[0], tuning[names]
    alike = ((theirs == own) | (theirs.isna() & own.isna())).all(axis=1)
    return tuning[alike & tuning.total_params.between(0.9 * main.total_params.min(), 1.1 * main.total_params.max())]
