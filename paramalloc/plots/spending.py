"""The ranking at equal tokens, at equal training FLOPs and at equal training time."""

from __future__ import annotations

import altair as alt
import pandas as pd

from ..analysis import cells_table, views
from ..runs import Note
from .base import colour_and_shape, compares, describe_rows, needs_runs, single_out, titled
from .labels import WIDTH
from .theme import SHADES

VIEWS = {"tokens": "equal tokens", "flops": "equal training FLOPs", "time": "equal training time"}
AMOUNTS = {"tokens": "{:,.0f} tokens", "flops": "{:.3g} FLOPs", "time": "{:,.0f} s"}


@needs_runs
@compares
def equal_spending(runs: pd.DataFrame):
    """Probe loss (nats per token) of each cell at equal tokens, FLOPs and time, interpolated."""
    rows = _spending(runs)
    if rows.empty:
        return Note(
            "The loss at equal tokens, operations and time needs probes of two cells:"
            " there are none yet."
        )
    rows, tips, table = describe_rows(
        rows,
        {
            "cell": "{cell}",
            "at": "{name}",
            "amount": "{amount}",
            "probe loss (nats/token)": "{dev_loss:.4f}",
        },
    )
    return titled(
        _spending_chart(rows, tips),
        "Does the ranking depend on what is held equal?",
        [
            "A line per cell: its probe loss at the largest amount that all cells reached;"
            " where lines cross, ranks change.",
            "The cheapest cell sets that amount. It has finished its learning-rate decay, the"
            " others have not: that favours it.",
        ],
        table,
    )


def _spending(runs: pd.DataFrame) -> pd.DataFrame:
    """The losses of each view, with the view, the amount and the requested share in words."""
    rows = views(runs)
    shares = cells_table(runs).set_index("cell").requested_share
    amounts = zip(rows.view, rows["at"], strict=True)
    return rows.assign(
        name=rows.view.map(VIEWS),
        amount=[AMOUNTS[view].format(amount) for view, amount in amounts],
        share=[f"{100 * shares.get(cell):g} %" for cell in rows.cell],
    )


def _spending_chart(rows: pd.DataFrame, tips: list):
    order = sorted(rows.share.unique(), key=lambda name: float(name[:-2]))
    selection, dimmed = single_out("share_pick", "share")
    hue, shape = colour_and_shape("share", order, SHADES, title="embedding share")
    x = alt.X(
        "name:N",
        sort=list(VIEWS.values()),
        title=None,
        axis=alt.Axis(labelAngle=0, domain=False, ticks=False),
        scale=alt.Scale(padding=0.4),
    )
    y = alt.Y(
        "dev_loss:Q",
        title="loss on the dev probe (nats per token)",
        scale=alt.Scale(zero=False, padding=12),
    )
    base = alt.Chart(rows).encode(x=x, y=y, color=hue, tooltip=tips, **dimmed)
    lines = base.mark_line(strokeWidth=1.5, tooltip=None).encode(detail="cell:N")
    points = base.mark_point(filled=True, size=60).encode(shape=shape).add_params(selection)
    return alt.layer(lines, points).properties(width=WIDTH, height=320)
