"""What the report says of learning rates: how they were chosen, what others would have gained."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..analysis import (
    Noise,
    by_chance,
    cells_table,
    completed_cells,
    eligible_runs,
    rate_check,
)
from ..plots import short_count
from .markup import plural, span


def describe_choice(runs: pd.DataFrame) -> str:
    """Among which rates each cell's is the best, if all tried several at the budget of the grid."""
    if not is_tuned(runs):
        return ""
    check = rate_check(runs)
    return (
        f" Each cell's is the best of those that it tried on seed {name_union(check.seeds)},"
        f" which no mean includes: {name_union(check.tried)}."
    )


def is_tuned(runs: pd.DataFrame) -> bool:
    """Whether every cell has the best of the rates that it tried at the budget of the grid."""
    done = completed_cells(cells_table(runs))
    check = rate_check(runs)
    check = check[check.tokens.isin(done.tokens)]
    return bool(set(done.cell) <= set(check.cell) and (check.gain == 0).all())


def rates_checked(runs: pd.DataFrame, noise: Noise | None) -> list[str]:
    """What other rates gained on tuning seeds, a paragraph per budget.

    Part of a difference between cells may come from the rate.
    """
    if is_tuned(runs):
        return []
    return [
        _budget_paragraph(tokens, check, runs, noise)
        for tokens, check in rate_check(runs).groupby("tokens")
    ]


def _budget_paragraph(
    tokens: float, check: pd.DataFrame, runs: pd.DataFrame, noise: Noise | None
) -> str:
    cells = plural(eligible_runs(runs).cell.nunique(), "cell")
    rows = f"rows of `tokens` {tokens:.0f} and `seed` {name_union(check.seeds)}"
    most = check.gain.idxmax()
    sentences = [
        f"Was the learning rate fair? {len(check)} of {cells} tried {span(check.tried.map(len))}"
        f" rates at {short_count(tokens)} tokens a run ({rows}{_other_precisions(check, runs)}).",
        f"The best rate gained {check.gain.mean():.4f} nats over the grid's, averaged over cells,"
        f" and {check.gain.max():.4f} at most ({check.cell[most]}).",
        _chance_sentence(check, noise),
        _share_sentences(check, noise),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _other_precisions(check: pd.DataFrame, runs: pd.DataFrame) -> str:
    """The precisions of the check where they are not those of the grid."""
    tried = name_union(check.precisions)
    used = ", ".join(sorted(eligible_runs(runs).precision.dropna().unique()))
    return "" if tried == used else f", in {tried}"


def _chance_sentence(check: pd.DataFrame, noise: Noise | None) -> str:
    if noise is None:
        return ""
    mean, most = by_chance(check, noise.sigma)
    return (
        f"Equally good rates would give {mean:.4f} and {most:.4f} by chance, if runs of one cell at"
        " several rates scatter as runs of different cells on one seed do."
    )


def _share_sentences(check: pd.DataFrame, noise: Noise | None) -> str:
    """Not the gain but its difference between shares biases a comparison of shares."""
    gains = check.groupby("requested_share").gain.agg(["mean", "count"])
    if len(gains) < 2:
        return ""
    by_share = [
        f"{mean:.4f} at {100 * share:g} % ({plural(count, 'cell')})"
        for share, mean, count in gains.itertuples()
    ]
    ends = gains.loc[[gains["mean"].idxmin(), gains["mean"].idxmax()]]
    difference = ends["mean"].iloc[1] - ends["mean"].iloc[0]
    error = ""
    if noise:
        n_runs = check.seeds.map(len).min()
        error = noise.sigma * np.sqrt(2 / n_runs * (1 / ends["count"]).sum())
        error = f" (standard error about {error:.4f})"
    return (
        f"By share: {', '.join(by_share)}. These differ by {difference:.4f} at most{error}. At"
        f" {short_count(check.tokens.iloc[0])} tokens, tuned rates would move the shares by at most"
        " about that much."
    )


def name_union(values: pd.Series) -> str:
    """Every value of these tuples."""
    union = sorted(set().union(*values))
    return ", ".join(value if isinstance(value, str) else f"{value:g}" for value in union)
