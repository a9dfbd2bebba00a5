"""Pareto fronts: a quality against a cost, and how probable each cell's place on the front is."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

import altair as alt
import pandas as pd

from ..analysis import (
    COST_SENSE,
    QUALITY_SENSE,
    SPEED_COLUMNS,
    cells_table,
    completed_cells,
    front_probability,
    lacks_speeds,
    lacks_width,
    means,
    pareto_front,
)
from ..runs import COLUMNS, Note
from .base import colour_and_shape, compares, describe_rows, needs_runs, single_out, titled
from .labels import HEIGHT, SIDES, WIDTH, place_labels
from .theme import BLUE, GREY, INK, SI


@dataclass(frozen=True)
class CostAxis:
    """How a cost is drawn: its title, what a good cell is, the unit's size, and two formats."""

    title: str
    virtue: str
    "completes `Which allocations are good and …?`"
    unit: float = 1
    "what a cost is divided by"
    tooltip: str = "{at:,.0f}"
    ticks: str | None = None
    "of d3; None: SI prefixes"


COST_AXES = {
    "tokens_per_s": CostAxis(COLUMNS["tokens_per_s"].title, "fast to train"),
    "decode_ms_per_token": CostAxis(
        COLUMNS["decode_ms_per_token"].title, "quick to answer", tooltip="{at:.3f}", ticks="~g"
    ),
    "train_flops": CostAxis(
        f"{COLUMNS['train_flops'].label} (TFLOP, 10¹² operations)",
        "cheap in operations",
        unit=1e12,
        tooltip="{at:,.4g}",
        ticks=",~g",
    ),
    "kv_bytes_per_token": CostAxis(COLUMNS["kv_bytes_per_token"].title, "small in memory"),
    "total_params": CostAxis(COLUMNS["total_params"].title, "small", ticks="~s"),
}
SUBTITLE_LENGTH = 100  # characters that fit over a chart
ON, OFF = "on the front", "behind it"
MARKS = {ON: (BLUE, "diamond"), OFF: (GREY, "circle")}
# Between two points on a front, only the worse quality is on offer.
STEP = {"more": "step-before", "less": "step-after"}


@needs_runs
@compares
def pareto(runs: pd.DataFrame, cost: str, quality: str = "dev_loss"):
    """`quality` against `cost` with its front.

    The stronger a mark, the more probable is its place on the front.
    """
    table = cells_table(runs)
    cells = completed_cells(table).dropna(subset=[cost, quality])
    axis = COST_AXES[cost]
    if cells.empty:
        return Note(_no_front(runs, cost, quality))
    cells, xs, ys = _placed(cells, cost, quality, front_probability(runs, cost, quality))
    intervals = means(runs, quality)[["cell", "low", "high"]]
    rows, tips, numbers = describe_rows(
        cells.merge(intervals, "left", "cell"), _front_columns(axis, quality)
    )
    base = alt.Chart(rows).encode(x=_cost_axis(axis, xs))
    points = base.encode(y=_quality_axis(quality, ys), tooltip=tips)
    layers = [_front_line(base, quality, ys, cost), _front_points(points, rows)]
    for (front, side), _ in rows[rows.side != ""].groupby(["front", "side"]):
        layers.append(_front_labels(points, front, side))
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    subtitle = [
        *_front_subtitle(rows, cost, quality, lacks_width(runs, cost)),
        *_not_drawn(table, cost, quality),
    ]
    return titled(chart, _front_title(cost, quality), subtitle, numbers)


# ---------------------------------------------------------------- data


def _placed(cells: pd.DataFrame, cost: str, quality: str, probability: pd.Series) -> tuple:
    """The cells with their front, place, label and strength, and the ranges of both axes."""
    front = pareto_front(cells, cost, quality)
    at = cells[cost] / COST_AXES[cost].unit
    chance = cells.cell.map(probability).astype(float)
    cells = cells.assign(
        front=front,
        at=at,
        percent=100 * chance,
        quality=cells[quality],
        probability=chance,
        where=front.map({True: ON, False: OFF}),
        strength=(0.35 + 0.65 * chance).fillna(1.0),
    )
    xs, ys = _padded_range(at), _padded_range(cells.quality)
    return place_labels(cells.drop(columns="run_ids"), xs, ys, COST_SENSE[cost]), xs, ys


def _padded_range(values: pd.Series) -> list[float]:
    """A range with room for labels at both ends; one value alone gets a range as well."""
    room = 0.14 * (values.max() - values.min()) or 0.05 * abs(values.max()) or 1.0
    return [values.min() - room, values.max() + room]


# ---------------------------------------------------------------- words


