"""Charts of what training brought: learning curves, the share x GLU map, Pareto fronts."""

import altair as alt
import numpy as np
import pandas as pd

from ..analyze import COST_SENSE, Note, completed, pareto_front
from ..labels import HEIGHT, SIDES, WIDTH, place_labels
from .base import BLUE, DASH, FAINT, GREY, INK, PERCENT, SHADES, SI, needs_runs, titled

STEP = {"more": "step-before", "less": "step-after"}  # between two points on a front, only the worse loss is on offer


@needs_runs
def learning_curves(curves: pd.DataFrame, table: pd.DataFrame):
    """Dev perplexity (log scale) against tokens, a panel per requested share; unfinished runs are dashed and say so."""
    points = _points(curves, table)
    names = sorted(points.panel.unique())
    panels = [_panel(points, name, WIDTH // len(names), table.unigram_loss.mean(), name == names[0]) for name in names]
    chart = alt.hconcat(*panels, spacing=16).resolve_scale(x="shared", y="shared")
    return titled(chart, "How fast does each allocation learn?",
                   "Dev perplexity during training; lower is better. Dotted: token frequencies alone (unigram).")


def _points(curves: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Each probe with its panel, its GLU as text, and whether its run finished and is at its end here."""
    share = table.requested_share.fillna(table.embed_share.round(2))
    cells = table.assign(
        panel=[f"share {100 * value:g} %" for value in share],
        expansion=[f"{value:.4g}" for value in table.requested_glu.fillna(table.glu)],
        state=np.where(table.status == "completed", "completed", "unfinished"),
    )[["panel", "expansion", "state", "run_ids"]].explode("run_ids")
    points = curves.merge(cells, left_on="run_id", right_on="run_ids")
    late = points.tokens > 0.6 * points.tokens.max()
    return points.assign(end=points.tokens == points.groupby("run_id").tokens.transform("max"), late=late)


def _panel(points: pd.DataFrame, name: str, width: int, unigram: float, first: bool):
    """Lines, a mark where each run ended, the word beside an unfinished end, and the unigram model above."""
    order = sorted(points.expansion.unique(), key=float)
    legend = alt.Legend(orient="bottom", title="GLU expansion", symbolOpacity=1)
    hue = alt.Color("expansion:N", scale=alt.Scale(domain=order, range=SHADES), legend=legend)
    shape = alt.Shape("expansion:N", scale=alt.Scale(domain=order), legend=legend)
    dashes = alt.Scale(domain=["completed", "unfinished"], range=[[1, 0], DASH])
    dash = alt.StrokeDash("state:N", legend=None, scale=dashes)
    look = {"tickCount": 6} if first else {"tickCount": 6, "labels": False, "ticks": False, "domain": False}
    log = alt.Scale(type="log", zero=False, nice=False)
    y = alt.Y("dev_ppl:Q", title="dev perplexity" if first else None, scale=log, axis=alt.Axis(format=",", **look))
    x = alt.X("tokens:Q", title="training tokens", axis=alt.Axis(labelExpr=SI, tickCount=3, grid=False))
    base = alt.Chart(points[points.panel == name]).encode(x=x, y=y)
    ends = base.transform_filter(alt.datum.end)
    layers = [
        base.mark_line(strokeWidth=1.8).encode(detail="run_id:N", color=hue, strokeDash=dash),
        ends.mark_point(filled=True, size=60, opacity=1).encode(color=hue, shape=shape),
        *(_word(ends.transform_filter(alt.datum.late == late), "right" if late else "left") for late in (True, False)),
        *([] if np.isnan(unigram) else _unigram(unigram, y, width if first else 0)),
    ]
    # A title would sit higher beside an axis with labels than beside one without: a word at a fixed height does not.
    title = alt.Chart(pd.DataFrame({"name": [name]})).mark_text(fontSize=12, fontWeight="bold", color=INK)
    title = title.encode(text="name:N", x=alt.value(width / 2), y=alt.value(-14))
    return alt.layer(*layers, title).properties(width=width, height=320)


def _word(ends: alt.Chart, align: str):
    """The word `unfinished`, on the side of a run's end that its own line leaves free."""
    here = ends.transform_filter(alt.datum.state == "unfinished")
    dx, dy = {"left": (9, -10), "right": (0, -20)}[align]
    return here.mark_text(align=align, dx=dx, dy=dy, fontSize=11, color=INK).encode(text="state:N")


def _unigram(loss: float, y: alt.Y, label_at: int) -> list:
    """The perplexity of knowing token frequencies alone, which every model must beat."""
    level = alt.Chart(pd.DataFrame({"dev_ppl": [float(np.exp(loss))], "word": ["unigram"]})).encode(y=y)
    word = level.mark_text(align="right", dy=-8, fontSize=11, color=GREY).encode(x=alt.value(label_at), text="word")
    return [level.mark_rule(color=GREY, strokeDash=[2, 3]), *([word] if label_at else [])]


@needs_runs
def by_frequency(table: pd.DataFrame, losses: pd.DataFrame):
    """Dev loss of each decile of token frequency, mean over the cells of a requested share (those GLU expansions that every
    share has), less the mean of all shares."""
    cells = table.assign(share=[f"{100 * value:g} %" for value in table.requested_share.fillna(table.embed_share.round(2))])
    glus = cells.groupby("requested_glu").share.nunique()
    cells = cells[cells.requested_glu.isin(glus.index[glus == cells.share.nunique()])]  # the same expansions for every share
    points = losses.dropna().merge(cells[["share", "run_ids"]].explode("run_ids"), left_on="run_id", right_on="run_ids")
    if points.share.nunique() < 2:
        return Note("Losses by token frequency compare embedding shares: there are not two of them yet.")
    means = points.groupby(["share", "decile"]).loss.mean().unstack("share")
    means = means.sub(means.mean(axis=1), axis=0).stack().rename("difference").reset_index()
    order = sorted(means.share.unique(), key=lambda name: float(name[:-2]))
    hue = alt.Color("share:N", scale=alt.Scale(domain=order, range=SHADES), title="embedding share")
    shape = alt.Shape("share:N", scale=alt.Scale(domain=order), title="embedding share")
    x = alt.X("decile:O", title="tokens by frequency in the training text: tenths of it, the rarest at the right", axis=alt.Axis(labelAngle=0))
    y = alt.Y("difference:Q", title="dev loss above the mean (nats per token)")
    base = alt.Chart(means).encode(x=x, y=y, color=hue, shape=shape)
    zero = alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(color=GREY, strokeDash=[2, 3]).encode(y="y:Q")
    chart = alt.layer(zero, base.mark_line(strokeWidth=1.8), base.mark_point(filled=True, size=60, opacity=1)).properties(width=WIDTH, height=300)
    return titled(chart, "In which tokens does a share win or lose?",
                   "Dev loss of each group of tokens, mean over a share's cells, beside the mean of all shares; lower is better.")


@needs_runs
def share_glu_heatmap(table: pd.DataFrame):
    """Dev loss (nats per token) of each requested share x GLU; a square without one is grey and says why."""
    squares = _squares(table)
    if squares.empty:
        return Note("No cell was requested by share and GLU, so there is no map.")
    glus, shares = sorted(squares.requested_glu.unique()), sorted(squares.requested_share.unique(), reverse=True)
    x_axis = alt.Axis(labelAngle=0, format=".4~g")
    x = alt.X("requested_glu:O", title="requested GLU expansion (d_ff / d_model)", axis=x_axis)
    y = alt.Y("requested_share:O", title="requested embedding share", sort=shares, axis=alt.Axis(labelExpr=PERCENT))
    legend = alt.Legend(title=["dev loss", "(nats per token)"], format=".3f", tickCount=4)
    loss = alt.Color("dev_loss:Q", scale=alt.Scale(scheme="blues", reverse=True, zero=False), legend=legend)
    base, done = alt.Chart(squares).encode(x=x, y=y), alt.datum.status == "completed"
    ink = alt.Color("ink:N", scale=None)
    lines = [("word", -12, 15, "bold"), ("second", 8, 11, "normal"), ("third", 24, 11, "normal")]
    layers = [
        base.transform_filter(done).mark_rect(stroke="white", strokeWidth=2).encode(color=loss),
        base.transform_filter(~done).mark_rect(fill=FAINT, stroke=GREY, strokeDash=DASH),
        base.transform_filter(alt.datum.best).mark_rect(fill=None, stroke=INK, strokeWidth=3),
        *(base.mark_text(dy=dy, fontSize=size, fontWeight=weight).encode(text=f"{name}:N", color=ink)
          for name, dy, size, weight in lines),
    ]
    chart = alt.layer(*layers).resolve_scale(color="independent")  # the inks are colours already
    chart = chart.properties(width=max(130 * len(glus), 300), height=88 * len(shares))
    return titled(chart, "Which allocation ends with the lowest dev loss?",
                   "In each square: dev loss, realised share × GLU, d_model × layers. Framed: the lowest.")


def _squares(table: pd.DataFrame) -> pd.DataFrame:
    """What stands in each square of the heat map, as text; of two shapes in one square the better one."""
    asked = table.dropna(subset=["requested_share", "requested_glu"]).sort_values("dev_loss").drop(columns="run_ids")
    asked = asked.drop_duplicates(["requested_share", "requested_glu"])
    low, high = asked.dev_loss.min(), asked.dev_loss.max()
    texts = pd.DataFrame([_square(cell) for cell in asked.itertuples()], asked.index, ["word", "second", "third"])
    dark = asked.dev_loss <= low + 0.35 * (high - low)
    return asked.join(texts).assign(ink=np.where(dark, "white", INK), best=asked.dev_loss == low)


def _square(cell) -> tuple[str, str, str]:
    shape = "" if np.isnan(cell.d_model) else f"{cell.d_model:.0f} × {cell.n_layers:.0f}"
    if cell.status == "completed":
        return f"{cell.dev_loss:.3f}", f"{100 * cell.embed_share:.1f} % × {cell.glu:.2f}", shape
    reached = f"at {short(cell.tokens_trained)} tokens" if cell.tokens_trained > 0 else ""
    return cell.status.replace("_", " "), reached, shape


def short(count: float) -> str:
    """184_000 -> `184k`, 50_000_000 -> `50M`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


@needs_runs
def pareto(table: pd.DataFrame, cost: str):
    """Dev loss (nats per token) against tokens_per_s (more is better), decode_ms_per_token or train_flops (less), with its front."""
    cells = completed(table.dropna(subset=[cost]))
    if cells.empty:
        return Note("No cell is complete yet, so there is no front yet.")
    front = pareto_front(cells, cost)
    title, question, x_values = _cost_axis(cells, cost)
    xs, ys = _domain(x_values), _domain(cells.dev_loss)
    cells = place_labels(cells.assign(front=front, at=x_values), xs, ys, COST_SENSE[cost]).drop(columns="run_ids")
    plain = cost == "decode_ms_per_token"  # "500m" of a millisecond is no number that anybody reads
    axis = alt.Axis(format="~g", tickCount=6) if plain else alt.Axis(labelExpr=SI, tickCount=6)
    x = alt.X("at:Q", title=title, scale=alt.Scale(domain=xs, nice=False), axis=axis)
    y_axis = alt.Axis(format=".2f" if ys[1] - ys[0] > 0.3 else ".3f", tickCount=7)
    y = alt.Y("dev_loss:Q", title="dev loss (nats per token)", scale=alt.Scale(domain=ys, nice=False), axis=y_axis)
    base, on = alt.Chart(cells).encode(x=x, y=y), alt.datum.front
    step = base.transform_filter(on).mark_line(interpolate=STEP[COST_SENSE[cost]], color=BLUE, strokeWidth=1.5)
    layers = [
        step.encode(order="at:Q"),
        base.transform_filter(~on).mark_point(filled=False, size=60, color=GREY, opacity=1),
        base.transform_filter(on).mark_point(filled=True, size=110, shape="diamond", color=BLUE, opacity=1),
        *(_labels(base, front, side) for front in (True, False) for side in SIDES),
    ]
    better = {"more": "right", "less": "left"}[COST_SENSE[cost]]
    return titled(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), question,
                   f"Better is down and to the {better}. Diamonds: the Pareto front. Labels: requested share × GLU.")


def _cost_axis(cells: pd.DataFrame, cost: str) -> tuple[str, str, pd.Series]:
    """Axis title with its unit, the question, and the values in that unit."""
    if cost == "tokens_per_s":
        return "training speed (tokens per second)", "Which allocations are good and fast?", cells[cost]
    if cost == "decode_ms_per_token":
        return "decoding one token (milliseconds)", "Which allocations are good and quick to answer?", cells[cost]
    unit, name = (1e15, "PFLOP = 10¹⁵") if cells[cost].max() >= 1e15 else (1e12, "TFLOP = 10¹²")
    return f"training compute ({name} operations)", "Which allocations are good for their compute?", cells[cost] / unit


def _domain(values: pd.Series) -> list[float]:
    """A range with room for labels at both ends; one value alone gets a range as well."""
    room = 0.14 * (values.max() - values.min()) or 0.05 * abs(values.max())
    return [values.min() - room, values.max() + room]


def _labels(base: alt.Chart, front: bool, side: str):
    dx, dy, align = SIDES[side]
    style = {"fontWeight": "bold", "color": INK} if front else {"color": GREY}
    here = base.transform_filter((alt.datum.front == front) & (alt.datum.side == side))
    return here.mark_text(dx=dx, dy=dy, align=align, baseline="middle", fontSize=11, **style).encode(text="cell:N")
