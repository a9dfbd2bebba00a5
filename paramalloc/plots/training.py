"""Charts of one run and of its text: the loss as it falls, and how often tokens occur."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from .base import needs_runs, thin_rows, titled
from .labels import WIDTH
from .theme import BLUE, SI

LINE_POINTS = 2000  # points of a line: more than the pixels of a chart


@needs_runs
def loss_curve(metrics: pd.DataFrame):
    """Training loss (line) and dev probes (points), both in nats per token, against tokens."""
    batches = thin_rows(metrics[["tokens", "train_loss"]].dropna(), LINE_POINTS)
    probes = thin_rows(metrics[["tokens", "dev_loss"]].dropna(), LINE_POINTS)
    batches = batches.assign(kind="training batch")
    probes = probes.assign(kind="dev probe")
    line = alt.Chart(batches).mark_line(strokeWidth=1.2)
    dots = alt.Chart(probes).mark_line(point={"size": 45, "opacity": 1}, strokeWidth=1)
    layers = [_against_tokens(line, "train_loss"), _against_tokens(dots, "dev_loss")]
    return titled(
        alt.layer(*layers).properties(width=WIDTH),
        "Is it learning?",
        "Loss of each training batch, and of the fixed dev probe; lower is better.",
    )


def _against_tokens(chart: alt.Chart, loss: str) -> alt.Chart:
    kinds = alt.Scale(domain=["training batch", "dev probe"], range=["#8CB8D8", "#B34700"])
    legend = alt.Legend(orient="top", symbolType="circle")
    return chart.encode(
        x=alt.X("tokens:Q", title="training tokens", axis=alt.Axis(labelExpr=SI)),
        y=alt.Y(f"{loss}:Q", title="loss (nats per token)", scale=alt.Scale(zero=False)),
        color=alt.Color("kind:N", title=None, scale=kinds, legend=legend),
    )


@needs_runs
def zipf(counts: pd.DataFrame):
    """How often a token occurs against its rank, both logarithmic: Zipf's law is a line."""
    log = {"scale": alt.Scale(type="log", nice=False), "axis": alt.Axis(format="~s", tickCount=6)}
    x = alt.X("rank:Q", title="rank of the token (1 is the most frequent)", **log)
    y = alt.Y("count:Q", title="occurrences in the training text", **log)
    used = counts[counts["count"] > 0]  # an unused token has no place on a logarithmic axis
    # 400 points draw the same line as 16,000.
    picks = np.unique(np.geomspace(1, len(used), 400).astype(int)) - 1
    chart = alt.Chart(used.iloc[picks]).mark_line(color=BLUE, strokeWidth=2)
    return titled(
        chart.encode(x=x, y=y).properties(width=WIDTH),
        "How are the tokens used?",
        "Occurrences of each token by rank; the slope shows how many tokens are rare.",
    )
