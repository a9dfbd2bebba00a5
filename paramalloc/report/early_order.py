"""What the report says of how early the order of the cells was known."""

from __future__ import annotations

import pandas as pd

from ..analysis import early_order, other_seeds, tokens_until_known
from ..plots import short_count
from ..runs import Note
from .markup import bullets, plural, span

EARLY = 0.2  # of the budget: where the same runs are looked at, if there are no separate ones


def how_early(runs: pd.DataFrame) -> Note:
    """How many pairs of cells had their final order at a smaller budget; empty if unknown."""
    rows = early_order(runs)
    if rows.empty:
        return Note("")
    cut, separate = rows[rows.source == "cut short"], rows[rows.source == "separate"]
    lines = [_of_all_pairs(cut, separate, other_seeds(runs)), _of_distinguishable(cut, separate)]
    return Note(bullets(lines))


def _of_all_pairs(cut: pd.DataFrame, separate: pd.DataFrame, whole: pd.DataFrame) -> str:
    """The same runs cut short, separate ones, and whole ones on another seed."""
    cut, separate = (rows[rows.pairs == "all"] for rows in (cut, separate))
    sentences = []
    if len(cut):
        at = separate.fraction.max() if len(separate) else EARLY
        row = cut.loc[(cut.fraction - at).abs().idxmin()]
        sentences.append(
            f"At {_percent(row.fraction)} of the tokens, the means of the same runs put {row.right}"
            f" of {row.n_pairs} pairs of cells into their final order ({_share(row)})."
        )
    for row in separate.itertuples():
        sentences.append(
            f"Separate runs of {short_count(row.tokens)} tokens ({_percent(row.fraction)}) put"
            f" {row.right} of {row.n_pairs} into it ({_share(row)})."
        )
    if len(whole):
        sentences.append(
            f"Whole runs of one seed put {span(whole.right)} of {span(whole.n_pairs)} into the"
            " order of the other seeds' means."
        )
    return " ".join(sentences)


def _share(row) -> str:
    """`94 %, 95 % CI over 3 seeds [81 %, 100 %] by the jackknife`."""
    seeds = plural(row.n_seeds, "seed")
    share = _percent(row.share)
    if row.n_seeds < 2:
        return f"{share}, {seeds}: no interval"
    if pd.isna(row.low):
        return f"{share}, the same without any one of {seeds}: no interval"
    ends = f"[{_percent(row.low)}, {_percent(row.high)}]"
    return f"{share}, 95 % CI over {seeds} {ends} by the jackknife"


def _of_distinguishable(cut: pd.DataFrame, separate: pd.DataFrame) -> str:
    """From which budget on the pairs were known that can be told apart in the end."""
    cut, separate = (rows[rows.pairs == "distinguishable"] for rows in (cut, separate))
    if cut.empty and separate.empty:
        return (
            "No pair of cells is distinguishable in the end, so no budget is named from which on"
            " the order was known."
        )
    sentences = []
    if len(cut):
        pairs = f"the {cut.n_pairs.max()} pairs that the comparison of all pairs distinguishes"
        known = cut[cut.tokens == tokens_until_known(cut)]
        text = f"Of {pairs}, fewer than 95 % have their final order at the last probe."
        for row in known.itertuples():
            first = ", the first probe" if row.tokens == cut.tokens.min() else ""
            text = (
                f"Of {pairs}, at least 95 % have their final order from {short_count(row.tokens)}"
                f" tokens on ({_percent(row.fraction)} of the budget{first})."
            )
        sentences.append(text)
    for row in separate.itertuples():
        sentences.append(
            f"Separate runs of {short_count(row.tokens)} tokens have {row.right} of {row.n_pairs}"
            " such pairs right."
        )
    return " ".join(sentences)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
