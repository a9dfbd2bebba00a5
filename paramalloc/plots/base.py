"""What all charts share: the theme, colours, and how a chart becomes a picture."""

from __future__ import annotations

import html
import re
import sys
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from string import Formatter

import altair as alt
import pandas as pd
import vl_convert
from IPython.display import display

from ..analysis import NOTHING
from ..runs import Note
from .labels import WIDTH

# Altair imports jsonschema, which would build a grammar of web addresses where that package is: 2 s at every start.
sys.modules.setdefault("rfc3987_syntax", None)

INK, GREY, FAINT, GRID, QUIET = "#222222", "#767676", "#e4e4e4", "#ececec", "#555555"
BLUE = "#0072B2"  # this and the next from Okabe and Ito, which colour-blind readers tell apart
SHADES = [
    "#E69F00",
    "#D55E00",
    BLUE,
    "#12263A",
]  # light to dark, so that their order survives in grey
HEAT = ["#08519c", "#4a90c8", "#a6cbe6", "#e6f0f9"]  # from low to high
GROUND, ON_HEAT = "white", "#ffffff"  # gaps between marks; words on the low end of HEAT
DARK = dict(
    zip(
        [INK, GREY, FAINT, GRID, QUIET, BLUE, *SHADES[1:2], SHADES[3], *HEAT, GROUND, ON_HEAT],
        [
            "#e6e6e6",
            "#9aa0a6",
            "#2c3036",
            "#2a2e33",
            "#a8a8a8",
            "#4aa8e0",
            "#f0813a",
            "#c9d7e6",
            "#a5d6ff",
            "#5a9fd6",
            "#2c5f8d",
            "#1c3146",
            "#16181b",
            "#0d1b29",
        ],
    )
)  # what the page makes of them on a dark ground
DASH = [6, 4]
VEGALITE = "application/vnd.vegalite.v6+json"
SI = "datum.value == 0 ? '0' : format(datum.value, '~s')"
PERCENT = "format(100 * datum.value, '~g') + ' %'"


@alt.theme.register("paramalloc", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    """White ground, dark ink, Arial's metrics (the renderer has Arial's twin, so no browser sets a label wider)."""
    text = {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
    }
    subtitle = {"subtitleFontSize": 12, "subtitleColor": QUIET}
    return {
        "config": {
            "background": GROUND,
            "padding": 12,
            "font": "Arial, Liberation Sans, Helvetica, sans-serif",
            "view": {"stroke": None, "continuousWidth": WIDTH, "continuousHeight": 340},
            "title": {"anchor": "start", "fontSize": 15, "color": INK, "offset": 14, **subtitle},
            "axis": {
                **text,
                "gridColor": GRID,
                "domainColor": GREY,
                "tickColor": GREY,
                "titlePadding": 8,
            },
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
    """An SVG for a notebook, with a text alternative for whoever does not see it, and what the report draws it anew from."""

    svg: str
    text: str
    spec: dict | None = None

    def _repr_mimebundle_(self, **_) -> dict:
        bundle = {"image/svg+xml": self.svg, "text/plain": self.text}
        return bundle | ({VEGALITE: self.spec} if self.spec else {})


def show(chart: alt.TopLevelMixin | dict | Note) -> Picture | Note:
    """The chart (or its Vega-Lite specification) as an SVG display object; a note stays a note."""
    if isinstance(chart, Note):
        return chart
    spec = chart if isinstance(chart, dict) else chart.to_dict()
    label = html.escape(spec.get("description", ""), quote=True)
    svg = _settled(vl_convert.vegalite_to_svg(spec))
    return Picture(
        svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1),
        html.unescape(label),
        spec if "usermeta" in spec else None,
    )


def _settled(svg: str) -> str:
    """The same bytes from every machine: ids counted from 0 in every picture, and six decimals.

    The renderer counts its ids on from one picture to the next, Altair names a view by a hash of all digits of its numbers, and the
    last of these digits differ from one kind of CPU to another.
    """
    id_ = r"(gradient_|clip(?=\d)|view_)[0-9a-f]+"
    ids = {
        found: f"{kind}{n}"
        for n, (found, kind) in enumerate(dict.fromkeys(re.findall(f"({id_})", svg)))
    }
    svg = re.sub(id_, lambda found: ids[found[0]], svg)
    return re.sub(
        r"-?\d+(\.\d{7,}(e-\d+)?|(\.\d+)?e-1\d)",
        lambda found: f"{round(float(found[0]), 6) + 0:.6f}".rstrip("0").rstrip("."),
        svg,
    )


def save(chart: alt.TopLevelMixin, path: Path) -> Path:
    """Write the chart as .svg (with its text alternative) or .png (twice the pixels, for screens of today)."""
    path = Path(path)
    if path.suffix == ".png":
        path.write_bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=2))
    else:
        path.write_text(show(chart).svg, encoding="utf-8")
    return path


