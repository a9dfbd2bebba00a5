"""The share x GLU plane: what each cell reached, and the response surface between the cells."""

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import LEVEL, cells_table, fit_surface, means
from ..runs import Note
from .base import (
    DASH,
    FAINT,
    GREY,
    GROUND,
    HEAT,
    INK,
    ON_HEAT,
    PERCENT,
    facts,
    needs_runs,
    short,
    titled,
)
from .labels import WIDTH


@needs_runs
def share_glu_heatmap(runs: pd.DataFrame):
    """Dev loss (nats per token) of each requested share x GLU; a square without one is grey and says why."""
    squares = _squares(
        cells_table(runs).merge(means(runs)[["cell", "low", "high"]], "left", "cell")
    )
    if squares.empty:
        return Note("No cell was requested by share and GLU, so there is no map.")
    squares, tips, table = facts(
        squares,
        {
            "cell (requested)": "{cell}",
            "dev loss (nats/token)": "{dev_loss:.4f}",
            "95 % interval": "[{low:.4f}, {high:.4f}]",
            "dev ppl": "{dev_ppl:.1f}",
            "realised share": "{percent:.1f} %",
            "realised GLU": "{glu:.2f}",
            "d_model × layers": "{d_model:.0f} × {n_layers:.0f}",
            "seeds": "{seeds:.0f}",
            "learning rate": "{lr:g}",
            "status": "{state}",
        },
    )
    chart = _map(squares, tips)
    return titled(
        chart,
        "Which allocation ends with the lowest dev loss?",
        "In each square: dev loss, realised share × GLU, d_model × layers. Framed: the lowest.",
        table,
    )


def _squares(table: pd.DataFrame) -> pd.DataFrame:
    """The cells with what stands in their squares; of two shapes in one square the better one."""
    asked = (
        table.dropna(subset=["requested_share", "requested_glu"])
        .sort_values("dev_loss")
        .drop(columns="run_ids")
    )
    asked = asked.drop_duplicates(["requested_share", "requested_glu"])
    low, high = asked.dev_loss.min(), asked.dev_loss.max()
    texts = pd.DataFrame(
        [_square(cell) for cell in asked.itertuples()], asked.index, ["word", "second", "third"]
    )
    strong = asked.dev_loss <= low + 0.45 * (high - low)
    return asked.join(texts).assign(
        ink=np.where(strong, "strong", "weak"),
        best=asked.dev_loss == low,
        percent=100 * asked.embed_share,
        seeds=asked.n_seeds.where(asked.n_seeds > 0),
        state=asked.status.str.replace("_", " "),
    )


def _square(cell) -> tuple[str, str, str]:
    shape = "" if np.isnan(cell.d_model) else f"{cell.d_model:.0f} × {cell.n_layers:.0f}"
    if not np.isnan(cell.dev_loss):
        return f"{cell.dev_loss:.3f}", f"{100 * cell.embed_share:.1f} % × {cell.glu:.2f}", shape
    reached = f"at {short(cell.tokens_trained)} tokens" if cell.tokens_trained > 0 else ""
    return cell.status.replace("_", " "), reached, shape


def _map(squares: pd.DataFrame, tips: list):
    glus, shares = (
        sorted(squares.requested_glu.unique()),
        sorted(squares.requested_share.unique(), reverse=True),
    )
    x = alt.X(
        "requested_glu:O",
        title="requested GLU expansion (d_ff / d_model)",
        axis=alt.Axis(labelAngle=0, format=".4~g"),
    )
    y = alt.Y(
        "requested_share:O",
        title="requested embedding share",
        sort=shares,
        axis=alt.Axis(labelExpr=PERCENT),
    )
    loss = alt.Color(
        "dev_loss:Q", scale=alt.Scale(range=HEAT, zero=False), legend=None
    )  # the numbers stand in the squares
    inks = alt.Color(
        "ink:N", scale=alt.Scale(domain=["strong", "weak"], range=[ON_HEAT, INK]), legend=None
    )
    base, done = alt.Chart(squares).encode(x=x, y=y), alt.datum.dev_loss != None  # noqa: E711 (Vega's comparison)
    told = base.encode(tooltip=tips)
    lines = [("word", -14, 15, "bold"), ("second", 6, 11, "normal"), ("third", 22, 11, "normal")]
    layers = [
        told.transform_filter(done).mark_rect(stroke=GROUND, strokeWidth=2).encode(color=loss),
        *(
            [
                told.transform_filter(alt.datum.dev_loss == None).mark_rect(
                    fill=FAINT, stroke=GREY, strokeDash=DASH
                )
            ]  # noqa: E711
            if squares.dev_loss.isna().any()
            else []
        ),
        told.transform_filter(alt.datum.best).mark_rect(
            fill="transparent", stroke=INK, strokeWidth=3
        ),
        *(
            told.mark_text(dy=dy, fontSize=size, fontWeight=weight).encode(
                text=f"{name}:N", color=inks
            )
            for name, dy, size, weight in lines
        ),
    ]
    chart = alt.layer(*layers).resolve_scale(color="independent")
    return chart.properties(width=max(145 * len(glus), 300), height=88 * len(shares))


