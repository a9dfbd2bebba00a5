"""Was the learning rate of the claims fair to every cell? What the runs on tuning seeds say."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .cells import by_cell, claims
from .groups import SAME, comparable, on_claim_seeds, typed

RATE_CHECK = ["tokens", "cell", "lr", "best_lr", "gain", "n_lrs"]


def rate_check(runs: pd.DataFrame) -> pd.DataFrame:
    """What each cell would have gained from the best of the learning rates that it tried on tuning seeds.

    One row per budget of `tokens` and cell: `lr` of its claim, `best_lr`, `gain` in nats per token of dev_loss (0 where the claim's rate is
    the best; a rate at which a run diverged is the worst), `n_lrs` tried. The budget may be another than the claims', as a shorter one is cheaper; all
    else is the claims' own. A cell that did not try its claim's rate says nothing.
    """
    runs = typed(runs)
    claimed, tuning = claims(runs), _tuning(runs)
    rows = []
    for tokens, tried in tuning.groupby("tokens"):
        for cell, tries in by_cell(tried).items():
            own = claimed.lr[claimed.cell == cell]
            losses = tries.dev_loss.mask(tries.status == "diverged", np.inf).groupby(tries.lr).mean().dropna()
            if len(losses) > 1 and len(own) and own.iloc[0] in losses:
                rows.append([tokens, cell, own.iloc[0], losses.idxmin(), losses[own.iloc[0]] - losses.min(), len(losses)])
    return pd.DataFrame(rows, columns=RATE_CHECK)


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
