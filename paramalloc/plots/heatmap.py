"""The share x GLU map: what each cell reached, a square per requested share and expansion."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import SURVIVED, cells_table, is_screening, means
from ..runs import Note
from .base import describe_rows, needs_runs, short_count, titled
from .theme import DASH, FAINT, GREY, GROUND, HEAT, INK, ON_HEAT, PERCENT

# The lines of a square: column, distance from its middle, letter size, weight.
LINES = [
    ("word", -14, 15, "bold"),
    ("second", 6, 11, "normal"),
    ("third", 22, 11, "normal"),
]

LOSS_WORDS = (
    "Which allocation ends with the lowest dev loss?",
    "In each square: dev loss, realised share × GLU, d_model × layers. Framed: the lowest.",
)
SCREENING_WORDS = (
    "Which allocations are worth whole runs?",
    "Framed: early stop ended no run of the cell. Dashed: screened out. No losses are compared.",
)
FACTS = {
    "cell (requested)": "{cell}",
    "dev loss (nats/token)": "{dev_loss:.4f}",
    "95 % CI over seeds": "[{low:.4f}, {high:.4f}]",
    "dev ppl": "{dev_ppl:.1f}",
    "realised share": "{percent:.1f} %",
    "realised GLU": "{glu:.2f}",
    "d_model × layers": "{d_model:.0f} × {n_layers:.0f}",
    "seeds": "{seeds:.0f}",
    "learning rate": "{lr:g}",
    "status": "{state}",
}
SCREENING_FACTS = {
    "cell (requested)": "{cell}",
    "whole runs": "{n_survived:.0f}",
    "stopped runs": "{n_stopped:.0f}",
    "realised share": "{percent:.1f} %",
    "realised GLU": "{glu:.2f}",
    "d_model × layers": "{d_model:.0f} × {n_layers:.0f}",
    "learning rate": "{lr:g}",
    "status": "{state}",
}


@needs_runs
def share_glu_heatmap(runs: pd.DataFrame):
    """Dev loss (nats per token) of each requested share x GLU.

    A square without a loss is grey and says why. Of a screening no square has one: framed are those
    of which no run was stopped.
    """
    intervals = means(runs)[["cell", "low", "high"]]
    squares = _squares(cells_table(runs).merge(intervals, "left", "cell"))
    if squares.empty:
        return Note("No cell was requested by share and GLU, so there is no map.")
    if is_screening(runs):
        screened = squares.assign(framed=squares.status == SURVIVED)
        squares, tips, table = describe_rows(screened, SCREENING_FACTS)
        words = SCREENING_WORDS
    else:
        squares, tips, table = describe_rows(squares, FACTS)
        words = LOSS_WORDS
    return titled(_map(squares, tips), *words, table)


# ---------------------------------------------------------------- data


def _squares(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with the lines of their squares; of two shapes in one square the better one."""
    request = ["requested_share", "requested_glu"]
    cells = cells.dropna(subset=request).sort_values("dev_loss").drop(columns="run_ids")
    cells = cells.drop_duplicates(request)
    low, high = cells.dev_loss.min(), cells.dev_loss.max()
    lines = [_square_lines(cell) for cell in cells.itertuples()]
    texts = pd.DataFrame(lines, cells.index, [name for name, *_ in LINES])
    dark_ground = cells.dev_loss <= low + 0.45 * (high - low)
    return cells.join(texts).assign(
        ink=np.where(dark_ground, "strong", "weak"),
        framed=cells.dev_loss == low,
        percent=100 * cells.embed_share,
        seeds=cells.n_seeds.where(cells.n_seeds > 0),
        state=cells.status.str.replace("_", " "),
    )


def _square_lines(cell) -> tuple[str, str, str]:
    """A word, what is behind it, and the shape."""
    shape = "" if np.isnan(cell.d_model) else f"{cell.d_model:.0f} × {cell.n_layers:.0f}"
    if not np.isnan(cell.dev_loss):
        return f"{cell.dev_loss:.3f}", f"{100 * cell.embed_share:.1f} % × {cell.glu:.2f}", shape
    if cell.status == SURVIVED:
        return "not stopped", f"whole runs: {cell.n_survived}", shape
    reached = f"at {short_count(cell.tokens_trained)} tokens" if cell.tokens_trained > 0 else ""
    if cell.n_survived:
        reached = f"{cell.n_stopped} of {cell.n_stopped + cell.n_survived} runs"
    return cell.status.replace("_", " "), reached, shape


# ---------------------------------------------------------------- drawing


def _map(squares: pd.DataFrame, tips: list):
    glus = sorted(squares.requested_glu.unique())
    shares = sorted(squares.requested_share.unique(), reverse=True)
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
    base = alt.Chart(squares).encode(x=x, y=y, tooltip=tips)
    layers = [_loss_tiles(base)]
    if squares.dev_loss.isna().any():
        layers.append(_empty_tiles(base))
    layers += [_frame(base), *_square_texts(base)]
    chart = alt.layer(*layers).resolve_scale(color="independent")
    return chart.properties(width=max(145 * len(glus), 300), height=88 * len(shares))


def _loss_tiles(base: alt.Chart):
    scale = alt.Scale(range=HEAT, zero=False)
    loss = alt.Color("dev_loss:Q", scale=scale, legend=None)  # the numbers stand in the squares
    finished = base.transform_filter("datum.dev_loss !== null")
    return finished.mark_rect(stroke=GROUND, strokeWidth=2).encode(color=loss)


def _empty_tiles(base: alt.Chart):
    unfinished = base.transform_filter("datum.dev_loss === null")
    return unfinished.mark_rect(fill=FAINT, stroke=GREY, strokeDash=DASH)


def _frame(base: alt.Chart):
    framed = base.transform_filter(alt.datum.framed)
    return framed.mark_rect(fill="transparent", stroke=INK, strokeWidth=3)


def _square_texts(base: alt.Chart) -> list:
    scale = alt.Scale(domain=["strong", "weak"], range=[ON_HEAT, INK])
    ink = alt.Color("ink:N", scale=scale, legend=None)
    texts = []
    for name, dy, size, weight in LINES:
        text = base.mark_text(dy=dy, fontSize=size, fontWeight=weight)
        texts.append(text.encode(text=f"{name}:N", color=ink))
    return texts
