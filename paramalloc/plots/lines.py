"""Points with 95 % confidence intervals, joined by lines: what effects and arms are drawn with."""

from __future__ import annotations

import altair as alt
import pandas as pd

from .base import colour_and_shape, single_out
from .labels import WIDTH
from .theme import BLUE, SHADES


def interval_lines(
    rows: pd.DataFrame, tips: list, x: alt.X, y: alt.Y, by: str, by_title: str | None
) -> alt.LayerChart:
    """A line for each value of `by`, through points with intervals (columns `low`, `high`).

    Points of one x stand side by side, so that all intervals are seen; the tooltips tell the true
    x.
    """
    order = list(dict.fromkeys(rows[by]))
    x_field = x.to_dict()["field"]
    y_field = y.to_dict()["field"]
    colours = SHADES if len(order) > 1 else [BLUE]
    selection, dimmed = single_out(f"{by}_pick", by)
    hue, shape = colour_and_shape(by, order, colours, title=by_title)
    side = rows[by].map(order.index) - (len(order) - 1) / 2
    spread = rows.assign(**{x_field: rows[x_field] * (1 + 0.006 * side)})
    base = alt.Chart(spread).encode(x=x, tooltip=tips, color=hue, **dimmed)
    y = y.scale(interval_scale(rows, y_field))
    layers = [base.mark_line(strokeWidth=1.6, tooltip=None).encode(y=y)]
    if rows.low.notna().any():
        low = alt.Y("low:Q", title=y.to_dict()["title"])
        spans = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.4)
        layers.append(spans.encode(y=low, y2="high"))
    points = base.mark_point(filled=True, size=75).encode(y=y, shape=shape)
    layers.append(points.add_params(selection))
    return alt.layer(*layers).properties(width=WIDTH, height=300)


def interval_scale(rows: pd.DataFrame, *columns: str) -> alt.Scale:
    """A scale that holds all of these columns and the ends of all intervals."""
    values = rows[[*columns, "low", "high"]].astype(float)
    return alt.Scale(domain=[values.min(axis=None), values.max(axis=None)], nice=True, zero=False)


def padded_scale(kind: str = "linear") -> alt.Scale:
    """A linear or log scale from the lowest value to the highest, with room at both ends."""
    if kind == "linear":
        return alt.Scale(type=kind, padding=20, nice=False, zero=False)
    return alt.Scale(type=kind, padding=20, nice=False)
