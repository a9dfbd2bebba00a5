"""Charts of how the loss came down and of which tokens it is made."""

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import cells_table
from ..analysis import dev_curves as probes
from ..analysis import losses_by_frequency as frequencies
from ..runs import Note
from .base import DASH, GREY, INK, SHADES, SI, facts, grouped, needs_runs, single_out, titled
from .labels import WIDTH


@needs_runs
def learning_curves(runs: pd.DataFrame):
    """Dev perplexity (log scale) against tokens, a panel per requested share; unfinished runs are dashed and say so."""
    table, curves = (
        cells_table(runs),
        probes(runs).merge(runs[["run_id", "seed"]], "left", "run_id"),
    )
    points = _points(curves, table) if len(curves) else curves
    if points.empty:
        return Note("Learning curves need runs that recorded their probes: there are none.")
    names = sorted(points.panel.unique(), key=lambda name: float(name.split()[1]))
    panels = [
        _panel(points, name, WIDTH // len(names), table.unigram_loss.mean(), name == names[0])
        for name in names
    ]
    chart = alt.hconcat(*panels, spacing=16).resolve_scale(x="shared", y="shared")
    ends = points[points.end].sort_values(["share", "glu", "seed"])
    _, _, numbers = facts(
        ends,
        {
            "share": "{panel}",
            "GLU": "{expansion}",
            "seed": "{seed:.0f}",
            "run": "{state}",
            "tokens": "{tokens:,.0f}",
            "probe loss (nats/token)": "{dev_loss:.4f}",
            "probe ppl": "{dev_ppl:.1f}",
        },
    )
    return titled(
        chart,
        "How fast does each allocation learn?",
        [
            "Perplexity of the dev probe, a sample of the split, during training (log scale); lower is better.",
            "Dotted: token frequencies alone (unigram).",
        ],
        numbers,
    )


def _points(curves: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Each probe with its panel, its GLU as text, and whether its run finished and is at its end here."""
    share, glu = (
        table.requested_share.fillna(table.embed_share.round(2)),
        table.requested_glu.fillna(table.glu),
    )
    cells = table.assign(
        share=share,
        glu=glu,
        panel=[f"share {100 * value:g} %" for value in share],
        expansion=[f"{value:.4g}" for value in glu],
        state=np.where(table.dev_loss.notna(), "completed", "unfinished"),
    )[["share", "glu", "panel", "expansion", "state", "run_ids"]].explode("run_ids")
    points = curves.merge(cells, left_on="run_id", right_on="run_ids").drop(columns="run_ids")
    late = points.tokens > 0.6 * points.tokens.max()
    return points.assign(
        end=points.tokens == points.groupby("run_id").tokens.transform("max"), late=late
    )


def _panel(points: pd.DataFrame, name: str, width: int, unigram: float, first: bool):
    """Lines, a mark where each run ended, the word beside an unfinished end, and the unigram model above."""
    order = sorted(points.expansion.unique(), key=float)
    chosen, dimmed = single_out("expansion_pick", "expansion")
    hue, shape = grouped("expansion", order, SHADES, title="GLU expansion")
    dash = alt.StrokeDash(
        "state:N",
        legend=None,
        scale=alt.Scale(domain=["completed", "unfinished"], range=[[1, 0], DASH]),
    )
    look = (
        {"tickCount": 6}
        if first
        else {"tickCount": 6, "labels": False, "ticks": False, "domain": False}
    )
    log = alt.Scale(type="log", nice=False)
    y = alt.Y(
        "dev_ppl:Q",
        title="dev perplexity" if first else None,
        scale=log,
        axis=alt.Axis(format=",", **look),
    )
    x = alt.X(
        "tokens:Q", title="training tokens", axis=alt.Axis(labelExpr=SI, tickCount=3, grid=False)
    )
    here, tips, _ = facts(
        points[points.panel == name],
        {
            "GLU": "{expansion}",
            "seed": "{seed:.0f}",
            "run": "{state}",
            "tokens": "{tokens:,.0f}",
            "probe loss (nats/token)": "{dev_loss:.4f}",
            "probe ppl": "{dev_ppl:.1f}",
        },
    )
    base = alt.Chart(here).encode(x=x, y=y)
    ends = base.transform_filter(alt.datum.end)
    layers = [
        base.mark_line(strokeWidth=1.8, tooltip=None).encode(
            detail="run_id:N", color=hue, strokeDash=dash, **dimmed
        ),
        base.mark_point(filled=True, size=90, opacity=0).encode(
            tooltip=tips
        ),  # a wide target for the tooltip
        ends.mark_point(filled=True, size=60)
        .encode(color=hue, shape=shape, tooltip=tips, **dimmed)
        .add_params(*[chosen] * first),
        *_words(base, here[here.end & (here.state == "unfinished")]),
        *([] if np.isnan(unigram) else _unigram(unigram, y, width if first else 0)),
    ]
    # A title would sit higher beside an axis with labels than beside one without: a word at a fixed height does not.
    title = alt.Chart(pd.DataFrame({"name": [name]})).mark_text(
        fontSize=12, fontWeight="bold", color=INK
    )
    title = title.encode(text="name:N", x=alt.value(width / 2), y=alt.value(-14))
    return alt.layer(*layers, title).properties(width=width, height=320)


def _words(base: alt.Chart, ends: pd.DataFrame) -> list:
    """The word `unfinished`, on the side of a run's end that its own line leaves free."""
    place = {
        True: {"align": "right", "dx": 0, "dy": -20},
        False: {"align": "left", "dx": 9, "dy": -10},
    }
    word = lambda part, look: (
        base.properties(data=part).mark_text(fontSize=11, color=INK, **look).encode(text="state:N")
    )
    return [word(part, place[late]) for late, part in ends.groupby("late")]


def _unigram(loss: float, y: alt.Y, label_at: int) -> list:
    """The perplexity of knowing token frequencies alone, which every model must beat."""
    level = alt.Chart(pd.DataFrame({"dev_ppl": [float(np.exp(loss))], "word": ["unigram"]})).encode(
        y=y
    )
    word = level.mark_text(align="right", dy=-8, fontSize=11, color=GREY).encode(
        x=alt.value(label_at), text="word"
    )
    return [level.mark_rule(color=GREY, strokeDash=[2, 3]), *([word] if label_at else [])]


@needs_runs
def by_frequency(runs: pd.DataFrame):
    """Dev loss of each decile of token frequency, mean over the cells of a requested share (those GLU expansions that every
    share has), less the mean of all shares."""
    table, losses = cells_table(runs), frequencies(runs)
    cells = table.assign(
        share=[
            f"{100 * value:g} %"
            for value in table.requested_share.fillna(table.embed_share.round(2))
        ]
    )
    glus = cells.groupby("requested_glu").share.nunique()
    cells = cells[
        cells.requested_glu.isin(glus.index[glus == cells.share.nunique()])
    ]  # the same expansions for every share
    points = losses.dropna().merge(
        cells[["share", "cell", "run_ids"]].explode("run_ids"), left_on="run_id", right_on="run_ids"
    )
    if points.share.nunique() < 2:
        return Note(
            "Losses by token frequency compare embedding shares: there are not two of them yet."
        )
    seeds = points.groupby("cell").run_id.nunique().max()
    means = points.groupby(
        ["share", "cell", "decile"]
    ).loss.mean()  # of a cell first: more seeds give it no more weight
    means = means.groupby(["share", "decile"]).mean().unstack("share")
    means = means.sub(means.mean(axis=1), axis=0).stack().rename("difference").reset_index()
    means, tips, numbers = facts(
        means,
        {
            "share": "{share}",
            "tenth (10 is the rarest)": "{decile:.0f}",
            "above the mean (nats/token)": "{difference:+.4f}",
        },
    )
    return titled(
        _deciles(means, tips),
        "In which tokens does a share win or lose?",
        [
            "Dev loss of each tenth of the text's tokens, mean over a share's cells, beside the mean of all shares; lower is",
            f"better. No intervals: {'one seed, so much of it may be noise' if seeds == 1 else 'means over the seeds'}.",
        ],
        numbers,
    )


def _deciles(means: pd.DataFrame, tips: list):
    order = sorted(means.share.unique(), key=lambda name: float(name[:-2]))
    chosen, dimmed = single_out("share_pick", "share")
    hue, shape = grouped("share", order, SHADES, title="embedding share")
    x = alt.X(
        "decile:O",
        title="tenths of the tokens by frequency, the rarest at the right",
        axis=alt.Axis(labelAngle=0),
    )
    y = alt.Y("difference:Q", title="dev loss above the mean (nats per token)")
    base = alt.Chart(means).encode(x=x, y=y, color=hue, shape=shape, tooltip=tips, **dimmed)
    zero = (
        alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(color=GREY, strokeDash=[2, 3]).encode(y="y:Q")
    )
    points = base.mark_point(filled=True, size=60).add_params(chosen)
    return alt.layer(zero, base.mark_line(strokeWidth=1.8, tooltip=None), points).properties(
        width=WIDTH, height=300
    )
