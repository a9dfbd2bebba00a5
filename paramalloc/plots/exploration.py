"""The explorer's chart: where the parameters of a shape are, and where it lies among others."""

from __future__ import annotations

from functools import cache

import altair as alt
import pandas as pd

from .labels import WIDTH
from .shapes import bar_layers, parts_by_group, stack_bars
from .theme import BLUE, GREY, INK, PERCENT

NAMES = ["now", "pinned"]
STUDY_CELLS = [
    {"embed_share": share, "glu": glu}
    for share in (0.25, 0.35, 0.45)
    for glu in (2.0, 2.66, 3.0, 4.0)
]
QUESTION = "Where do the parameters go, and where does that lie?"


def explored(shapes: dict, runs: pd.DataFrame) -> dict:
    """Allocations by name ("now", "pinned"): their parameters, and their place by share and GLU.

    `runs` (embed_share, glu, dev_loss) are finished runs of such models, drawn as dots with their
    dev loss. The result is a Vega-Lite specification: only its data are made anew, so that the
    explorer answers at once.
    """
    places = [
        {"name": name, "embed_share": shape.embed_share, "glu": shape.glu}
        for name, shape in shapes.items()
    ]
    summaries = [
        f"{name}: share {shape.embed_share:.1%}, GLU {shape.glu:.2f}"
        for name, shape in shapes.items()
    ]
    subtitle = [
        f"{'; '.join(summaries)}.",
        "Crosses: the cells of the study. Dots: finished runs of this size, with their dev loss.",
    ]
    counts = pd.DataFrame([_counts(name, shape) for name, shape in shapes.items()])
    return _empty_chart() | {
        "title": {"text": QUESTION, "subtitle": subtitle},
        "description": " ".join([QUESTION, *subtitle]),
        "datasets": {
            "parts": parts_by_group(counts).to_dict("records"),
            "here": places,
            "runs": runs.to_dict("records"),
        },
    }


def _counts(name: str, shape) -> dict:
    params = shape.params
    return {
        "cell": name,
        "total_params": params["total"],
        "embed_params": params["embedding"] + params["head"],
        "params_attention": params["attention"],
        "params_mlp": params["mlp"],
        "params_norm": params["norm"],
    }


@cache
def _empty_chart() -> dict:
    """The chart without its data, which `explored` puts in by name."""
    bars = stack_bars(*bar_layers(alt.NamedData("parts"), NAMES, None), len(NAMES))
    return alt.vconcat(bars, _plane()).resolve_scale(color="independent").to_dict()


def _plane() -> alt.LayerChart:
    """Realised share against expansion: the allocations, finished runs, the cells of the study."""
    grid = _at(alt.Data(values=STUDY_CELLS))
    runs = _at(alt.NamedData("runs"))
    layers = [
        grid.mark_point(shape="cross", size=30, color=GREY, filled=True, opacity=0.7),
        runs.mark_circle(size=45, color=GREY, opacity=0.8),
        runs.mark_text(dy=-10, fontSize=10, color=INK).encode(
            text=alt.Text("dev_loss:Q", format=".2f")
        ),
        *_allocation_layers(_at(alt.NamedData("here"))),
    ]
    return alt.layer(*layers).properties(width=WIDTH - 40, height=200)


def _at(data) -> alt.Chart:
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
    return alt.Chart(data).encode(x=x, y=y)


def _allocation_layers(here: alt.Chart) -> list:
    """A mark for each allocation, its name on a side of its own."""
    colours = alt.Scale(domain=NAMES, range=[BLUE, "#D55E00"])
    shapes = alt.Scale(domain=NAMES, range=["diamond", "square"])
    marks = here.mark_point(size=170, filled=True, opacity=1).encode(
        color=alt.Color("name:N", scale=colours, legend=None),
        shape=alt.Shape("name:N", scale=shapes, legend=None),
    )
    layers = [marks]
    for name, dx, align in (("now", 12, "left"), ("pinned", -12, "right")):
        word = here.transform_filter(alt.datum.name == name)
        word = word.mark_text(dx=dx, align=align, fontWeight="bold", color=INK)
        layers.append(word.encode(text="name:N"))
    return layers
