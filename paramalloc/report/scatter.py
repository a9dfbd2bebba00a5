"""Whether cells scatter equally: tables of standard deviations, and a test in a sentence."""

from __future__ import annotations

import pandas as pd

from ..analysis import LEVEL, equal_scatter_p, scatter_table
from ..analysis.wording import join_words, p_value, percent
from ..plots import format_rows
from ..runs import Note
from .markup import Table

NO_SCATTER = "No seed repeats in two cells, so how far runs scatter is not known."
OF_SHARES = {
    "share": "{share}",
    "runs": "{n_runs:.0f}",
    "standard deviation (nats/token)": "{sd:.4f}",
    "used for intervals": "{sd_used:.4f}",
}
OF_CELLS = {"cell": "{cell}"} | {name: form for name, form in OF_SHARES.items() if name != "share"}


def scatter_by_share(runs: pd.DataFrame) -> Table | Note:
    """Run-to-run standard deviations by share, with the p value of their equality."""
    table = scatter_table(runs)
    rows = table[table.cell.isna()].dropna(subset="requested_share")
    if rows.empty:
        return Note(NO_SCATTER)
    rows = rows.assign(share=rows.requested_share.map(percent))
    return Table(_texts(rows, OF_SHARES), "How far the runs of each share scatter")


def scatter_by_cell(runs: pd.DataFrame) -> Table | Note:
    """The same by cell."""
    table = scatter_table(runs)
    rows = table[table.cell.notna()]
    if rows.empty:
        return Note(NO_SCATTER)
    return Table(_texts(rows, OF_CELLS), "How far the runs of each cell scatter")


def _texts(rows: pd.DataFrame, forms: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame({heading: format_rows(rows, form) for heading, form in forms.items()})


def scatter_tested(runs: pd.DataFrame) -> str:
    """Whether the shares scatter equally, in a sentence; where they do not, how far each does."""
    p = equal_scatter_p(runs)
    if pd.isna(p):
        return ""
    test = f"Brown-Forsythe test of the shares, {p_value(p)}"
    if p >= LEVEL:
        return f"No share is known to scatter more than another ({test})."
    table = scatter_table(runs)
    rows = table[table.cell.isna()].dropna(subset="requested_share")
    shares = zip(rows.requested_share, rows.sd, strict=True)
    parts = [f"{sd:.4f} at {percent(share)}" for share, sd in shares]
    return (
        f"Runs do not scatter equally: the standard deviation is {join_words(parts)} ({test})."
        " Each interval uses the variances of its cells."
    )
