"""Charts of shapes, trained or not: where the parameters are, and where a shape lies in the share x GLU plane."""

import altair as alt
import pandas as pd

from ..analyze import Note
from ..labels import WIDTH
from .base import BLUE, INK, SI, needs_runs, titled

GROUPS = {"embed_params": "embedding", "params_attention": "attention", "params_mlp": "MLP", "params_norm": "norm"}


@needs_runs
def allocation_bars(table: pd.DataFrame):
    """Parameters of each cell by group, stacked; the number in a segment is its part of the total (%)."""
    parts = table.melt(["cell", "total_params"], list(GROUPS), "group", "count").dropna()
    if parts.empty:
        return Note("No allocation is recorded yet.")
    end, percent = parts.groupby("cell")["count"].cumsum(), 100 * parts["count"] / parts.total_params
    parts = parts.assign(
        rank=parts.group.map(list(GROUPS).index),
        group=parts.group.map(GROUPS),
        middle=end - parts["count"] / 2,
        word=[f"{value:.0f} %" if value >= 5 else "" for value in percent],
    )
    fills = alt.Scale(domain=list(GROUPS.values()), range=[BLUE, "#F0C460", "#9BD3BE", INK])
    hue = alt.Color("group:N", title=None, scale=fills, legend=alt.Legend(orient="top"))
    y = alt.Y("cell:N", title="requested share × GLU", sort=list(table.cell))
    x = alt.X("count:Q", title="parameters", stack="zero", axis=alt.Axis(labelExpr=SI))
    bars = alt.Chart(parts).mark_bar(stroke="white").encode(x=x, y=y, color=hue, order="rank:O")
    ink = alt.condition(alt.datum.group == "embedding", alt.value("white"), alt.value(INK))
    middle = alt.X("middle:Q", title="parameters")
    words = alt.Chart(parts).mark_text(fontSize=11).encode(x=middle, y=y, text="word:N", color=ink)
    chart = alt.layer(bars, words).properties(width=WIDTH - 40, height=alt.Step(26))
    return titled(chart, "Where do the parameters go?",
                   "Realised parameters of each cell by group; norm weights are too few to see.")
