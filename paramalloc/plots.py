"""Charts (Altair), drawn as SVG by vl-convert: they open without a network, in a notebook, on GitHub and on paper.

Every group differs in shape, dash or printed word besides its colour. A chart without data is a `Note` that says so.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from .analyze import COST_SENSE, NOTHING, Note, completed, pareto_front
from .labels import HEIGHT, SIDES, WIDTH, place_labels

INK, GREY, FAINT = "#222222", "#767676", "#e4e4e4"
BLUE = "#0072B2"  # this and the next from Okabe and Ito, which colour-blind readers tell apart
SHADES = ["#E69F00", "#D55E00", BLUE, "#12263A"]  # light to dark, so that their order survives in grey
DASH = [6, 4]
SI = "datum.value == 0 ? '0' : format(datum.value, '~s')"
PERCENT = "format(100 * datum.value, '~g') + ' %'"
STEP = {"more": "step-before", "less": "step-after"}  # between two points on a front, only the worse loss is on offer


@alt.theme.register("paramalloc", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    """White ground, dark ink, Arial's metrics (the renderer has Arial's twin, so no browser sets a label wider)."""
    text = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": INK, "titleColor": INK, "titleFontWeight": "normal"}
    subtitle = {"subtitleFontSize": 12, "subtitleColor": "#555555"}
    return {
        "config": {
            "background": "white",
            "padding": 12,
            "font": "Arial, Liberation Sans, Helvetica, sans-serif",
            "view": {"stroke": None, "continuousWidth": WIDTH, "continuousHeight": 340},
            "title": {"anchor": "start", "fontSize": 15, "color": INK, "offset": 14, **subtitle},
            "axis": {**text, "gridColor": "#ececec", "domainColor": GREY, "tickColor": GREY, "titlePadding": 8},
            "legend": {**text, "symbolSize": 90, "titlePadding": 10},
            "header": {**text, "labelFontWeight": "bold"},
        }
    }


def needs_runs(draw):
    """Draw only where the first table has rows: a fresh clone gets a sentence instead of an empty frame."""

    @wraps(draw)
    def drawn(table: pd.DataFrame, *args, **kwargs):
        return draw(table, *args, **kwargs) if len(table) else NOTHING

    return drawn


@dataclass(frozen=True)
class Picture:
    """An SVG for a notebook, with a text alternative for whoever does not see it."""

    svg: str
    text: str

    def _repr_mimebundle_(self, **_) -> dict:
        return {"image/svg+xml": self.svg, "text/plain": self.text}


def show(chart: alt.TopLevelMixin | Note) -> Picture | Note:
    """The chart as an SVG display object; a note stays a note."""
    if isinstance(chart, Note):
        return chart
    label = html.escape(chart.to_dict().get("description", ""), quote=True)
    svg = vl_convert.vegalite_to_svg(chart.to_dict())
    return Picture(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1), html.unescape(label))


def save(chart: alt.TopLevelMixin, path: Path) -> Path:
    """Write the chart as .svg (with its text alternative) or .png (twice the pixels, for screens of today)."""
    path = Path(path)
    if path.suffix == ".png":
        path.write_bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=2))
    else:
        path.write_text(show(chart).svg, encoding="utf-8")
    return path


def _titled(chart, title: str, subtitle: str):
    return chart.properties(title=alt.Title(title, subtitle=subtitle), description=f"{title} {subtitle}")


@needs_runs
def learning_curves(curves: pd.DataFrame, table: pd.DataFrame):
    """Dev perplexity (log scale) against tokens, a panel per requested share; unfinished runs are dashed and say so."""
    points = _points(curves, table)
    names = sorted(points.panel.unique())
    panels = [_panel(points, name, WIDTH // len(names), table.unigram_loss.mean(), name == names[0]) for name in names]
    chart = alt.hconcat(*panels, spacing=16).resolve_scale(x="shared", y="shared")
    return _titled(chart, "How fast does each allocation learn?",
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
    return _titled(chart, "Which allocation ends with the lowest dev loss?",
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
    """Dev loss (nats per token) against tokens_per_s (more is better) or train_flops (less), with its front."""
    cells = completed(table.dropna(subset=[cost]))
    if cells.empty:
        return Note("No cell is complete yet, so there is no front yet.")
    front = pareto_front(cells, cost)
    title, question, x_values = _cost_axis(cells, cost)
    xs, ys = _domain(x_values), _domain(cells.dev_loss)
    cells = place_labels(cells.assign(front=front, at=x_values), xs, ys, COST_SENSE[cost]).drop(columns="run_ids")
    x = alt.X("at:Q", title=title, scale=alt.Scale(domain=xs, nice=False), axis=alt.Axis(labelExpr=SI, tickCount=6))
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
    return _titled(alt.layer(*layers).properties(width=WIDTH, height=HEIGHT), question,
                   f"Better is down and to the {better}. Diamonds: the Pareto front. Labels: requested share × GLU.")


def _cost_axis(cells: pd.DataFrame, cost: str) -> tuple[str, str, pd.Series]:
    """Axis title with its unit, the question, and the values in that unit."""
    if cost == "tokens_per_s":
        return "training speed (tokens per second)", "Which allocations are good and fast?", cells[cost]
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


GROUPS = {"embed_params": "embedding", "params_attention": "attention", "params_mlp": "MLP", "params_norm": "norm"}


@needs_runs
def allocation_bars(table: pd.DataFrame):
    """Parameters of each cell by group, stacked; the number in a segment is its part of the total (%)."""
    parts = table.melt(["cell", "total_params"], list(GROUPS), "group", "count").dropna()
    if parts.empty:
        return Note("No allocation is recorded yet.")
    end, percent = parts.groupby("cell")["count"].cumsum(), 100 * parts["count"] / parts.total_params
    parts = parts.assign(
        rank=parts.group.map(list(GROUPS).index),
        group=parts.group.map(GROUPS),
        middle=end - parts["count"] / 2,
        word=[f"{value:.0f} %" if value >= 5 else "" for value in percent],
    )
    fills = alt.Scale(domain=list(GROUPS.values()), range=[BLUE, "#F0C460", "#9BD3BE", INK])
    hue = alt.Color("group:N", title=None, scale=fills, legend=alt.Legend(orient="top"))
    y = alt.Y("cell:N", title="requested share × GLU", sort=list(table.cell))
    x = alt.X("count:Q", title="parameters", stack="zero", axis=alt.Axis(labelExpr=SI))
    bars = alt.Chart(parts).mark_bar(stroke="white").encode(x=x, y=y, color=hue, order="rank:O")
    ink = alt.condition(alt.datum.group == "embedding", alt.value("white"), alt.value(INK))
    middle = alt.X("middle:Q", title="parameters")
    words = alt.Chart(parts).mark_text(fontSize=11).encode(x=middle, y=y, text="word:N", color=ink)
    chart = alt.layer(bars, words).properties(width=WIDTH - 40, height=alt.Step(26))
    return _titled(chart, "Where do the parameters go?",
                   "Realised parameters of each cell by group; norm weights are too few to see.")


@needs_runs
def loss_curve(metrics: pd.DataFrame):
    """Training loss (line) and dev probes (points), both in nats per token, against training tokens."""
    x = alt.X("tokens:Q", title="training tokens", axis=alt.Axis(labelExpr=SI))
    kinds = alt.Scale(domain=["training batch", "dev probe"], range=["#8CB8D8", "#B34700"])
    y_title, scale = "loss (nats per token)", alt.Scale(zero=False)
    batches = metrics[["tokens", "train_loss"]].dropna().assign(kind="training batch")
    probes = metrics[["tokens", "dev_loss"]].dropna().assign(kind="dev probe")
    hue = alt.Color("kind:N", title=None, scale=kinds, legend=alt.Legend(orient="top", symbolType="circle"))
    line = alt.Chart(batches).mark_line(strokeWidth=1.2)
    line = line.encode(x=x, y=alt.Y("train_loss:Q", title=y_title, scale=scale), color=hue)
    dots = alt.Chart(probes).mark_line(point={"size": 45, "opacity": 1}, strokeWidth=1)
    dots = dots.encode(x=x, y=alt.Y("dev_loss:Q", title=y_title, scale=scale), color=hue)
    return _titled(alt.layer(line, dots).properties(width=WIDTH), "Is it learning?",
                   "Loss of each training batch, and of the fixed dev probe; lower is better.")


@needs_runs
def zipf(counts: pd.DataFrame):
    """How often a token occurs against its rank, both logarithmic: a straight line is Zipf's law."""
    log = {"scale": alt.Scale(type="log", nice=False), "axis": alt.Axis(format="~s", tickCount=6)}
    x = alt.X("rank:Q", title="rank of the token (1 is the most frequent)", **log)
    y = alt.Y("count:Q", title="occurrences in the training text", **log)
    seen = counts[counts["count"] > 0]  # an unused token has no place on a logarithmic axis
    picks = np.unique(np.geomspace(1, len(seen), 400).astype(int)) - 1  # 400 points draw the same line as 16,000
    chart = alt.Chart(seen.iloc[picks]).mark_line(color=BLUE, strokeWidth=2).encode(x=x, y=y).properties(width=WIDTH)
    return _titled(chart, "How are the tokens used?",
                   "Occurrences of each token by rank; the slope shows how many tokens are rare.")
