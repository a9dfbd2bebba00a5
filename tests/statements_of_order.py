"""How early the order of the cells was known, recomputed: pairs are counted one by one."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
from recomputed import Study
from scipy import stats


def orders(study: Study) -> list[str]:
    """The same runs cut short, separate ones at the grid's rate, whole ones of another seed."""
    final = study.means.to_dict()
    [rate] = study.grid.lr.unique()
    rows = study.rows[(study.rows.tokens < study.tokens) & (study.rows.lr == rate)]
    separate = rows[rows.seed == rows.seed.mode()[0]].set_index("cell").dev_loss
    tokens = rows.tokens.unique().item()

    # (tokens, cell x seed) of the probes
    curves = {
        (run.cell, run.seed): dict(json.loads(run.dev_curve)) for run in study.grid.itertuples()
    }
    probes = pd.DataFrame(curves).sort_index()
    at = np.argmin(np.abs(probes.index - tokens))
    early = probes.iloc[at].unstack()  # (cell, seed)
    share, low, high = jackknife(early, final)
    alone = []
    for seed in study.losses:
        others = study.losses.drop(columns=seed).mean(axis=1)
        alone.append(count(study.losses[seed], others))

    clear = distinguishable(study)
    known = [share_right(row.unstack().mean(axis=1), clear) >= 0.95 for _, row in probes.iterrows()]
    assert all(known), "from the first probe on"
    first = probes.index[0]
    n_pairs = len(list(combinations(final, 2)))
    n_right = count(separate, final)
    return [
        f"At {percent(probes.index[at] / study.tokens)} of the tokens, the means of the same runs"
        f" put {round(share * n_pairs)} of {n_pairs} pairs of cells into their final order"
        f" ({percent(share)}, 95 % CI over {study.n_seeds} seeds [{percent(low)}, {percent(high)}]"
        " by the jackknife).",
        f"Separate runs of {tokens / 1e6:g}M tokens ({percent(tokens / study.tokens)}) put"
        f" {n_right} of {n_pairs} into it ({percent(n_right / n_pairs)}, 1 seed: no interval).",
        f"Whole runs of one seed put {min(alone)} to {max(alone)} of {n_pairs} into the order of"
        " the other seeds' means.",
        f"Of the {len(clear)} pairs that the comparison of all pairs distinguishes, at least 95 %"
        f" have their final order from {first / 1e3:.0f}k tokens on"
        f" ({percent(first / study.tokens)} of the budget, the first probe).",
        f"Separate runs of {tokens / 1e6:g}M tokens have"
        f" {round(share_right(separate, clear) * len(clear))} of {len(clear)} such pairs right.",
    ]


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def count(losses, final) -> int:
    """The pairs of cells that the losses put into the order of the final ones."""
    return sum(
        (losses[a] < losses[b]) == (final[a] < final[b]) and losses[a] != losses[b]
        for a, b in combinations(dict(final), 2)
    )


def jackknife(early: pd.DataFrame, final: dict) -> tuple[float, float, float]:
    """The share of pairs in order, by losses (cell, seed), and its interval from pseudo-values."""
    n_pairs, n = len(list(combinations(final, 2))), early.shape[1]
    share = count(early.mean(axis=1), final) / n_pairs
    pseudo = [
        n * share - (n - 1) * count(early.drop(columns=seed).mean(axis=1), final) / n_pairs
        for seed in early
    ]
    half = stats.t.ppf(0.975, n - 1) * stats.sem(pseudo)
    return share, max(share - half, 0), min(share + half, 1)


def distinguishable(study: Study) -> list[tuple[str, str]]:
    """(better, worse): pairs whose simultaneous interval over all pairs leaves out zero."""
    pairs = list(combinations(study.means.index, 2))
    weights = {pair: study.unit([pair[0]]) - study.unit([pair[1]]) for pair in pairs}
    table = study.compare(pd.DataFrame(weights).T, study.losses.index)
    return [pair for pair, high in zip(pairs, table.high, strict=True) if high < 0]


def share_right(losses, pairs: list[tuple[str, str]]) -> float:
    return sum(losses[better] < losses[worse] for better, worse in pairs) / len(pairs)
