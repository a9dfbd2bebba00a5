"""Charts of transfer: what a step changes, and the best learning rate, in shapes of all sizes."""

from __future__ import annotations

import altair as alt
import pandas as pd

from .base import needs_runs, titled
from .labels import WIDTH
from .theme import GREY, SHADES

AXIS_COLUMNS = {"width": "d_model", "depth": "n_layers"}
PLACES = ["residual stream", "final hidden state", "logits"]


def coordinates(changes: pd.DataFrame):
    """The change (root mean square) after 10 steps against width and depth, both logarithmic.

    A flat line transfers. `changes` are the rows of the coordinate check.
    """
    rows = _last_changes(changes)
    names = list(dict.fromkeys(rows.parametrization))
    scale = alt.Scale(domain=names, range=[SHADES[1], SHADES[2]])
    hue = alt.Color("parametrization:N", scale=scale, title=None, legend=alt.Legend(orient="top"))
    panels = []
    for place in PLACES:
        for axis, column in AXIS_COLUMNS.items():
            here = rows[(rows.axis == axis) & (rows.what == place)]
            # Titles stand at the left and at the bottom of the panels alone.
            x_title = f"{axis} ({column})" if place == "logits" else None
            y_title = place if axis == "width" else None
            panels.append(_change_panel(here, x_title, y_title, hue))
    return titled(
        alt.concat(*panels, columns=2).resolve_scale(y="independent"),
        "Does a step change as much in every shape?",
        "Root mean square of the change after 10 steps at one learning rate, logarithmic;"
        " a flat line transfers.",
    )


def _last_changes(changes: pd.DataFrame) -> pd.DataFrame:
    """The mean change at the last step of each shape and place, with its size on its axis."""
    keys = ["parametrization", "axis", "what", "d_model", "n_layers"]
    last = changes[changes.step == changes.step.max()]
    rows = last.groupby(keys, as_index=False, sort=False).change.mean()
    return rows.assign(size=rows.d_model.where(rows.axis == "width", rows.n_layers))


def _change_panel(rows: pd.DataFrame, x_title: str | None, y_title: str | None, hue: alt.Color):
    """The changes against the sizes."""
    scale = alt.Scale(type="log", nice=False, padding=8)
    sizes = alt.Axis(values=sorted(rows["size"].unique()))
    lines = alt.Chart(rows).mark_line(point=True)
    lines = lines.encode(
        x=alt.X("size:Q", scale=scale, title=x_title, axis=sizes),
        y=alt.Y("change:Q", scale=scale, title=y_title),
        color=hue,
        shape=alt.Shape("parametrization:N", legend=None),
    )
    return lines.properties(width=(WIDTH - 40) // 2, height=130)


@needs_runs
def best_rates(runs: pd.DataFrame, optima: pd.DataFrame):
    """Dev loss against learning rate (log scale), a line for each shape.

    `optima` (of `analysis.optima`) mark each line's lowest point.
    """
    finished = runs[(runs.status == "completed") & runs.dev_loss.notna()]
    keys = ["parametrization", "d_model", "n_layers", "lr"]
    means = finished.groupby(keys, as_index=False).dev_loss.mean()
    means = means.assign(shape=_shape_names(means))
    optima = optima.assign(shape=_shape_names(optima))
    panels = []
    for name in sorted(means.parametrization.unique(), reverse=True):
        for axis in AXIS_COLUMNS:
            panels.append(_rate_panel(means, optima, axis, name))
    return titled(
        alt.concat(*panels, columns=2).resolve_scale(color="independent"),
        "Where is the best learning rate of each shape?",
        "Dev loss against learning rate, a line for each d_model × n_layers."
        " Diamonds: the lowest point of each line.",
    )


def _shape_names(rows: pd.DataFrame) -> list[str]:
    sizes = zip(rows.d_model, rows.n_layers, strict=True)
    return [f"{d_model:.0f} × {n_layers:.0f}" for d_model, n_layers in sizes]


def _rate_panel(means: pd.DataFrame, optima: pd.DataFrame, axis: str, name: str):
    """The shapes of one parametrization along one axis, the other at the middle of its sizes."""
    rows = means[means.parametrization == name]
    other = AXIS_COLUMNS["depth" if axis == "width" else "width"]
    rows = rows[rows[other] == rows.groupby("lr")[other].transform("median").median()]
    lowest = optima[(optima.parametrization == name) & optima["shape"].isin(rows["shape"])]
    order = list(rows.sort_values(AXIS_COLUMNS[axis])["shape"].drop_duplicates())
    scale = alt.Scale(domain=order, range=SHADES[:2] + SHADES[3:])
    hue = alt.Color("shape:N", title=None, scale=scale, legend=alt.Legend(orient="bottom"))
    x = alt.X(
        "lr:Q",
        scale=alt.Scale(type="log", nice=False, padding=8),
        title="lr",
        axis=alt.Axis(format="~e", values=sorted(rows.lr.unique())),
    )
    y_title = "dev loss (nats per token)" if axis == "width" else None
    y = alt.Y("dev_loss:Q", scale=alt.Scale(zero=False), title=y_title)
    lines = alt.Chart(rows).mark_line(point={"size": 18}).encode(x=x, y=y, color=hue)
    diamonds = alt.Chart(lowest).mark_point(shape="diamond", filled=True, size=110, opacity=1)
    diamonds = diamonds.encode(x=alt.X("best_lr:Q"), y=alt.Y("best_loss:Q"), color=hue)
    title = alt.Title(f"{name}, by {axis}", fontSize=12, color=GREY, anchor="middle", offset=4)
    chart = alt.layer(lines, diamonds).resolve_scale(color="shared")
    return chart.properties(width=(WIDTH - 60) // 2, height=190, title=title)
