"""How the dev loss came down during training."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from ..analysis import cells_table, dev_curves
from ..runs import Note
from .base import colour_and_shape, describe_rows, needs_runs, single_out, thin_rows, titled
from .labels import WIDTH
from .theme import DASH, DOTS, GREY, INK, SHADES, SI

DRAWN = 3000  # probes of a panel with more are thinned to about as many,
FEWEST = 8  # but not below so many a curve

# How a run ended, by its status; all others are unfinished.
ENDINGS = {"completed": "completed", "stopped_early": "stopped early"}
PROBE = {
    "GLU": "{expansion}",
    "seed": "{seed:.0f}",
    "run": "{state}",
    "tokens": "{tokens:,.0f}",
    "probe loss (nats/token)": "{dev_loss:.4f}",
    "probe ppl": "{dev_ppl:.1f}",
}


@needs_runs
def learning_curves(runs: pd.DataFrame):
    """Dev perplexity (log scale) against tokens, a panel per requested share.

    Curves of runs that were stopped early, or are unfinished, are dashed and say so.
    """
    cells = cells_table(runs)
    points = _probes(runs, cells)
    if points.empty:
        return Note("Learning curves need runs that recorded their probes: there are none.")
    drawn = _thinned(points)
    thinned = ["Of long curves only some probes are drawn."] if len(drawn) < len(points) else []
    points = drawn
    unigram = cells.unigram_loss.mean()
    names = sorted(points.panel.unique(), key=lambda name: float(name.split()[1]))
    width = WIDTH // len(names)
    panels = [_share_panel(points, name, width, unigram, name == names[0]) for name in names]
    ends = points[points.end].sort_values(["share", "glu", "seed"])
    _, _, table = describe_rows(ends, {"share": "{panel}"} | PROBE)
    return titled(
        alt.hconcat(*panels, spacing=16).resolve_scale(x="shared", y="shared"),
        "How fast does each allocation learn?",
        [
            "Perplexity of the dev probe, a sample of the split, during training (log scale);"
            " lower is better.",
            "Dotted: token frequencies alone (unigram).",
            *thinned,
        ],
        table,
    )


# ---------------------------------------------------------------- data


def _probes(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Each probe with its panel, its GLU as text, how its run ended, and whether it ends here."""
    probes = dev_curves(runs)
    if probes.empty:
        return probes
    share = cells.requested_share.fillna(cells.embed_share.round(2))
    glu = cells.requested_glu.fillna(cells.glu)
    cells = cells.assign(
        share=share,
        glu=glu,
        panel=[f"share {100 * value:g} %" for value in share],
        expansion=[f"{value:.4g}" for value in glu],
    )
    columns = ["share", "glu", "panel", "expansion", "run_ids"]
    of_run = cells[columns].explode("run_ids").rename(columns={"run_ids": "run_id"})
    ends = runs.assign(state=runs.status.map(ENDINGS).fillna("unfinished"))
    ends = ends[["run_id", "seed", "state"]]
    points = probes.merge(ends, "left", "run_id").merge(of_run, on="run_id")
    last = points.groupby("run_id").tokens.transform("max")
    return points.assign(end=points.tokens == last, late=points.tokens > 0.6 * points.tokens.max())


