"""Pareto fronts: a quality against a cost, and how probable each cell's place on the front is."""

import altair as alt
import pandas as pd

from ..analysis import (
    COST_SENSE,
    QUALITY_SENSE,
    cells_table,
    completed_cells,
    front_probability,
    means,
    pareto_front,
    screening,
)
from ..runs import Note
from .base import BLUE, GREY, INK, SI, facts, grouped, needs_runs, single_out, stopped, titled
from .labels import HEIGHT, SIDES, WIDTH, place_labels

# axis title, the unit's size, tooltip's format, axis format (None: SI prefixes)
COSTS = {
    "tokens_per_s": ("training speed (tokens per second)", 1, "{at:,.0f}", None),
    "decode_ms_per_token": ("decoding one token (milliseconds)", 1, "{at:.3f}", "~g"),
    "train_flops": ("training compute (TFLOP, 10¹² operations)", 1e12, "{at:,.4g}", ",~g"),
    "kv_bytes_per_token": ("key-value cache (bytes per token)", 1, "{at:,.0f}", None),
    "total_params": ("parameters", 1, "{at:,.0f}", "~s"),
}
QUALITIES = {
    "dev_loss": "dev loss (nats per token)",
    "dev_bpb": "bits per byte of the dev split",
    "smallbench": "SmallBench (mean accuracy above chance)",
}
QUESTIONS = {
    "tokens_per_s": "fast to train",
    "decode_ms_per_token": "quick to answer",
    "train_flops": "cheap in operations",
    "kv_bytes_per_token": "small in memory",
    "total_params": "small",
}
STEP = {
    "more": "step-before",
    "less": "step-after",
}  # between two points on a front, only the worse quality is on offer
ON, OFF = "on the front", "behind it"


@needs_runs
def pareto(runs: pd.DataFrame, cost: str, quality: str = "dev_loss"):
    """`quality` against `cost` with its front; the stronger a mark, the more probable is its place on the front."""
    table = cells_table(runs)
    cells = completed_cells(table).dropna(subset=[cost, quality])
    if cells.empty:
        return Note(
            f"No completed cell has {QUALITIES[quality]} and {COSTS[cost][0]}: there is no front of them yet."
        )
    cells, xs, ys = _placed(cells, cost, quality, front_probability(runs, cost, quality))
    cells, tips, numbers = facts(
        cells.merge(means(runs, quality)[["cell", "low", "high"]], "left", "cell"),
        {
            "cell": "{cell}",
            COSTS[cost][0]: COSTS[cost][2],
            QUALITIES[quality]: "{quality:.4f}",
            "95 % interval": "[{low:.4f}, {high:.4f}]",
            "probability of the front": "{percent:.0f} %",
            "as measured": "{where}",
            "d_model × layers": "{d_model:.0f} × {n_layers:.0f}",
        },
    )
    chart = alt.layer(*_layers(cells, tips, xs, ys, cost, quality)).properties(
        width=WIDTH, height=HEIGHT
    )
    return titled(chart, *_words(table, cells, cost, quality), numbers)


def _placed(cells: pd.DataFrame, cost: str, quality: str, probability: pd.Series) -> tuple:
    """The cells with their front, place, label and strength, and the ranges of both axes."""
    front, at = pareto_front(cells, cost, quality), cells[cost] / COSTS[cost][1]
    chance = cells.cell.map(probability).astype(float)
    cells = cells.assign(
        front=front,
        at=at,
        percent=100 * chance,
        quality=cells[quality],
        probability=chance,
        where=front.map({True: ON, False: OFF}),
        strength=(0.35 + 0.65 * chance).fillna(1.0),
    ).drop(columns="run_ids")
    xs, ys = _domain(at), _domain(cells.quality)
    return place_labels(cells, xs, ys, COST_SENSE[cost]), xs, ys


def _words(
    table: pd.DataFrame, cells: pd.DataFrame, cost: str, quality: str
) -> tuple[str, list[str]]:
    title = f"Which allocations are good and {QUESTIONS[cost]}?"
    if quality != "dev_loss":
        title = f"{QUALITIES[quality].split(' (')[0]}: which allocations are good and {QUESTIONS[cost]}?".replace(
            "bits", "Bits"
        )
    lost = screening(table)
    if lost:
        title = f"Screening only, {stopped(lost)}: {title[0].lower() + title[1:]}"
    better = {"more": "right", "less": "left"}[COST_SENSE[cost]]
    up = {"more": "up", "less": "down"}[QUALITY_SENSE[quality]]
    known = (
        "The stronger a mark, the more probable its place on the front."
        if cells.probability.notna().any()
        else "How probable a place on the front is cannot be said from one seed."
    )
    return title, [
        f"Better is {up} and to the {better}. Diamonds and line: the front as measured; costs within 1 % are equal.",
        known,
    ]


def _layers(cells: pd.DataFrame, tips: list, xs: list, ys: list, cost: str, quality: str) -> list:
    x_title, _, _, form = COSTS[cost]
    # As an expression: as the axis' own format, `~g` would take the precision of the step and write 10 as 1e+1.
    axis = alt.Axis(labelExpr=SI if form is None else f"format(datum.value, '{form}')", tickCount=6)
    x = alt.X("at:Q", title=x_title, scale=alt.Scale(domain=xs, nice=False), axis=axis)
    y_axis = alt.Axis(format=".2f" if ys[1] - ys[0] > 0.3 else ".3f", tickCount=7)
    y = alt.Y(
        "quality:Q", title=QUALITIES[quality], scale=alt.Scale(domain=ys, nice=False), axis=y_axis
    )
    chosen, _ = single_out("front_pick", "where")
    strength = alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None)
    strong = {"opacity": alt.condition(chosen, strength, alt.value(0.08))}
    present = [name for name in (ON, OFF) if name in set(cells["where"])]
    hue, shape = grouped(
        "where",
        present,
        *zip(*({ON: (BLUE, "diamond"), OFF: (GREY, "circle")}[name] for name in present)),
        orient="top",
    )
    base = alt.Chart(cells).encode(x=x)
    told = base.encode(y=y, tooltip=tips)
    step = base.transform_filter(alt.datum.front).mark_line(
        interpolate=STEP[COST_SENSE[cost]], color=BLUE, strokeWidth=1.5
    )
    points = told.mark_point(filled=True, size=110).encode(color=hue, shape=shape, **strong)
    return [
        step.encode(y=y, order="at:Q"),
        points.add_params(chosen),
        *(
            _labels(told, front, side)
            for (front, side), _ in cells[cells.side != ""].groupby(["front", "side"])
        ),
    ]


def _domain(values: pd.Series) -> list[float]:
    """A range with room for labels at both ends; one value alone gets a range as well."""
    room = 0.14 * (values.max() - values.min()) or 0.05 * abs(values.max()) or 1.0
    return [values.min() - room, values.max() + room]


def _labels(base: alt.Chart, front: bool, side: str):
    """Names beside the points; on a small screen, where they would meet, those behind the front are left to the tooltips."""
    dx, dy, align = SIDES[side]
    style = {"fontWeight": "bold", "color": INK} if front else {"color": GREY}
    here = base.transform_filter((alt.datum.front == front) & (alt.datum.side == side))
    seen = {} if front else {"opacity": alt.condition("width < 450", alt.value(0), alt.value(1))}
    return here.mark_text(
        dx=dx, dy=dy, align=align, baseline="middle", fontSize=11, **style
    ).encode(text="cell:N", **seen)