def titled(chart, title: str, subtitle: str | list[str], table: pd.DataFrame | None = None):
    """The question as the title, what is drawn as the subtitle (one line or several), both as the text alternative.

    `table` holds the chart's numbers as text; with it the report draws the chart interactive, the table behind it.
    """
    words = subtitle if isinstance(subtitle, str) else " ".join(subtitle)
    behind = {} if table is None else {"usermeta": {"table": table.to_dict("split", index=False)}}
    return chart.properties(
        title=alt.Title(title, subtitle=subtitle), description=f"{title} {words}", **behind
    )


def facts(
    frame: pd.DataFrame, words: dict[str, str]
) -> tuple[pd.DataFrame, list[alt.Tooltip], pd.DataFrame]:
    """Each row in words (heading -> a format of its columns): the rows with them, the tooltip, the table behind the chart."""
    texts = {heading: say(frame, form) for heading, form in words.items()}
    rows = frame.assign(**{f"fact{n}": column for n, column in enumerate(texts.values())})
    return (
        rows,
        [alt.Tooltip(f"fact{n}:N", title=heading) for n, heading in enumerate(texts)],
        pd.DataFrame(texts),
    )


def say(frame: pd.DataFrame, form: str) -> list[str]:
    """`form.format` of every row; a dash where a value that it names is missing."""
    names = [name for _, name, _, _ in Formatter().parse(form) if name]
    rows = frame.reindex(columns=names).to_dict("records")
    return ["—" if any(map(pd.isna, row.values())) else form.format(**row) for row in rows]


SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]


def grouped(
    field: str,
    order: list[str],
    colours: list[str],
    shapes: list[str] = SHAPES,
    title: str | None = None,
    orient: str = "bottom",
):
    """Colour and shape of a group (alt.Color, alt.Shape), with one legend for both."""
    legend = alt.Legend(title=title, orient=orient, columns=4, symbolOpacity=1)
    kind = lambda values: alt.Scale(domain=order, range=list(values)[: len(order)])
    return alt.Color(f"{field}:N", scale=kind(colours), legend=legend), alt.Shape(
        f"{field}:N", scale=kind(shapes), legend=legend
    )


def single_out(name: str, field: str) -> tuple[alt.Parameter, dict]:
    """A selection by clicks on the legend entries of `field` (a second click takes one back), and the opacity of marks: of what
    it leaves 1, of what it hides 0.12."""
    chosen = alt.selection_point(name=name, fields=[field], bind="legend", toggle="true")
    return chosen, {"opacity": alt.condition(chosen, alt.value(1), alt.value(0.12))}


def short(count: float) -> str:
    """184_000 -> `184k`, 50_000_000 -> `50M`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def stopped(cells: list[str]) -> str:
    """`25 % × 4 was stopped early`, `25 % × 4 and 45 % × 2 were stopped early`."""
    named = " and ".join([", ".join(cells[:-1]), cells[-1]] if len(cells) > 1 else cells)
    return f"{named} {'was' if len(cells) == 1 else 'were'} stopped early"


def show_all(**charts) -> dict[str, Picture | Note]:
    """Display the charts by name, and return them drawn; what cannot be drawn is one list of what is missing, at the end."""
    shown = {name: show(chart) for name, chart in charts.items()}
    for picture in shown.values():
        if isinstance(picture, Picture):
            display(picture)
    if missing := [note for note in shown.values() if isinstance(note, Note)]:
        display(
            Note("\n".join(f"- {note}" for note in missing) if len(missing) > 1 else missing[0])
        )
    return shown
