"""Charts of shapes, trained or not: where the parameters are, and where a shape lies in the share x GLU plane."""

from functools import cache

import altair as alt
import pandas as pd

from ..analysis import cells_table
from ..runs import Note
from .base import (
    BLUE,
    GREY,
    GROUND,
    INK,
    ON_HEAT,
    PERCENT,
    SI,
    facts,
    needs_runs,
    single_out,
    titled,
)
from .labels import WIDTH

AMBER, GREEN, ON_PALE = "#F0C460", "#9BD3BE", "#212121"  # the same on any ground
GROUPS = {
    "embed_params": "embedding",
    "params_attention": "attention",
    "params_mlp": "MLP",
    "params_norm": "norm",
}


@needs_runs
def allocation_bars(runs: pd.DataFrame):
    """Parameters of each cell by group, stacked; the number in a segment is its part of the total (%)."""
    table = cells_table(runs)
    parts = _parts(table)
    if parts.empty:
        return Note("No allocation is recorded yet.")
    parts, tips, _ = facts(
        parts,
        {
            "cell": "{cell}",
            "group": "{group}",
            "parameters": "{count:,.0f}",
            "of the total": "{percent:.1f} %",
        },
    )
    counts = {"cell": "{cell}", "total": "{total_params:,.0f}"} | {
        word: f"{{{name}:,.0f}}" for name, word in GROUPS.items()
    }
    return titled(
        _bars(parts, list(table.cell), "requested share × GLU", tips),
        "Where do the parameters go?",
        "Realised parameters of each cell by group; norm weights are too few to see.",
        facts(table, counts)[2],
    )


def _parts(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each cell and group: its count, where its segment has its middle, and its percentage as a word."""
    parts = table.melt(["cell", "total_params"], list(GROUPS), "group", "count").dropna()
    end, percent = (
        parts.groupby("cell")["count"].cumsum(),
        100 * parts["count"] / parts.total_params,
    )
    return parts.assign(
        rank=parts.group.map(list(GROUPS).index),
        group=parts.group.map(GROUPS),
        middle=end - parts["count"] / 2,
        percent=percent,
        word=[f"{value:.0f} %" if value >= 5 else "" for value in percent],
    )


def _bars(parts, order: list[str], y_title: str | None, tips: list | None = None):
    fills = alt.Scale(domain=list(GROUPS.values()), range=[BLUE, AMBER, GREEN, INK])
    hue = alt.Color("group:N", title=None, scale=fills, legend=alt.Legend(orient="top"))
    y = alt.Y("cell:N", title=y_title, sort=order)
    x = alt.X("count:Q", title="parameters", stack="zero", axis=alt.Axis(labelExpr=SI))
    chosen, dimmed = single_out("group_pick", "group") if tips else (None, {})
    bars = (
        alt.Chart(parts)
        .mark_bar(stroke=GROUND)
        .encode(
            x=x, y=y, color=hue, order="rank:O", **dimmed, **({"tooltip": tips} if tips else {})
        )
    )
    ink = alt.condition(alt.datum.group == "embedding", alt.value(ON_HEAT), alt.value(ON_PALE))
    middle = alt.X("middle:Q", title="parameters")
    words = (
        alt.Chart(parts)
        .mark_text(fontSize=11, tooltip=None)
        .encode(x=middle, y=y, text="word:N", color=ink)
    )
    return alt.layer(bars.add_params(chosen) if tips else bars, words).properties(
        width=WIDTH - 40, height=26 * len(order)
    )


# ------------------------------------------------------------------ explorer


def explored(shapes: dict, runs: pd.DataFrame) -> dict:
    """Allocations by name ("now", "pinned"): where their parameters go, and where they lie in the share x GLU plane.

    `runs` (embed_share, glu, dev_loss) are finished runs of such models; dots in the plane, with their dev loss.
    A Vega-Lite specification: only its data are made anew, so that the explorer answers at once.
    """
    rows = [
        {
            "cell": name,
            "total_params": shape.params["total"],
            "embed_params": shape.params["embedding"] + shape.params["head"],
            **{f"params_{group}": shape.params[group] for group in ("attention", "mlp", "norm")},
        }
        for name, shape in shapes.items()
    ]
    here = [
        {"name": name, "embed_share": shape.embed_share, "glu": shape.glu}
        for name, shape in shapes.items()
    ]
    words = "; ".join(
        f"{name}: share {shape.embed_share:.1%}, GLU {shape.glu:.2f}"
        for name, shape in shapes.items()
    )
    notes = [
        f"{words}.",
        "Crosses: the cells of the study. Dots: finished runs of this size, with their dev loss.",
    ]
    question = "Where do the parameters go, and where does that lie?"
    datasets = {
        "parts": _parts(pd.DataFrame(rows)).to_dict("records"),
        "here": here,
        "runs": runs.to_dict("records"),
    }
    return _explored() | {
        "title": {"text": question, "subtitle": notes},
        "description": " ".join([question, *notes]),
        "datasets": datasets,
    }


@cache
def _explored() -> dict:
    bars = _bars(alt.NamedData("parts"), ["now", "pinned"], None)
    return alt.vconcat(bars, _plane()).resolve_scale(color="independent").to_dict()


def _plane():
    """Realised share against expansion (log scale): the allocations, finished runs, and the cells of the study's grid."""
    x = alt.X(
        "glu:Q",
        title="GLU expansion (d_ff / d_model), log scale",
        axis=alt.Axis(values=[0.5, 1, 2, 3, 4, 6, 8]),
        scale=alt.Scale(type="log", domain=[0.4, 10], clamp=True),
    )
    y = alt.Y(
        "embed_share:Q",
        title="embedding share",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(labelExpr=PERCENT, tickCount=5),
    )
    at = lambda data: alt.Chart(data).encode(x=x, y=y)
    grid = alt.Data(
        values=[
            {"embed_share": share, "glu": glu}
            for share in (0.25, 0.35, 0.45)
            for glu in (2.0, 2.66, 3.0, 4.0)
        ]
    )
    runs, here = alt.NamedData("runs"), alt.NamedData("here")
    names = ["now", "pinned"]
    return alt.layer(
        at(grid).mark_point(shape="cross", size=30, color=GREY, filled=True, opacity=0.7),
        at(runs).mark_circle(size=45, color=GREY, opacity=0.8),
        at(runs)
        .mark_text(dy=-10, fontSize=10, color=INK)
        .encode(text=alt.Text("dev_loss:Q", format=".2f")),
        at(here)
        .mark_point(size=170, filled=True, opacity=1)
        .encode(
            color=alt.Color(
                "name:N", scale=alt.Scale(domain=names, range=[BLUE, "#D55E00"]), legend=None
            ),
            shape=alt.Shape(
                "name:N", scale=alt.Scale(domain=names, range=["diamond", "square"]), legend=None
            ),
        ),
        *[
            at(here)
            .transform_filter(alt.datum.name == name)
            .mark_text(dx=side * 12, align=align, fontWeight="bold", color=INK)
            .encode(text="name:N")
            for name, side, align in (("now", 1, "left"), ("pinned", -1, "right"))
        ],
    ).properties(width=WIDTH - 40, height=200)