def _thinned(points: pd.DataFrame) -> pd.DataFrame:
    """The probes that are drawn: all, but of panels that hold too many for a page."""
    kept = []
    for _, panel in points.groupby("panel"):
        curves = panel.groupby("run_id")
        most = max(DRAWN // curves.ngroups, FEWEST)
        if len(panel) <= DRAWN:
            kept.append(panel.index)
        else:
            kept += [thin_rows(curve, most).index for _, curve in curves]
    return points.loc[np.sort(np.concatenate(kept))]


# ---------------------------------------------------------------- drawing


def _share_panel(points: pd.DataFrame, name: str, width: int, unigram: float, first: bool):
    """The curves of one share; the first panel carries the axis and the words of all."""
    order = sorted(points.expansion.unique(), key=float)
    here, tips, _ = describe_rows(points[points.panel == name], PROBE)
    y = _perplexity_axis(first)
    base = alt.Chart(here).encode(x=_tokens_axis(), y=y)
    unfinished_ends = here[here.end & (here.state != "completed")]
    layers = [
        *_curve_layers(base, tips, order, selects=first),
        *_unfinished_labels(base, unfinished_ends),
        *_unigram_layers(unigram, y, width if first else 0),
        _panel_title(name, width),
    ]
    return alt.layer(*layers).properties(width=width, height=320)


def _tokens_axis() -> alt.X:
    axis = alt.Axis(labelExpr=SI, tickCount=3, grid=False)
    return alt.X("tokens:Q", title="training tokens", axis=axis)


def _perplexity_axis(first: bool) -> alt.Y:
    scale = alt.Scale(type="log", nice=False)
    if first:
        axis = alt.Axis(format=",", tickCount=6)
        return alt.Y("dev_ppl:Q", title="dev perplexity", scale=scale, axis=axis)
    axis = alt.Axis(format=",", tickCount=6, labels=False, ticks=False, domain=False)
    return alt.Y("dev_ppl:Q", title=None, scale=scale, axis=axis)


def _curve_layers(base: alt.Chart, tips: list, order: list[str], selects: bool) -> list:
    """A line per run, a wide invisible target for its tooltips, and a mark where it ended."""
    selection, dimmed = single_out("expansion_pick", "expansion")
    hue, shape = colour_and_shape("expansion", order, SHADES, title="GLU expansion")
    dashes = alt.Scale(
        domain=["completed", "stopped early", "unfinished"], range=[[1, 0], DASH, DASH]
    )
    dash = alt.StrokeDash("state:N", legend=None, scale=dashes)
    lines = base.mark_line(strokeWidth=1.8, tooltip=None)
    lines = lines.encode(detail="run_id:N", color=hue, strokeDash=dash, **dimmed)
    targets = base.mark_point(filled=True, size=90, opacity=0).encode(tooltip=tips)
    ends = base.transform_filter(alt.datum.end).mark_point(filled=True, size=60)
    ends = ends.encode(color=hue, shape=shape, tooltip=tips, **dimmed)
    if selects:
        ends = ends.add_params(selection)
    return [lines, targets, ends]


def _unfinished_labels(base: alt.Chart, ends: pd.DataFrame) -> list:
    """How a run ended, on the side of its end that its own line leaves free."""
    places = {
        True: {"align": "right", "dx": 0, "dy": -20},
        False: {"align": "left", "dx": 9, "dy": -10},
    }
    labels = []
    for late, rows in ends.drop_duplicates(["tokens", "state"]).groupby("late"):
        label = base.properties(data=rows).mark_text(fontSize=11, color=INK, **places[late])
        labels.append(label.encode(text="state:N"))
    return labels


def _unigram_layers(loss: float, y: alt.Y, label_at: int) -> list:
    """The perplexity of knowing token frequencies alone, which every model must beat."""
    if np.isnan(loss):
        return []
    level = pd.DataFrame({"dev_ppl": [float(np.exp(loss))], "word": ["unigram"]})
    base = alt.Chart(level).encode(y=y)
    rule = base.mark_rule(color=GREY, strokeDash=DOTS)
    if not label_at:
        return [rule]
    word = base.mark_text(align="right", dy=-8, fontSize=11, color=GREY)
    return [rule, word.encode(x=alt.value(label_at), text="word")]


def _panel_title(name: str, width: int):
    """A word at a fixed height: a title would sit higher beside an axis with labels."""
    word = alt.Chart(pd.DataFrame({"name": [name]}))
    word = word.mark_text(fontSize=12, fontWeight="bold", color=INK)
    return word.encode(text="name:N", x=alt.value(width / 2), y=alt.value(-14))
