"""Differences and what they are worth: to the baseline, by who pays for the share, at equal tokens, operations and time."""

import altair as alt
import pandas as pd

from ..analyze import Note, by_payer, cells_table, differences, noise_floor, views
from ..labels import WIDTH
from .base import BLUE, DASH, FAINT, GREY, INK, PERCENT, SHADES, facts, needs_runs, single_out, titled

VERDICTS = ["better", "worse", "not distinguishable", "no interval"]
VIEWS = {"tokens": "equal tokens", "flops": "equal training FLOPs", "time": "equal training time"}


@needs_runs
def difference_forest(runs: pd.DataFrame):
    """Each cell's dev loss less the baseline's (nats per token) with its 95 % interval, and whether the difference may be claimed."""
    found, floor = differences(runs).sort_values("difference"), noise_floor(runs)
    if found.empty:
        return Note("The baseline (35 % × 2.66) is not complete, so there is nothing to compare the cells with.")
    found, tips, table = facts(found.assign(verdict=_verdicts(found)), {
        "cell": "{cell}", "difference (nats/token)": "{difference:+.4f}", "95 % interval": "[{low:+.4f}, {high:+.4f}]",
        "p (adjusted for all cells)": "{p_adjusted:.3g}", "verdict": "{verdict}"})
    layers = _rows(found, tips, "difference", "difference in dev loss (nats per token)", 0)
    words = ["Left of the dotted line is better. Points: means paired over seeds; lines: 95 % intervals; the verdict holds at 5 % over all cells."]
    if found.low.isna().all():
        words = ["One seed: there are no intervals, so no difference may be claimed."]
    if floor:
        layers, words = [_band(floor), *layers], [*words, "Band: 95 % of the differences of two single runs of one cell that differ in their seed: one seed could not tell more."]
    return titled(alt.layer(*layers).properties(width=WIDTH - 40, height=28 * len(found)), "Which differences to the baseline are more than noise?", words, table)


def _verdicts(found: pd.DataFrame) -> list[str]:
    claimed = lambda row: "better" if row.difference < 0 else "worse"
    return ["no interval" if pd.isna(row.low) else claimed(row) if row.distinguishable else "not distinguishable" for row in found.itertuples()]


