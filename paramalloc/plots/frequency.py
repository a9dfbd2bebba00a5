"""In which tokens, frequent or rare, an embedding share wins or loses."""

from __future__ import annotations

import altair as alt
import pandas as pd

from ..analysis import cells_table, completed_cells, losses_by_frequency
from ..runs import Note
from .base import colour_and_shape, compares, describe_rows, needs_runs, single_out, titled
from .labels import WIDTH
from .theme import DOTS, GREY, SHADES


@needs_runs
@compares
def frequency_deciles(runs: pd.DataFrame):
    """Dev loss (nats per token) of each share by decile of token frequency.

    It is the mean over the share's cells less the mean of all shares.
    """
    losses = _cell_losses(runs)
    if losses.share.nunique() < 2:
        return Note(
            "Losses by token frequency compare embedding shares: there are not two of them yet."
        )
    noise = "means over the seeds"
    if losses.groupby("cell").run_id.nunique().max() == 1:
        noise = "one seed, so much of it may be noise"
    rows, tips, table = describe_rows(
        _share_differences(losses),
        {
            "share": "{share}",
            "tenth (10 is the rarest)": "{decile:.0f}",
            "above the mean (nats/token)": "{difference:+.4f}",
        },
    )
    return titled(
        _deciles_chart(rows, tips),
        "In which tokens does a share win or lose?",
        [
            "Dev loss of each tenth of the text's tokens: mean over a share's cells, less the mean"
            " of all shares.",
            f"Lower is better. No intervals: {noise}.",
        ],
        table,
    )


# ---------------------------------------------------------------- data


def _cell_losses(runs: pd.DataFrame) -> pd.DataFrame:
    """Losses by run and decile, of the completed cells whose expansion every share has."""
    cells = completed_cells(cells_table(runs))
    share = cells.requested_share.fillna(cells.embed_share.round(2))
    cells = cells.assign(share=[f"{100 * value:g} %" for value in share])
    n_shares = cells.groupby("requested_glu").share.nunique()
    shared = n_shares.index[n_shares == cells.share.nunique()]
    cells = cells[cells.requested_glu.isin(shared)]
    of_run = cells[["share", "cell", "run_ids"]].explode("run_ids")
    return losses_by_frequency(runs).dropna().merge(of_run, left_on="run_id", right_on="run_ids")


def _share_differences(losses: pd.DataFrame) -> pd.DataFrame:
    """Each share's mean loss in a decile, less the mean of all shares."""
    # The mean of a cell first: more seeds give it no more weight.
    means = losses.groupby(["share", "cell", "decile"]).loss.mean()
    means = means.groupby(["share", "decile"]).mean().unstack("share")
    differences = means.sub(means.mean(axis=1), axis=0).stack()
    return differences.rename("difference").reset_index()


# ---------------------------------------------------------------- drawing


def _deciles_chart(rows: pd.DataFrame, tips: list):
    order = sorted(rows.share.unique(), key=lambda name: float(name[:-2]))
    selection, dimmed = single_out("share_pick", "share")
    hue, shape = colour_and_shape("share", order, SHADES, title="embedding share")
    x = alt.X(
        "decile:O",
        title="tenths of the tokens by frequency, the rarest at the right",
        axis=alt.Axis(labelAngle=0),
    )
    y = alt.Y("difference:Q", title="dev loss above the mean (nats per token)")
    base = alt.Chart(rows).encode(x=x, y=y, color=hue, shape=shape, tooltip=tips, **dimmed)
    zero = alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(color=GREY, strokeDash=DOTS)
    lines = base.mark_line(strokeWidth=1.8, tooltip=None)
    points = base.mark_point(filled=True, size=60).add_params(selection)
    return alt.layer(zero.encode(y="y:Q"), lines, points).properties(width=WIDTH, height=300)
