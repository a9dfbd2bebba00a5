"""How many pairs of cells have their final order at smaller budgets."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import early_order, other_seeds
from ..runs import Note
from .base import (
    colour_and_shape,
    compares,
    describe_rows,
    needs_runs,
    single_out,
    thin_rows,
    titled,
)
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
NO_ORDER = (
    "How early the order was known needs two completed cells with probes, or with shorter runs:"
    " there are none yet."
)
TABLED = 10  # budgets of the table; the chart draws all


@needs_runs
@compares
def order_by_budget(runs: pd.DataFrame):
    """The share of pairs in their final order against the fraction of the budget."""
    rows = early_order(runs)
    if rows.empty:
        return Note(NO_ORDER)
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
    ends = {"y": alt.Y("low:Q", title=Y_TITLE, scale=scale), "y2": "high"}
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
    layers = [
        *_cut_layers(base, rows, y, ends, shape, dimmed),
        *_separate_layers(base, rows, y, ends, dimmed),
        *_whole_layers(level, x, y),
    ]
    return alt.layer(*layers).add_params(selection).properties(width=WIDTH, height=320)


def _cut_layers(
    base: alt.Chart, rows: pd.DataFrame, y: alt.Y, ends: dict, shape: alt.Shape, dimmed: dict
) -> list:
    """The lines of the runs cut short, with a band where seeds tell one."""
    rows = rows[rows.source == "cut short"]
    if rows.empty:
        return []
    base = base.properties(data=rows)
    lines = base.mark_line(strokeWidth=1.8, tooltip=None).encode(y=y, **dimmed)
    points = base.mark_point(filled=True, size=30).encode(y=y, shape=shape, **dimmed)
    band = base.mark_area(opacity=0.15, tooltip=None).encode(**ends)
    return [*_where_known(band, rows), lines, points]


def _separate_layers(
    base: alt.Chart, rows: pd.DataFrame, y: alt.Y, ends: dict, dimmed: dict
) -> list:
    """The diamonds of separate runs, with an interval where seeds tell one, and a word."""
    rows = rows[rows.source == "separate"]
    if rows.empty:
        return []
    base = base.properties(data=rows)
    points = base.mark_point(filled=True, size=140, shape="diamond", stroke=INK, strokeWidth=1)
    span = base.mark_rule(strokeWidth=1.4).encode(**ends, **dimmed)
    words = base.properties(data=rows[rows.pairs == "all"])
    words = words.mark_text(align="left", dx=11, fontSize=11)
    return [
        points.encode(y=y, **dimmed),
        *_where_known(span, rows),
        words.encode(y=y, text="runs:N", color=alt.value(INK)),
    ]


def _where_known(layer: alt.Chart, rows: pd.DataFrame) -> list:
    """The layer of the intervals, of the rows that have one; none at all if no row has."""
    known = rows[rows.low.notna()]
    return [layer.properties(data=known)] if len(known) else []


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
