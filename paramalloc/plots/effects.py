"""Differences and what they are worth: to the baseline, and by what a larger share displaces."""

from __future__ import annotations

import altair as alt
import pandas as pd
from scipy import stats

from ..analysis import Noise, baseline_name, by_tradeoff, cells_table, differences, estimate_noise
from ..analysis.wording import p_value
from ..runs import Note
from .base import colour_and_shape, compares, describe_rows, needs_runs, single_out, titled
from .labels import WIDTH
from .lines import interval_lines, interval_scale, padded_scale
from .theme import BLUE, DOTS, FAINT, GREY, INK, PERCENT, SHADES, SIGNED

# Colour and shape of each verdict.
VERDICTS = {
    "better": (BLUE, "circle"),
    "worse": (SHADES[1], "square"),
    "not distinguishable": (GREY, "diamond"),
    "no interval": (GREY, "triangle-up"),
}
WITH_INTERVALS = [
    "Left of the dotted line is better. Points: mean differences, paired by seed.",
    "Lines: simultaneous 95 % CIs (for all cells together); verdicts at 5 %, adjusted for all.",
]
ONE_SEED = "Left of the dotted line is better. One seed a cell: there are no intervals."
BAND = "Band: 95 % of differences between two single runs at one seed, if their cells are equal."


# ---------------------------------------------------------------- to the baseline


@needs_runs
@compares
def difference_forest(runs: pd.DataFrame):
    """Each cell's dev loss less the baseline's (nats per token), with its 95 % CI and verdict."""
    rows = _compared_cells(runs)
    if rows.empty:
        return Note(
            f"The baseline ({baseline_name(cells_table(runs))}) is not among the completed cells,"
            " so there is nothing to compare them with."
        )
    rows, tips, table = describe_rows(
        rows,
        {
            "cell": "{cell}",
            "difference (nats/token)": "{difference:+.4f}",
            "simultaneous 95 % CI": "[{low:+.4f}, {high:+.4f}]",
            "p (adjusted for all cells)": "{p_text}",
            "verdict": "{verdict}",
        },
    )
    subtitle = list(WITH_INTERVALS) if rows.low.notna().any() else [ONE_SEED]
    layers = _forest_layers(rows, tips)
    if noise := estimate_noise(runs):
        layers.insert(0, _noise_band(noise))
        subtitle.append(BAND)
    chart = alt.layer(*layers).properties(width=WIDTH - 40, height=28 * len(rows))
    return titled(chart, "Which differences to the baseline are more than noise?", subtitle, table)


def _compared_cells(runs: pd.DataFrame) -> pd.DataFrame:
    """The cells in order of their difference, with simultaneous intervals and a verdict each."""
    cells = differences(runs).sort_values("difference")
    verdicts = [_verdict(cell) for cell in cells.itertuples()]
    p_text = cells.p_adjusted.map(_p_text)
    return cells.assign(low=cells.low_all, high=cells.high_all, verdict=verdicts, p_text=p_text)


def _p_text(p: float) -> str | None:
    """`0.096` or `< 0.001`; nothing where it is not known."""
    return None if pd.isna(p) else p_value(p).removeprefix("p ").removeprefix("= ")


def _verdict(cell) -> str:
    if pd.isna(cell.low_all):
        return "no interval"
    if not cell.distinguishable:
        return "not distinguishable"
    return "better" if cell.difference < 0 else "worse"


def _forest_layers(rows: pd.DataFrame, tips: list) -> list:
    """A line at no difference; a row per cell: its interval, and its point by verdict."""
    verdicts = [verdict for verdict in VERDICTS if verdict in set(rows.verdict)]
    colours, shapes = zip(*(VERDICTS[verdict] for verdict in verdicts), strict=True)
    selection, dimmed = single_out("verdict_pick", "verdict")
    hue, shape = colour_and_shape("verdict", verdicts, colours, shapes, orient="top")
    x = alt.X(
        "difference:Q",
        title="difference in dev loss (nats per token)",
        axis=alt.Axis(grid=False, labelExpr=SIGNED, tickCount=7),
        scale=interval_scale(rows.assign(zero=0), "difference", "zero"),
    )
    y_axis = alt.Axis(ticks=False, domain=False, grid=True)
    y = alt.Y("cell:N", sort=list(rows.cell), title=None, axis=y_axis)
    base = alt.Chart(rows).encode(y=y, tooltip=tips, color=hue, **dimmed)
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=INK, strokeDash=DOTS)
    layers = [zero.encode(x="zero:Q")]
    if rows.low.notna().any():
        spans = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2)
        layers.append(spans.encode(x="low:Q", x2="high"))
    points = base.mark_point(filled=True, size=90).encode(x=x, shape=shape)
    return [*layers, points.add_params(selection)]


def _noise_band(noise: Noise):
    """Where 95 % of the differences of two runs on one seed lie if their cells are equal."""
    half = stats.t.ppf(0.975, noise.df) * 2**0.5 * noise.sigma
    band = alt.Chart(pd.DataFrame({"from": [-half], "to": [half]}))
    band = band.mark_rect(color=FAINT, opacity=0.7, clip=True)
    return band.encode(x="from:Q", x2="to:Q")


# ---------------------------------------------------------------- by what shrinks


@needs_runs
@compares
def share_tradeoff(runs: pd.DataFrame):
    """Dev loss against realised share, a line for each part of the model that the share displaces.

    Losses are less that of the line's own cell at the baseline's share (nats per token, seeds
    paired).
    """
    rows = by_tradeoff(runs)
    rows = rows[rows.groupby("traded_against").difference.transform("count") > 0]
    if rows.empty or rows.traded_against.nunique() < 2:
        return Note(
            "What the share displaces is compared once a factorized arm is there:"
            " `paramalloc sweep params/factorized_mlp.yaml`, then `params/factorized_depth.yaml`."
        )
    rows = rows.assign(percent=100 * rows.embed_share, relative=rows.difference.fillna(0.0))
    baseline = f"{100 * rows.baseline_share.iloc[0]:g} %"
    rows, tips, table = describe_rows(
        rows.drop(columns="baseline_share"),
        {
            "displaced": "{traded_against}",
            "cell": "{cell}",
            "realised share": "{percent:.1f} %",
            "dev loss (nats/token)": "{dev_loss:.4f}",
            "95 % CI over seeds": "[{low:.4f}, {high:.4f}]",
            f"less its {baseline} (paired)": "{difference:+.4f}",
            "95 % CI of the difference": "[{difference_low:+.4f}, {difference_high:+.4f}]",
        },
    )
    rows = rows.assign(low=rows.difference_low, high=rows.difference_high)
    x = alt.X(
        "embed_share:Q",
        title="realised embedding share",
        axis=alt.Axis(labelExpr=PERCENT, tickCount=6),
        scale=padded_scale(),
    )
    y = alt.Y("relative:Q", title=f"dev loss less that at {baseline} (nats per token)")
    return titled(
        interval_lines(rows, tips, x, y, "traded_against", "what the share displaces"),
        "Is it the share, or what it displaces?",
        [
            f"Each line's cells less its own {baseline} cell, paired by seed; lower is better."
            " Lines: 95 % CIs.",
            "The legend names what shrinks as the embedding grows. Points of one share are drawn"
            " side by side.",
        ],
        table,
    )
