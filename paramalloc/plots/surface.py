"""The response surface: the fitted dev loss between the cells, over realised share and GLU."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import LEVEL, Surface, cells_table, fit_surface
from ..runs import Note
from .base import compares, describe_rows, needs_runs, titled, tooltips
from .labels import WIDTH
from .theme import GROUND, HEAT, INK, ON_HEAT, PERCENT

AXIS_TITLES = {
    "embed_share": "realised embedding share",
    "glu": "realised GLU expansion (d_ff / d_model)",
}
TILE = {
    "share": "{percent:.1f} %",
    "GLU": "{glu:.2f}",
    "fitted dev loss": "{dev_loss:.4f}",
    "above the lowest": "[{low:.4f}, {high:.4f}]",
}


@needs_runs
@compares
def response_surface(runs: pd.DataFrame):
    """Dev loss (nats per token) as fitted over realised share and GLU.

    Dotted where it is not distinguishable from its minimum.
    """
    surface = fit_surface(runs)
    if surface is None:
        return Note(
            "A response surface needs three cells or more where share or GLU alone varies, six"
            " where each varies apart from the other (with one seed five, or eight), fewer where an"
            " axis has two levels: they are not there yet."
        )
    cells = cells_table(runs).dropna(subset=["dev_loss"]).drop(columns="run_ids")
    cells, tips, table = describe_rows(
        cells.assign(percent=100 * cells.embed_share),
        {
            "cell (requested)": "{cell}",
            "realised share": "{percent:.1f} %",
            "realised GLU": "{glu:.2f}",
            "dev loss (nats/token)": "{dev_loss:.4f}",
        },
    )
    return titled(
        _surface_chart(_tiles(surface), cells, tips),
        "What lies between the cells?",
        [
            "Fitted dev loss over realised share and GLU (log scales), as far as the cells reach."
            " Diamonds: the cells that were trained.",
            _dots_caption(surface),
        ],
        table,
    )


# ---------------------------------------------------------------- data


def _region_known(surface: Surface) -> bool:
    """Whether the noise is known and the quadratic fits, so that the dots mean something."""
    return surface.lack_of_fit_p >= LEVEL and surface.n_seeds >= 2


def _dots_caption(surface: Surface) -> str:
    if surface.lack_of_fit_p < LEVEL:
        return "A quadratic does not describe these cells: what lies between them is a guess."
    if surface.n_seeds < 2:
        return "One seed: which points are distinguishable from the lowest is unknown."
    return (
        "Dotted: not distinguishable from the lowest point (95 % CI of each, without adjustment)."
    )


def _tiles(surface: Surface) -> pd.DataFrame:
    """Each grid point as a tile that reaches half-way to its neighbours, with its words."""
    tiles = surface.grid(21)
    for name in AXIS_TITLES:
        low, high = _tile_edges(tiles[name])
        tiles = tiles.assign(**{f"{name}_low": low, f"{name}_high": high})
    near = _region_known(surface) & ~(tiles.low > 0)
    tiles, _, _ = describe_rows(tiles.assign(percent=100 * tiles.embed_share, near=near), TILE)
    return tiles


def _tile_edges(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Lower and upper edges on a log scale; tiles overlap a little, so that no seams show."""
    at = np.log(np.sort(values.unique()))
    half = 0.52 * (at[1] - at[0]) if len(at) > 1 else 0.05
    return np.exp(np.log(values) - half), np.exp(np.log(values) + half)


# ---------------------------------------------------------------- drawing


def _surface_chart(tiles: pd.DataFrame, cells: pd.DataFrame, tips: list):
    at = {"x": _x(tiles, "glu"), "y": _y(tiles, "embed_share")}
    layers = [_tile_layer(tiles)]
    if tiles.near.any():
        near = alt.Chart(tiles).transform_filter(alt.datum.near)
        dots = near.mark_circle(size=7, color=ON_HEAT, opacity=0.9, tooltip=None)
        layers.append(dots.encode(**at))
    diamonds = alt.Chart(cells).mark_point(
        shape="diamond", filled=True, size=90, stroke=INK, fill=GROUND, opacity=1
    )
    layers.append(diamonds.encode(tooltip=tips, **at))
    return alt.layer(*layers).properties(width=WIDTH, height=340)


def _tile_layer(tiles: pd.DataFrame):
    legend = alt.Legend(
        title="dev loss (nats per token)",
        format=".3f",
        tickCount=4,
        orient="bottom",
        gradientLength=220,
    )
    scale = alt.Scale(range=HEAT, zero=False)
    rectangles = alt.Chart(tiles).mark_rect(strokeWidth=0)
    return rectangles.encode(
        x=_x(tiles, "glu_low"),
        x2="glu_high",
        y=_y(tiles, "embed_share_low"),
        y2="embed_share_high",
        color=alt.Color("dev_loss:Q", scale=scale, legend=legend),
        tooltip=tooltips(TILE),
    )


def _x(tiles: pd.DataFrame, field: str) -> alt.X:
    axis = alt.Axis(values=[1, 1.5, 2, 2.5, 3, 4, 5, 6], format="~g", grid=False)
    return alt.X(f"{field}:Q", scale=_log_scale(tiles, "glu"), axis=axis, title=AXIS_TITLES["glu"])


def _y(tiles: pd.DataFrame, field: str) -> alt.Y:
    shares = [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6]
    axis = alt.Axis(values=shares, labelExpr=PERCENT, grid=False)
    scale = _log_scale(tiles, "embed_share")
    return alt.Y(f"{field}:Q", scale=scale, axis=axis, title=AXIS_TITLES["embed_share"])


def _log_scale(tiles: pd.DataFrame, name: str) -> alt.Scale:
    domain = [tiles[f"{name}_low"].min(), tiles[f"{name}_high"].max()]
    return alt.Scale(type="log", domain=domain, nice=False)
