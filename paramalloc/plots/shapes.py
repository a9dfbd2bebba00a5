"""Where the parameters of each shape are: stacked bars by group."""

from __future__ import annotations

import altair as alt
import pandas as pd

from ..analysis import cells_table
from ..runs import Note
from .base import describe_rows, needs_runs, single_out, titled
from .labels import WIDTH
from .theme import BLUE, GROUND, INK, ON_HEAT, SI

AMBER, GREEN, ON_PALE = "#F0C460", "#9BD3BE", "#212121"  # the same on any ground
GROUPS = {
    "embed_params": "embedding",
    "params_attention": "attention",
    "params_mlp": "MLP",
    "params_norm": "norm",
}
FILLS = [BLUE, AMBER, GREEN, INK]


@needs_runs
def allocation_bars(runs: pd.DataFrame):
    """Parameters of each cell by group, stacked.

    The number in a segment is its part of the total (%).
    """
    cells = cells_table(runs)
    parts = parts_by_group(cells)
    if parts.empty:
        return Note("No allocation is recorded yet.")
    parts, tips, _ = describe_rows(
        parts,
        {
            "cell": "{cell}",
            "group": "{group}",
            "parameters": "{count:,.0f}",
            "of the total": "{percent:.1f} %",
        },
    )
    counts = {"cell": "{cell}", "total": "{total_params:,.0f}"}
    counts |= {group: f"{{{column}:,.0f}}" for column, group in GROUPS.items()}
    _, _, table = describe_rows(cells, counts)
    selection, dimmed = single_out("group_pick", "group")
    bars, words = bar_layers(parts, list(cells.cell), "requested share × GLU")
    bars = bars.encode(tooltip=tips, **dimmed).add_params(selection)
    return titled(
        stack_bars(bars, words, len(cells)),
        "Where do the parameters go?",
        "Realised parameters of each cell by group; norm weights are too few to see.",
        table,
    )


def parts_by_group(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each cell and group: its count, its segment's middle, its percentage as a word."""
    parts = cells.melt(["cell", "total_params"], list(GROUPS), "group", "count").dropna()
    end = parts.groupby("cell")["count"].cumsum()
    percent = 100 * parts["count"] / parts.total_params
    return parts.assign(
        rank=parts.group.map(list(GROUPS).index),
        group=parts.group.map(GROUPS),
        middle=end - parts["count"] / 2,
        percent=percent,
        word=[f"{value:.0f} %" if value >= 5 else "" for value in percent],
    )


def bar_layers(parts: pd.DataFrame | alt.NamedData, order: list[str], y_title: str | None):
    """The segments of a bar per cell, and the percentages in them."""
    fills = alt.Scale(domain=list(GROUPS.values()), range=FILLS)
    hue = alt.Color("group:N", title=None, scale=fills, legend=alt.Legend(orient="top"))
    y = alt.Y("cell:N", title=y_title, sort=order)
    x = alt.X("count:Q", title="parameters", stack="zero", axis=alt.Axis(labelExpr=SI))
    bars = alt.Chart(parts).mark_bar(stroke=GROUND).encode(x=x, y=y, color=hue, order="rank:O")
    ink = alt.condition(alt.datum.group == "embedding", alt.value(ON_HEAT), alt.value(ON_PALE))
    middle = alt.X("middle:Q", title="parameters")
    words = alt.Chart(parts).mark_text(fontSize=11, tooltip=None)
    return bars, words.encode(x=middle, y=y, text="word:N", color=ink)


def stack_bars(bars: alt.Chart, words: alt.Chart, n_cells: int) -> alt.LayerChart:
    return alt.layer(bars, words).properties(width=WIDTH - 40, height=26 * n_cells)
