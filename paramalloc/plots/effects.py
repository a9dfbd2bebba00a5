"""Differences and what they are worth: to the baseline, by who pays for the share, at equal tokens, operations and time."""

import altair as alt
import pandas as pd
from scipy import stats

from ..analysis import by_tradeoff, cells_table, differences, estimate_noise, views
from ..runs import Note
from .base import (
    BLUE,
    FAINT,
    GREY,
    INK,
    PERCENT,
    SHADES,
    facts,
    grouped,
    needs_runs,
    single_out,
    titled,
)
from .labels import WIDTH

VERDICTS = {
    "better": (BLUE, "circle"),
    "worse": (SHADES[1], "square"),
    "not distinguishable": (GREY, "diamond"),
    "no interval": (GREY, "triangle-up"),
}
AMOUNTS = {"tokens": "{:,.0f} tokens", "flops": "{:.3g} FLOPs", "time": "{:,.0f} s"}
VIEWS = {"tokens": "equal tokens", "flops": "equal training FLOPs", "time": "equal training time"}
SIGNED = "datum.value == 0 ? '0' : format(datum.value, '+.3~f')"
FOREST = [
    "Left of the dotted line is better. Points: means paired over seeds; lines: 95 % intervals",
    "for all cells together; the verdict holds at 5 % over all cells together.",
]
NO_CLAIM = "Left of the dotted line is better. One seed: there are no intervals, so no difference may be claimed."
BAND = [
    "Band: where 95 % of the differences of two single runs on one seed lie if their cells are equal."
]


@needs_runs
def difference_forest(runs: pd.DataFrame):
    """Each cell's dev loss less the baseline's (nats per token) with its 95 % interval, and whether the difference may be claimed."""
    found, scatter = differences(runs).sort_values("difference"), estimate_noise(runs)
    if found.empty:
        return Note(
            "The baseline (35 % × 2.66) is not among the completed cells, so there is nothing to compare them with."
        )
    found = found.assign(low=found.low_all, high=found.high_all)
    found, tips, table = facts(
        found.assign(verdict=_verdicts(found)),
        {
            "cell": "{cell}",
            "difference (nats/token)": "{difference:+.4f}",
            "95 % interval for all cells together": "[{low:+.4f}, {high:+.4f}]",
            "p (adjusted for all cells)": "{p_adjusted:.3g}",
            "verdict": "{verdict}",
        },
    )
    words = FOREST if found.low.notna().any() else [NO_CLAIM]
    layers = [*([_band(scatter)] if scatter else []), *_forest(found, tips)]
    chart = alt.layer(*layers).properties(width=WIDTH - 40, height=28 * len(found))
    return titled(
        chart,
        "Which differences to the baseline are more than noise?",
        [*words, *(BAND if scatter else [])],
        table,
    )


def _verdicts(found: pd.DataFrame) -> list[str]:
    claimed = lambda row: "better" if row.difference < 0 else "worse"
    return [
        "no interval"
        if pd.isna(row.low)
        else claimed(row)
        if row.distinguishable
        else "not distinguishable"
        for row in found.itertuples()
    ]


def _forest(found: pd.DataFrame, tips: list) -> list:
    """A row per cell: its point by verdict, its interval; and a line at no difference."""
    present = [verdict for verdict in VERDICTS if verdict in set(found.verdict)]
    chosen, dimmed = single_out("verdict_pick", "verdict")
    hue, shape = grouped(
        "verdict", present, *zip(*(VERDICTS[name] for name in present)), orient="top"
    )
    y = alt.Y(
        "cell:N",
        sort=list(found.cell),
        title=None,
        axis=alt.Axis(ticks=False, domain=False, grid=True),
    )
    axis = alt.Axis(grid=False, labelExpr=SIGNED, tickCount=7)
    scale = reach(found.assign(zero=0), "difference", "zero")
    x = alt.X(
        "difference:Q", title="difference in dev loss (nats per token)", axis=axis, scale=scale
    )
    base = alt.Chart(found).encode(y=y, tooltip=tips, color=hue, **dimmed)
    zero = (
        alt.Chart(pd.DataFrame({"zero": [0]}))
        .mark_rule(color=INK, strokeDash=[2, 3])
        .encode(x="zero:Q")
    )
    span = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(x="low:Q", x2="high")
    )
    point = base.mark_point(filled=True, size=90).encode(x=x, shape=shape).add_params(chosen)
    return [zero, *([span] if found.low.notna().any() else []), point]


def _band(scatter):
    half = stats.t.ppf(0.975, scatter.df) * 2**0.5 * scatter.sigma
    band = alt.Chart(pd.DataFrame({"from": [-half], "to": [half]})).mark_rect(
        color=FAINT, opacity=0.7, clip=True
    )
    return band.encode(x="from:Q", x2="to:Q")


