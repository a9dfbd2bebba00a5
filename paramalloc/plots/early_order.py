"""How many pairs of cells have their final order at smaller budgets."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import early_order, is_screening, other_seeds
from ..runs import Note
from .base import colour_and_shape, describe_rows, needs_runs, single_out, thin_rows, titled
from .labels import WIDTH
from .theme import BLUE, DOTS, GREY, INK, PERCENT, SHADES

SERIES = {"all": "all pairs", "distinguishable": "distinguishable in the end"}
SOURCES = {"cut short": "the same runs, cut short", "separate": "separate shorter runs"}
NUMBERS = {
    "runs": "{runs}",
    "tokens": "{tokens:,.0f}",
    "of the budget": "{percent:.0f} %",
    "pairs": "{series}",
    "in final order": "{right:.0f} of {n_pairs:.0f}",
    "share": "{share_percent:.0f} %",
    "95 % CI over seeds": "[{low_percent:.0f} %, {high_percent:.0f} %]",
    "seeds": "{n_seeds:.0f}",
}
Y_TITLE = "pairs in their final order"
TABLED = 10  # budgets of the table; the chart draws all


@needs_runs
def order_by_budget(runs: pd.DataFrame):
    """The share of pairs in their final order against the fraction of the budget."""
    rows = early_order(runs)
    if rows.empty:
        return Note(_no_order(runs))
    rows = rows.assign(
        series=rows.pairs.map(SERIES),
        runs=rows.source.map(SOURCES),
        percent=100 * rows.fraction,
        share_percent=100 * rows.share,
        low_percent=100 * rows.low,
        high_percent=100 * rows.high,
    )
    drawn, tips, _ = describe_rows(rows, NUMBERS)
    _, _, table = describe_rows(_tabled(rows), NUMBERS)
    whole = other_seeds(runs)
    return titled(
        _order_chart(drawn, tips, whole),
        "Do shorter runs order the cells as whole ones do?",
        [
            "Pairs of cells whose mean losses have their final order, at each fraction of the"
            " budget.",
            "Lines: the same runs, cut short; diamonds: separate shorter runs. Bands: 95 % CI over"
            " seeds (jackknife).",
            *_about_whole_runs(whole),
        ],
        table,
    )


# ---------------------------------------------------------------- data and words


def _no_order(runs: pd.DataFrame) -> str:
    """Why there is no chart."""
    if is_screening(runs):
        return (
            "How early the order was known is not said: early stop ended runs by their probes, so"
            " the final losses of the others cannot judge these."
        )
    return (
        "How early the order was known needs two completed cells with probes, or with shorter runs:"
        " there are none yet."
    )


def _tabled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the table: of the runs cut short only some budgets."""
    cut = rows[rows.source == "cut short"]
    tokens = thin_rows(cut[["tokens"]].drop_duplicates(), TABLED).tokens
    return rows[rows.tokens.isin(tokens) | (rows.source != "cut short")]


def _about_whole_runs(whole: pd.DataFrame) -> list[str]:
    if whole.empty:
        return []
    return ["Dotted: whole runs of one seed against the means of the other seeds (mean of all)."]


# ---------------------------------------------------------------- drawing


def _order_chart(rows: pd.DataFrame, tips: list, whole: pd.DataFrame):
    level = (whole.right / whole.n_pairs).mean()  # of whole runs on another seed
    lowest = np.nanmin([*rows.share, *rows.low, level])
    scale = alt.Scale(domain=[np.floor(10 * lowest) / 10, 1], nice=False)
    y = alt.Y("share:Q", title=Y_TITLE, scale=scale, axis=alt.Axis(labelExpr=PERCENT))
    low = alt.Y("low:Q", title=Y_TITLE, scale=scale)
    x = alt.X(
        "fraction:Q",
        title="fraction of the training tokens",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(labelExpr=PERCENT, grid=False),
    )
    order = [name for name in SERIES.values() if name in set(rows.series)]
    selection, dimmed = single_out("pairs_pick", "series")
    hue, shape = colour_and_shape("series", order, [BLUE, SHADES[1]])
    base = alt.Chart(rows).encode(x=x, color=hue, tooltip=tips)
    cut = base.transform_filter(alt.datum.source == "cut short")
    separate = base.transform_filter(alt.datum.source == "separate")
    layers = [
        *_cut_layers(cut, y, low, shape, dimmed),
        *_separate_layers(separate, y, low, dimmed),
        *_whole_layers(level, x, y),
    ]
    layers[1] = layers[1].add_params(selection)
    return alt.layer(*layers).properties(width=WIDTH, height=320)


def _cut_layers(base: alt.Chart, y: alt.Y, low: alt.Y, shape: alt.Shape, dimmed: dict) -> list:
    """The lines of the runs cut short, with a band where seeds tell one."""
    bands = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.15, tooltip=None)
    lines = base.mark_line(strokeWidth=1.8, tooltip=None)
    points = base.mark_point(filled=True, size=30)
    return [
        bands.encode(y=low, y2="high"),
        lines.encode(y=y, **dimmed),
        points.encode(y=y, shape=shape, **dimmed),
    ]


def _separate_layers(base: alt.Chart, y: alt.Y, low: alt.Y, dimmed: dict) -> list:
    """The diamonds of separate runs, with an interval where seeds tell one, and a word."""
    spans = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.4)
    points = base.mark_point(filled=True, size=140, shape="diamond", stroke=INK, strokeWidth=1)
    words = base.transform_filter(alt.datum.pairs == "all")
    words = words.mark_text(align="left", dx=11, fontSize=11)
    return [
        spans.encode(y=low, y2="high", **dimmed),
        points.encode(y=y, **dimmed),
        words.encode(y=y, text="runs:N", color=alt.value(INK)),
    ]


def _whole_layers(level: float, x: alt.X, y: alt.Y) -> list:
    """The share that whole runs on another seed reach; nothing with one seed."""
    if np.isnan(level):
        return []
    rule = pd.DataFrame({"fraction": 1.0, "share": [level], "word": "whole runs of another seed"})
    base = alt.Chart(rule).encode(y=y)
    word = base.mark_text(align="right", dy=10, fontSize=11, color=GREY)
    return [
        base.mark_rule(color=GREY, strokeDash=DOTS),
        word.encode(x=x, text="word:N"),
    ]