def _rows(found: pd.DataFrame, tips: list, value: str, title: str, zero: float) -> list:
    """A forest: a row per cell, its point by verdict, its interval, and a line at `zero`."""
    present = [verdict for verdict in VERDICTS if verdict in set(found.verdict)]
    look = {"better": (BLUE, "circle"), "worse": (SHADES[1], "square"), "not distinguishable": (GREY, "diamond"), "no interval": (GREY, "triangle-up")}
    chosen, dimmed = single_out("verdict_pick", "verdict")
    legend = alt.Legend(title=None, orient="top", symbolOpacity=1)
    hue = alt.Color("verdict:N", scale=alt.Scale(domain=present, range=[look[v][0] for v in present]), legend=legend)
    shape = alt.Shape("verdict:N", scale=alt.Scale(domain=present, range=[look[v][1] for v in present]), legend=legend)
    y = alt.Y("cell:N", sort=list(found.cell), title=None, axis=alt.Axis(ticks=False, domain=False, grid=True))
    x = alt.X(f"{value}:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(grid=False, labelExpr="datum.value == 0 ? '0' : format(datum.value, '+.3~f')", tickCount=7))
    base = alt.Chart(found).encode(y=y, tooltip=tips)
    line = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high", color=hue, **dimmed)
    point = base.mark_point(filled=True, size=90).encode(x=x, color=hue, shape=shape, **dimmed).add_params(chosen)
    mark = alt.Chart(pd.DataFrame({"zero": [zero]})).mark_rule(color=INK, strokeDash=[2, 3]).encode(x="zero:Q")
    return [mark, line.transform_filter(alt.datum.low != None), point]  # noqa: E711 (Vega's comparison)


def _band(floor):
    half = 1.96 * 2**0.5 * floor.sd
    band = alt.Chart(pd.DataFrame({"from": [-half], "to": [half]})).mark_rect(color=FAINT, opacity=0.7)
    return band.encode(x="from:Q", x2="to:Q")


@needs_runs
def share_by_payer(runs: pd.DataFrame):
    """Dev loss (nats per token) against realised share, a line for each thing that pays for the share."""
    found = by_payer(runs)
    if found.empty or found.payer.nunique() < 2:
        return Note("Share is compared by who pays for it once a factorized arm is there: `paramalloc sweep params/factorized_mlp.yaml`, "
                    "then `params/factorized_depth.yaml`.")
    found, tips, table = facts(found.assign(percent=100 * found.embed_share), {
        "paid by": "{payer}", "cell": "{cell}", "realised share": "{percent:.1f} %", "dev loss (nats/token)": "{dev_loss:.4f}",
        "95 % interval": "[{low:.4f}, {high:.4f}]"})
    chart = lines(found, tips, "payer", "embed_share", "realised embedding share", "who pays for the share", axis=alt.Axis(labelExpr=PERCENT, tickCount=6))
    return titled(chart, "Is it the share, or what it displaces?",
                  "Dev loss against share, by what shrinks when the embedding grows. Lines: 95 % intervals.", table)


def lines(found: pd.DataFrame, tips: list, by: str, x: str, x_title: str, by_title: str | None, y: str = "dev_loss", y_title: str = "dev loss (nats per token)",
          axis: alt.Axis | None = None, log: bool = False):
    """Points with 95 % intervals against `x`, joined for each value of `by`; a click on the legend singles one out."""
    order = list(dict.fromkeys(found[by]))
    chosen, dimmed = single_out(f"{by}_pick", by)
    legend = alt.Legend(title=by_title, orient="bottom", columns=4, symbolOpacity=1)
    colours = SHADES if len(order) > 1 else [BLUE]
    hue = alt.Color(f"{by}:N", scale=alt.Scale(domain=order, range=colours), legend=legend)
    shape = alt.Shape(f"{by}:N", scale=alt.Scale(domain=order), legend=legend)
    scale = alt.Scale(type="log", padding=20, nice=False) if log else alt.Scale(zero=False, padding=20, nice=False)
    at = alt.X(f"{x}:Q", title=x_title, axis=axis or alt.Axis(), scale=scale)
    high = alt.Y(f"{y}:Q", title=y_title, scale=alt.Scale(zero=False))
    side = found[by].map(order.index) - (len(order) - 1) / 2  # side by side, so that all intervals are seen; tooltips tell the true values
    found = found.assign(**{x: found[x] * (1 + 0.006 * side)})
    base = alt.Chart(found).encode(x=at, tooltip=tips, color=hue, **dimmed)
    return alt.layer(
        base.mark_line(strokeWidth=1.6, tooltip=None).encode(y=high),
        base.transform_filter(alt.datum.low != None).mark_rule(strokeWidth=1.4).encode(y=alt.Y("low:Q", title=y_title), y2="high"),  # noqa: E711
        base.mark_point(filled=True, size=75).encode(y=high, shape=shape).add_params(chosen),
    ).properties(width=WIDTH, height=300)


@needs_runs
def equal_spending(runs: pd.DataFrame):
    """Dev loss (nats per token) of each cell at equal tokens, training FLOPs and training time, interpolated on its probes."""
    found = views(runs)
    if found.empty:
        return Note("The loss at equal tokens, operations and time needs probes of two cells: there are none yet.")
    shares = cells_table(runs).set_index("cell").requested_share
    found = found.assign(name=found.view.map(VIEWS), share=[f"{100 * shares.get(cell):g} %" for cell in found.cell])
    found, tips, table = facts(found, {"cell": "{cell}", "at": "{name}", "amount": "{at:.4g}", "dev loss (nats/token)": "{dev_loss:.4f}"})
    order = sorted(found.share.unique(), key=lambda name: float(name[:-2]))
    chosen, dimmed = single_out("share_pick", "share")
    hue = alt.Color("share:N", scale=alt.Scale(domain=order, range=SHADES), legend=alt.Legend(title="embedding share", orient="bottom", symbolOpacity=1))
    x = alt.X("name:N", sort=list(VIEWS.values()), title=None, axis=alt.Axis(labelAngle=0, domain=False, ticks=False), scale=alt.Scale(padding=0.4))
    base = alt.Chart(found).encode(x=x, y=alt.Y("dev_loss:Q", title="dev loss (nats per token)", scale=alt.Scale(zero=False, padding=12)), color=hue, tooltip=tips, **dimmed)
    chart = alt.layer(base.mark_line(strokeWidth=1.5, tooltip=None).encode(detail="cell:N"), base.mark_point(filled=True, size=60).add_params(chosen))
    return titled(chart.properties(width=WIDTH, height=320), "Does the ranking hang on what is held equal?",
                  ["A line per cell: its loss in mid-schedule at the largest amount that all cells reached. Lines that cross",
                   "are cells that change places."], table)