def _no_front(runs: pd.DataFrame, cost: str, quality: str) -> str:
    """Why there is no front, and for a speed what measures it."""
    if cost in SPEED_COLUMNS and lacks_speeds(runs):
        name = COLUMNS[cost].label.capitalize()
        return (
            f"{name} was not measured alone yet: `paramalloc time SWEEP` does that, and then there"
            " is a front against it."
        )
    return (
        f"No completed cell has {COLUMNS[quality].title} and {COST_AXES[cost].title}:"
        " there is no front of them yet."
    )


def _front_columns(axis: CostAxis, quality: str) -> dict[str, str]:
    return {
        "cell": "{cell}",
        axis.title: axis.tooltip,
        COLUMNS[quality].title: "{quality:.4f}",
        "95 % CI over seeds": "[{low:.4f}, {high:.4f}]",
        "probability of the front": "{percent:.0f} %",
        "as measured": "{where}",
        "d_model × layers": "{d_model:.0f} × {n_layers:.0f}",
    }


def _front_title(cost: str, quality: str) -> str:
    title = f"Which allocations are good and {COST_AXES[cost].virtue}?"
    if quality != "dev_loss":
        name = COLUMNS[quality].label
        title = f"{name[0].upper()}{name[1:]}: {title[0].lower()}{title[1:]}"
    return title


def _not_drawn(table: pd.DataFrame, cost: str, quality: str) -> list[str]:
    """Which completed cells are missing, as their cost is unknown."""
    done = completed_cells(table).dropna(subset=quality)
    missing = sorted(done.cell[done[cost].isna()])
    if not missing:
        return []
    line = f"Not here, as this cost of them is unknown: {', '.join(missing)}."
    return wrap(line, SUBTITLE_LENGTH)


def _front_subtitle(cells: pd.DataFrame, cost: str, quality: str, lacks_width: bool) -> list[str]:
    better = {"more": "right", "less": "left"}[COST_SENSE[cost]]
    up = {"more": "up", "less": "down"}[QUALITY_SENSE[quality]]
    strength = "With one seed, the probability of a place on the front is unknown."
    if lacks_width:
        strength = "Without all intervals of the speeds, no probability of the front is known."
    if cells.probability.notna().any():
        strength = "The stronger a mark, the more probable its place on the front."
    return [
        f"Better is {up} and to the {better}. Diamonds and line: the front as measured;"
        " costs within 1 % are equal.",
        strength,
    ]


# ---------------------------------------------------------------- drawing


def _cost_axis(axis: CostAxis, xs: list[float]) -> alt.X:
    # As an expression: as the axis' own format, `~g` would take the precision of the step and
    # write 10 as 1e+1.
    labels = SI if axis.ticks is None else f"format(datum.value, '{axis.ticks}')"
    scale = alt.Scale(domain=xs, nice=False)
    return alt.X(
        "at:Q", title=axis.title, scale=scale, axis=alt.Axis(labelExpr=labels, tickCount=6)
    )


def _quality_axis(quality: str, ys: list[float]) -> alt.Y:
    digits = ".2f" if ys[1] - ys[0] > 0.3 else ".3f"
    scale = alt.Scale(domain=ys, nice=False)
    axis = alt.Axis(format=digits, tickCount=7)
    return alt.Y("quality:Q", title=COLUMNS[quality].title, scale=scale, axis=axis)


def _front_line(base: alt.Chart, quality: str, ys: list[float], cost: str):
    step = base.transform_filter(alt.datum.front)
    step = step.mark_line(interpolate=STEP[COST_SENSE[cost]], color=BLUE, strokeWidth=1.5)
    return step.encode(y=_quality_axis(quality, ys), order="at:Q")


def _front_points(base: alt.Chart, cells: pd.DataFrame):
    """A mark per cell, as strong as its place on the front is probable."""
    selection, _ = single_out("front_pick", "where")
    strength = alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None)
    opacity = alt.condition(selection, strength, alt.value(0.08))
    present = [name for name in MARKS if name in set(cells["where"])]
    colours, shapes = zip(*(MARKS[name] for name in present), strict=True)
    hue, shape = colour_and_shape("where", present, colours, shapes, orient="top")
    points = base.mark_point(filled=True, size=110)
    return points.encode(color=hue, shape=shape, opacity=opacity).add_params(selection)


def _front_labels(base: alt.Chart, front: bool, side: str):
    """Names at the points; on a small screen only those on the front, the rest in the tooltips."""
    dx, dy, align = SIDES[side]
    here = base.transform_filter((alt.datum.front == front) & (alt.datum.side == side))
    place = {"dx": dx, "dy": dy, "align": align, "baseline": "middle", "fontSize": 11}
    if front:
        return here.mark_text(**place, fontWeight="bold", color=INK).encode(text="cell:N")
    wide_only = alt.condition("width < 450", alt.value(0), alt.value(1))
    return here.mark_text(**place, color=GREY).encode(text="cell:N", opacity=wide_only)
