"""Charts of one run and of its text: the loss as it falls, and how often tokens occur."""

import altair as alt
import numpy as np
import pandas as pd

from .base import BLUE, SI, needs_runs, titled
from .labels import WIDTH


@needs_runs
def loss_curve(metrics: pd.DataFrame):
    """Training loss (line) and dev probes (points), both in nats per token, against training tokens."""
    x = alt.X("tokens:Q", title="training tokens", axis=alt.Axis(labelExpr=SI))
    kinds = alt.Scale(domain=["training batch", "dev probe"], range=["#8CB8D8", "#B34700"])
    y_title, scale = "loss (nats per token)", alt.Scale(zero=False)
    batches = metrics[["tokens", "train_loss"]].dropna().assign(kind="training batch")
    probes = metrics[["tokens", "dev_loss"]].dropna().assign(kind="dev probe")
    hue = alt.Color(
        "kind:N", title=None, scale=kinds, legend=alt.Legend(orient="top", symbolType="circle")
    )
    line = alt.Chart(batches).mark_line(strokeWidth=1.2)
    line = line.encode(x=x, y=alt.Y("train_loss:Q", title=y_title, scale=scale), color=hue)
    dots = alt.Chart(probes).mark_line(point={"size": 45, "opacity": 1}, strokeWidth=1)
    dots = dots.encode(x=x, y=alt.Y("dev_loss:Q", title=y_title, scale=scale), color=hue)
    return titled(
        alt.layer(line, dots).properties(width=WIDTH),
        "Is it learning?",
        "Loss of each training batch, and of the fixed dev probe; lower is better.",
    )


@needs_runs
def zipf(counts: pd.DataFrame):
    """How often a token occurs against its rank, both logarithmic: a straight line is Zipf's law."""
    log = {"scale": alt.Scale(type="log", nice=False), "axis": alt.Axis(format="~s", tickCount=6)}
    x = alt.X("rank:Q", title="rank of the token (1 is the most frequent)", **log)
    y = alt.Y("count:Q", title="occurrences in the training text", **log)
    seen = counts[counts["count"] > 0]  # an unused token has no place on a logarithmic axis
    picks = (
        np.unique(np.geomspace(1, len(seen), 400).astype(int)) - 1
    )  # 400 points draw the same line as 16,000
    chart = (
        alt.Chart(seen.iloc[picks])
        .mark_line(color=BLUE, strokeWidth=2)
        .encode(x=x, y=y)
        .properties(width=WIDTH)
    )
    return titled(
        chart,
        "How are the tokens used?",
        "Occurrences of each token by rank; the slope shows how many tokens are rare.",
    )