@needs_runs
def share_by_payer(runs: pd.DataFrame):
    """Dev loss less that of a payer's own 35 % (nats per token, seeds paired) against realised share, a line for each thing that pays."""
    found = by_tradeoff(runs)
    found = found[found.groupby("traded_against").difference.transform("count") > 0]
    if found.empty or found.traded_against.nunique() < 2:
        return Note(
            "Share is compared by who pays for it once a factorized arm is there: `paramalloc sweep params/factorized_mlp.yaml`, "
            "then `params/factorized_depth.yaml`."
        )
    found = found.assign(percent=100 * found.embed_share, beside=found.difference.fillna(0.0))
    found, tips, table = facts(
        found,
        {
            "paid by": "{traded_against}",
            "cell": "{cell}",
            "realised share": "{percent:.1f} %",
            "dev loss (nats/token)": "{dev_loss:.4f}",
            "95 % interval": "[{low:.4f}, {high:.4f}]",
            "less its 35 % (paired)": "{difference:+.4f}",
            "95 % interval of that": "[{difference_low:+.4f}, {difference_high:+.4f}]",
        },
    )
    x = alt.X(
        "embed_share:Q",
        title="realised embedding share",
        axis=alt.Axis(labelExpr=PERCENT, tickCount=6),
        scale=plain(),
    )
    y = alt.Y("beside:Q", title="dev loss less that at 35 % (nats per token)")
    found = found.assign(low=found.difference_low, high=found.difference_high)
    return titled(
        lines(found, tips, x, y, "traded_against", "who pays for the share"),
        "Is it the share, or what it displaces?",
        [
            "Each payer's cells less its own 35 %, seeds paired; lower is better. Lines: 95 % intervals.",
            "What shrinks as the embedding grows is in the legend; points of one share stand side by side.",
        ],
        table,
    )


def plain(kind: str = "linear") -> alt.Scale:
    """A linear or log scale from the lowest value to the highest, with room at both ends."""
    return alt.Scale(
        type=kind, padding=20, nice=False, **({"zero": False} if kind == "linear" else {})
    )


def reach(found: pd.DataFrame, *names: str) -> alt.Scale:
    """A scale that holds all of these columns and the ends of all intervals."""
    values = found[[*names, "low", "high"]].astype(float)
    return alt.Scale(domain=[values.min(axis=None), values.max(axis=None)], nice=True, zero=False)


def lines(found: pd.DataFrame, tips: list, x: alt.X, y: alt.Y, by: str, by_title: str | None):
    """Points with 95 % intervals (low, high), joined for each value of `by`; side by side, so that intervals at one x are all seen
    (the tooltips tell the true x)."""
    order, field = list(dict.fromkeys(found[by])), x.to_dict()["field"]
    side = found[by].map(order.index) - (len(order) - 1) / 2
    chosen, dimmed = single_out(f"{by}_pick", by)
    hue, shape = grouped(by, order, SHADES if len(order) > 1 else [BLUE], title=by_title)
    base = alt.Chart(found.assign(**{field: found[field] * (1 + 0.006 * side)})).encode(
        x=x, tooltip=tips, color=hue, **dimmed
    )
    at = y.scale(reach(found, y.to_dict()["field"]))
    low = alt.Y("low:Q", title=y.to_dict()["title"])
    span = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=1.4)
        .encode(y=low, y2="high")
    )
    point = base.mark_point(filled=True, size=75).encode(y=at, shape=shape).add_params(chosen)
    joined = base.mark_line(strokeWidth=1.6, tooltip=None).encode(y=at)
    return alt.layer(joined, *([span] if found.low.notna().any() else []), point).properties(
        width=WIDTH, height=300
    )


@needs_runs
def equal_spending(runs: pd.DataFrame):
    """Probe loss (nats per token) of each cell at equal tokens, training FLOPs and training time, interpolated."""
    found, shares = views(runs), cells_table(runs).set_index("cell").requested_share
    if found.empty:
        return Note(
            "The loss at equal tokens, operations and time needs probes of two cells: there are none yet."
        )
    found = found.assign(
        name=found.view.map(VIEWS),
        amount=[AMOUNTS[view].format(at) for view, at in zip(found.view, found["at"])],
        share=[f"{100 * shares.get(cell):g} %" for cell in found.cell],
    )
    found, tips, table = facts(
        found,
        {
            "cell": "{cell}",
            "at": "{name}",
            "amount": "{amount}",
            "probe loss (nats/token)": "{dev_loss:.4f}",
        },
    )
    chosen, dimmed = single_out("share_pick", "share")
    hue, shape = grouped(
        "share",
        sorted(found.share.unique(), key=lambda name: float(name[:-2])),
        SHADES,
        title="embedding share",
    )
    axis = alt.Axis(labelAngle=0, domain=False, ticks=False)
    x = alt.X(
        "name:N", sort=list(VIEWS.values()), title=None, axis=axis, scale=alt.Scale(padding=0.4)
    )
    y = alt.Y(
        "dev_loss:Q",
        title="loss on the dev probe (nats per token)",
        scale=alt.Scale(zero=False, padding=12),
    )
    base = alt.Chart(found).encode(x=x, y=y, color=hue, tooltip=tips, **dimmed)
    joined = base.mark_line(strokeWidth=1.5, tooltip=None).encode(detail="cell:N")
    chart = alt.layer(
        joined, base.mark_point(filled=True, size=60).encode(shape=shape).add_params(chosen)
    )
    return titled(
        chart.properties(width=WIDTH, height=320),
        "Does the ranking hang on what is held equal?",
        [
            "A line per cell: its probe loss at the largest amount that all cells reached. At equal FLOPs or time the cell that sets",
            "the amount is at the end of its schedule, the others before it: that favours it. Where lines cross, cells change places.",
        ],
        table,
    )
