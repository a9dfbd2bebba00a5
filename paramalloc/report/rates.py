"""What the report says of learning rates: among which they were chosen, or what others would have gained."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..analysis import by_chance, cells_table, completed_cells, eligible_runs, rate_check
from ..plots import short_count


def chosen(runs: pd.DataFrame) -> str:
    """Among which learning rates each cell's is the best, if all tried several at the claims' budget."""
    if not tuned(runs):
        return ""
    check = rate_check(runs)
    return f" Each cell's is the best of those that it tried on seed {_all(check.seeds)}, which no mean holds: {_all(check.tried)}."


def tuned(runs: pd.DataFrame) -> bool:
    """Whether every cell's claim is at the best of the rates that it tried at the claim's budget."""
    done, check = completed_cells(cells_table(runs)), rate_check(runs)
    check = check[check.tokens.isin(done.tokens)]
    return bool(set(done.cell) <= set(check.cell) and (check.gain == 0).all())


def rates_checked(runs: pd.DataFrame, found) -> list[str]:
    """What other learning rates gained on tuning seeds, a sentence or two per budget: part of a difference may be the rate's doing."""
    if tuned(runs):
        return []
    cells = eligible_runs(runs).cell.nunique()
    return [
        f"Was the learning rate fair? {len(check)} of {cells} {'cell' if cells == 1 else 'cells'} tried {_between(check.tried.map(len))} rates at {short_count(tokens)} "
        f"tokens a run (rows of `tokens` {tokens:.0f} and `seed` {_all(check.seeds)}{_precisions(check, runs)}): the best was lower than the claim's by "
        f"{check.gain.mean():.4f} nats in the mean and {check.gain.max():.4f} at most ({check.cell[check.gain.idxmax()]}){_chance(check, found)}."
        f"{_by_share(check, found)}"
        for tokens, check in rate_check(runs).groupby("tokens")
    ]


def _precisions(check: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Where rates were not all tried in the claims' precision."""
    tried = _all(check.precisions)
    return (
        ""
        if tried == ", ".join(sorted(eligible_runs(runs).precision.dropna().unique()))
        else f", in {tried}"
    )


def _by_share(check: pd.DataFrame, found) -> str:
    """What tilts a comparison of shares is not the gain but its difference between them, which single runs tell badly."""
    gains = check.groupby("requested_share").gain.agg(["mean", "count"])
    if len(gains) < 2:
        return ""
    each = ", ".join(
        f"{mean:.4f} at {100 * share:g} % ({count:.0f} {'cell' if count == 1 else 'cells'})"
        for share, mean, count in gains.itertuples()
    )
    ends = gains.loc[[gains["mean"].idxmin(), gains["mean"].idxmax()]]
    error = found and found.sigma * np.sqrt(
        2 / check.seeds.map(len).min() * (1 / ends["count"]).sum()
    )
    return (
        f" By share: {each}; the farthest lie {ends['mean'].iloc[1] - ends['mean'].iloc[0]:.4f} apart, as much as a rate of each cell's own would move them against "
        f"each other there{f', with a standard error of about {error:.4f}' if error else ''}."
    )


def _chance(check: pd.DataFrame, found) -> str:
    if found is None:
        return ""
    mean, most = by_chance(check, found.sigma)
    return f"; equal rates would give {mean:.4f} and {most:.4f} by chance, if runs of one cell and seed scatter as those of two cells do"


def _all(values: pd.Series) -> str:
    """Every value of these tuples."""
    return ", ".join(
        value if isinstance(value, str) else f"{value:g}" for value in sorted(set().union(*values))
    )


def _between(counts: pd.Series) -> str:
    return (
        f"{counts.min():.0f}"
        if counts.nunique() == 1
        else f"{counts.min():.0f} to {counts.max():.0f}"
    )
