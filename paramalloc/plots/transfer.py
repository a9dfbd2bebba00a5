"""Charts of transfer: what a step changes in shapes of all sizes, and where the best learning rate lies in each."""

import altair as alt
import pandas as pd

from .base import GREY, SHADES, needs_runs, titled
from .labels import WIDTH

SIZES = {"width": "d_model", "depth": "n_layers"}


def coordinates(found: pd.DataFrame):
    """The change (root mean square, log scale) after 10 steps against the width and the depth: a flat line transfers."""
    keys = ["parametrization", "axis", "what", "d_model", "n_layers"]
    rows = (
        found[found.step == found.step.max()]
        .groupby(keys, as_index=False, sort=False)
        .change.mean()
    )
    rows = rows.assign(size=rows.d_model.where(rows.axis == "width", rows.n_layers))
    names = list(dict.fromkeys(rows.parametrization))
    scale = alt.Scale(domain=names, range=[SHADES[1], SHADES[2]])
    hue = alt.Color("parametrization:N", scale=scale, title=None, legend=alt.Legend(orient="top"))
    panels = [
        _changes(
            rows[(rows.axis == axis) & (rows.what == what)],
            f"{axis} ({size})" if what == "logits" else None,
            what if axis == "width" else None,
            hue,
        )
        for what in ("residual stream", "final hidden state", "logits")
        for axis, size in SIZES.items()
    ]
    chart = alt.concat(*panels, columns=2).resolve_scale(y="independent")
    return titled(
        chart,
        "Does a step change as much in every shape?",
        "Root mean square of the change after 10 steps at one learning rate, logarithmic; a flat line transfers.",
    )


def _changes(rows: pd.DataFrame, x_title: str | None, y_title: str | None, hue: alt.Color):
    """One panel: the changes against the sizes, both logarithmic."""
    scale = alt.Scale(type="log", nice=False, padding=8)
    x = alt.X(
        "size:Q", scale=scale, title=x_title, axis=alt.Axis(values=sorted(rows["size"].unique()))
    )
    line = (
        alt.Chart(rows)
        .mark_line(point=True)
        .encode(
            x,
            alt.Y("change:Q", scale=scale, title=y_title),
            hue,
            shape=alt.Shape("parametrization:N", legend=None),
        )
    )
    return line.properties(width=(WIDTH - 40) // 2, height=130)


@needs_runs
def best_rates(runs: pd.DataFrame, found: pd.DataFrame):
    """Dev loss against learning rate (log scale), a line for each shape; `found` (transfer.optima) marks each line's lowest point."""
    done = runs[(runs.status == "completed") & runs.dev_loss.notna()]
    means = done.groupby(
        ["parametrization", "d_model", "n_layers", "lr"], as_index=False
    ).dev_loss.mean()
    shape = lambda frame: [f"{d:.0f} × {n:.0f}" for d, n in zip(frame.d_model, frame.n_layers)]
    means, marks = means.assign(shape=shape(means)), found.assign(shape=shape(found))
    panels = [
        _panel(means, marks, axis, name)
        for name in sorted(means.parametrization.unique(), reverse=True)
        for axis in SIZES
    ]
    return titled(
        alt.concat(*panels, columns=2).resolve_scale(color="independent"),
        "Where is the best learning rate of each shape?",
        "Dev loss against learning rate, a line for each d_model × n_layers. Diamonds: the lowest point of each line.",
    )


def _panel(means: pd.DataFrame, marks: pd.DataFrame, axis: str, name: str):
    own = means[means.parametrization == name]
    other = SIZES["depth" if axis == "width" else "width"]
    own = own[own[other] == own.groupby("lr")[other].transform("median").median()]
    here = marks[(marks.parametrization == name) & marks["shape"].isin(own["shape"])]
    order = list(own.sort_values(SIZES[axis])["shape"].drop_duplicates())
    hue = alt.Color(
        "shape:N",
        title=None,
        scale=alt.Scale(domain=order, range=SHADES[:2] + SHADES[3:]),
        legend=alt.Legend(orient="bottom"),
    )
    x = alt.X(
        "lr:Q",
        scale=alt.Scale(type="log", nice=False, padding=8),
        title="lr",
        axis=alt.Axis(format="~e", values=sorted(own.lr.unique())),
    )
    y = alt.Y(
        "dev_loss:Q",
        scale=alt.Scale(zero=False),
        title="dev loss (nats per token)" if axis == "width" else None,
    )
    line = alt.Chart(own).mark_line(point={"size": 18}).encode(x=x, y=y, color=hue)
    low = (
        alt.Chart(here)
        .mark_point(shape="diamond", filled=True, size=110, opacity=1)
        .encode(x=alt.X("best_lr:Q"), y=alt.Y("best_loss:Q"), color=hue)
    )
    title = alt.Title(f"{name}, by {axis}", fontSize=12, color=GREY, anchor="middle", offset=4)
    return (
        alt.layer(line, low)
        .properties(width=(WIDTH - 60) // 2, height=190, title=title)
        .resolve_scale(color="shared")
    )