@needs_runs
def response_surface(runs: pd.DataFrame):
    """Dev loss (nats per token) as fitted over realised share and GLU; dotted where it is not distinguishable from its minimum."""
    fitted = fit_surface(runs)
    if fitted is None:
        return Note(
            "A response surface needs three cells or more where share or GLU alone varies, six where each varies apart from the other "
            "(with one seed five, or eight): they are not there yet."
        )
    steps, cells = (
        fitted.grid(21),
        cells_table(runs).dropna(subset=["dev_loss"]).drop(columns="run_ids"),
    )
    cells, tips, table = facts(
        cells.assign(percent=100 * cells.embed_share),
        {
            "cell (requested)": "{cell}",
            "realised share": "{percent:.1f} %",
            "realised GLU": "{glu:.2f}",
            "dev loss (nats/token)": "{dev_loss:.4f}",
        },
    )
    told, words = _told(fitted)
    return titled(
        _surface(_edges(steps, told), cells, tips),
        "What lies between the cells?",
        [
            "Fitted dev loss over realised share and GLU (log scales). Diamonds: the cells that were trained.",
            words,
        ],
        table,
    )


def _told(fitted) -> tuple[bool, str]:
    """Whether it can be said which points are not told from the lowest one, and the words for it."""
    if fitted.lack_of_fit_p < LEVEL:
        return (
            False,
            "A quadratic does not describe these cells: what lies between them is a guess.",
        )
    if fitted.n_seeds < 2:
        return False, "One seed: it cannot be said which points are not told from the lowest."
    return (
        True,
        "Dotted: the points that are not told from the lowest one by their 95 % intervals, each for itself.",
    )


def _edges(steps: pd.DataFrame, told: bool) -> pd.DataFrame:
    """Each grid point as a tile that reaches half-way to its neighbours (on log scales), with its words."""
    for name in ("embed_share", "glu"):
        at = np.log(np.sort(steps[name].unique()))
        half = (
            0.52 * (at[1] - at[0]) if len(at) > 1 else 0.05
        )  # tiles overlap a little, so that no seams show
        steps = steps.assign(
            **{
                f"{name}_low": np.exp(np.log(steps[name]) - half),
                f"{name}_high": np.exp(np.log(steps[name]) + half),
            }
        )
    steps, _, _ = facts(
        steps.assign(percent=100 * steps.embed_share, near=told & ~(steps.low > 0)),
        {
            "share": "{percent:.1f} %",
            "GLU": "{glu:.2f}",
            "fitted dev loss": "{dev_loss:.4f}",
            "above the lowest": "[{low:.4f}, {high:.4f}]",
        },
    )
    return steps


def _surface(steps: pd.DataFrame, cells: pd.DataFrame, tips: list):
    log = lambda low, high: alt.Scale(type="log", domain=[low, high], nice=False)
    xs, ys = (
        log(steps[f"{name}_low"].min(), steps[f"{name}_high"].max())
        for name in ("glu", "embed_share")
    )
    x_axis = alt.Axis(values=[1, 1.5, 2, 2.5, 3, 4, 5, 6], format="~g", grid=False)
    y_axis = alt.Axis(
        values=[0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6], labelExpr=PERCENT, grid=False
    )
    x = lambda name: alt.X(
        f"{name}:Q", scale=xs, axis=x_axis, title="realised GLU expansion (d_ff / d_model)"
    )
    y = lambda name: alt.Y(f"{name}:Q", scale=ys, axis=y_axis, title="realised embedding share")
    legend = alt.Legend(
        title="dev loss (nats per token)",
        format=".3f",
        tickCount=4,
        orient="bottom",
        gradientLength=220,
    )
    words = ["share", "GLU", "fitted dev loss", "above the lowest"]
    tiles = (
        alt.Chart(steps)
        .mark_rect(strokeWidth=0)
        .encode(
            x=x("glu_low"),
            x2="glu_high",
            y=y("embed_share_low"),
            y2="embed_share_high",
            color=alt.Color("dev_loss:Q", scale=alt.Scale(range=HEAT, zero=False), legend=legend),
            tooltip=[alt.Tooltip(f"fact{n}:N", title=name) for n, name in enumerate(words)],
        )
    )
    dots = (
        alt.Chart(steps)
        .transform_filter(alt.datum.near)
        .mark_circle(size=7, color=ON_HEAT, opacity=0.9, tooltip=None)
    )
    points = alt.Chart(cells).mark_point(
        shape="diamond", filled=True, size=90, stroke=INK, fill=GROUND, opacity=1
    )
    at = {"x": x("glu"), "y": y("embed_share")}
    layers = [
        tiles,
        *([dots.encode(**at)] if steps.near.any() else []),
        points.encode(tooltip=tips, **at),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=340)
