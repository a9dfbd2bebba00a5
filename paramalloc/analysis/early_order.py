"""How early the order of the cells was known: in the same runs cut short, and in shorter runs.

The final order is that of the cells' mean final losses, over all seeds. A pair of cells is right at
a smaller budget if its mean losses there have that order. Pairs that are equal in the end have no
order and do not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from .arms import matching_runs
from .comparisons import distinguishable_pairs
from .curves import with_curves
from .least_squares import adjusted_means
from .noise import fit
from .power import LEVEL
from .selection import cached, eligible_runs, rate_labels, split_by_cell

EARLY_COLUMNS = [
    "source",
    "pairs",
    "tokens",
    "fraction",
    "n_seeds",
    "n_pairs",
    "right",
    "share",
    "low",
    "high",
]
CUT_SHORT, SEPARATE = "cut short", "separate"
ALL_PAIRS, DISTINGUISHABLE = "all", "distinguishable"
MOST_PAIRS = 0.95  # of the pairs right: then an order counts as known
POINTS = 50  # budgets at which curves with more probes are read

EQUAL = 1e-9  # nats per token: what is closer is equal, and its order a rounding error

Pairs = list[tuple[str, str]]  # (better, worse) cell
Look = tuple[str, float, pd.DataFrame]  # source, tokens, runs with their dev_loss there


@cached
def early_order(runs: pd.DataFrame) -> pd.DataFrame:
    """The share of pairs of cells that a smaller budget puts into their final order.

    Columns: source ("cut short": the probes of the eligible runs; "separate": completed runs of a
    smaller budget at the learning rate of the cell's eligible runs, on any seeds); pairs ("all", or
    the "distinguishable" ones of the final comparison of all pairs); tokens and their fraction of
    the budget; n_seeds that two cells or more share; n_pairs, how many of them are right, and their
    share with low and high.

    The interval is 95 %, by the jackknife over seeds: the t interval of the shares that are left
    without one seed each, on n_seeds - 1 degrees of freedom (Tukey 1958). The final order is taken
    as given. NaN with one seed, and where every seed gives the same share. A run that is cut short
    has not lowered its learning rate yet.

    No rows without two completed cells. None either of a screening: which runs have an end was then
    decided by the probes.
    """
    nothing = pd.DataFrame(columns=EARLY_COLUMNS)
    eligible = eligible_runs(runs)
    if eligible.cell.nunique() < 2:
        return nothing
    order = {
        ALL_PAIRS: ordered_pairs(adjusted_means(eligible, "dev_loss")),
        DISTINGUISHABLE: distinguishable_pairs(fit(eligible)),
    }
    rows = []
    for source, tokens, early in [*_cut_short(eligible), *_shorter(runs, eligible)]:
        seeds = _shared_seeds(early)
        means = adjusted_means(early, "dev_loss")
        without = [adjusted_means(early[early.seed != seed], "dev_loss") for seed in seeds]
        about = {"source": source, "tokens": tokens, "n_seeds": len(seeds)}
        rows += [
            about | {"pairs": name} | _judge(means, without, pairs) for name, pairs in order.items()
        ]
    table = pd.DataFrame(rows, columns=EARLY_COLUMNS)
    table = table.assign(fraction=table.tokens.astype(float) / eligible.tokens.max())
    return table[table.n_pairs > 0].reset_index(drop=True)


def tokens_until_known(rows: pd.DataFrame) -> float:
    """The fewest tokens from which on MOST_PAIRS of the distinguishable pairs are right.

    `rows` are those of `early_order`, of one source; at all further budgets they are right as well.
    NaN where no pair is distinguishable, or the order is not known at the last of the budgets.
    """
    rows = rows[rows.pairs == DISTINGUISHABLE].sort_values("tokens", ascending=False)
    known = (rows.share >= MOST_PAIRS).cummin()
    return float(rows.tokens[known].min())


def other_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """How well the whole runs of one seed give the order of all other seeds.

    Columns seed, n_pairs, right: what `early_order` finds of separate runs, if they were not
    shorter. No rows with one seed.
    """
    eligible = eligible_runs(runs)
    rows = []
    for seed in _shared_seeds(eligible):
        alone = eligible.seed == seed
        pairs = ordered_pairs(adjusted_means(eligible[~alone], "dev_loss"))
        n_pairs, right = _count(adjusted_means(eligible[alone], "dev_loss"), pairs)
        rows.append({"seed": seed, "n_pairs": n_pairs, "right": right})
    rows = [row for row in rows if row["n_pairs"]]
    return pd.DataFrame(rows, columns=["seed", "n_pairs", "right"])


def ordered_pairs(means: pd.Series) -> Pairs:
    """(better, worse): the pairs of cells whose means differ."""
    means = means.sort_values(kind="stable")
    first, second = np.triu_indices(len(means), 1)
    differ = means.to_numpy()[second] - means.to_numpy()[first] > EQUAL
    return list(zip(means.index[first[differ]], means.index[second[differ]], strict=True))


# ---------------------------------------------------------------- smaller budgets


def _cut_short(eligible: pd.DataFrame) -> Iterator[Look]:
    """(source, tokens, runs with the dev_loss that they had there), at probes all runs reached.

    Between two probes the loss is interpolated.
    """
    eligible = with_curves(eligible)
    curves = [np.asarray(curve, float) for curve in eligible.dev_curve]
    if not curves:
        return
    tokens = min(curves, key=len)[:, 0]
    begin, end = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    tokens = tokens[(tokens >= begin) & (tokens <= end)]
    if len(tokens) > POINTS:
        tokens = tokens[np.linspace(0, len(tokens) - 1, POINTS).round().astype(int)]
    for at in tokens:
        losses = [np.interp(at, *curve.T) for curve in curves]
        yield CUT_SHORT, at, eligible[["cell", "seed"]].assign(dev_loss=losses)


def _shorter(runs: pd.DataFrame, eligible: pd.DataFrame) -> Iterator[Look]:
    """(source, tokens, completed runs) of smaller budgets: the same cells at the same rates.

    Without the budgets at which early stop ended a run.
    """
    others = matching_runs(runs, "tokens")
    others = others[others.tokens < eligible.tokens.min()]
    rate = rate_labels(eligible).groupby(eligible.cell).first()
    for tokens, budget in others.groupby("tokens"):
        cells = split_by_cell(budget)
        named = pd.concat([part.assign(cell=name) for name, part in cells.items()])
        named = named[rate_labels(named) == named.cell.map(rate)]
        if not (named.status == "stopped_early").any():
            yield SEPARATE, tokens, named[(named.status == "completed") & named.dev_loss.notna()]


# ---------------------------------------------------------------- counting


def _judge(means: pd.Series, without: list[pd.Series], pairs: Pairs) -> dict:
    """How many of the pairs these means put into order, and the share with its interval.

    `without` are the means without one seed each.
    """
    n_pairs, right = _count(means, pairs)
    counts = [_count(each, pairs) for each in without]
    share = right / n_pairs if n_pairs else math.nan
    half = jackknife_half([right / n if n else math.nan for n, right in counts])
    return {
        "n_pairs": n_pairs,
        "right": right,
        "share": share,
        "low": float(np.clip(share - half, 0, 1)),
        "high": float(np.clip(share + half, 0, 1)),
    }


def _count(means: pd.Series, pairs: Pairs) -> tuple[int, int]:
    """How many of the pairs have both means, and how many of these are in order."""
    mean = means.to_dict()
    gaps = [mean[worse] - mean[better] for better, worse in pairs if {better, worse} <= mean.keys()]
    return len(gaps), sum(gap > EQUAL for gap in gaps)


def _shared_seeds(runs: pd.DataFrame) -> list[float]:
    """The seeds that two cells or more have: others compare nothing."""
    cells = runs.groupby("seed").cell.nunique()
    return list(cells.index[cells > 1])


def jackknife_half(without_one: list[float]) -> float:
    """Half of the 95 % interval, from the estimates without one seed each.

    Tukey (1958). NaN with fewer than two, or where they are all equal: a variance of zero over a
    few seeds says nothing.

    >>> round(jackknife_half([0.90, 0.92, 0.94]), 3)
    0.099
    """
    n = len(without_one)
    if n < 2 or len(set(without_one)) == 1:
        return math.nan
    error = math.sqrt((n - 1) ** 2 / n * np.var(without_one, ddof=1))
    return float(stats.t.ppf(1 - LEVEL / 2, n - 1) * error)
