"""What all charts share: the theme, colours, and how a chart becomes a picture."""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

# Altair imports jsonschema, which would build a grammar of web addresses where that package is: 2 s at every start.
sys.modules.setdefault("rfc3987_syntax", None)

import altair as alt
import pandas as pd
import vl_convert

from ..analyze import NOTHING, Note
from ..labels import WIDTH

INK, GREY, FAINT = "#222222", "#767676", "#e4e4e4"
BLUE = "#0072B2"  # this and the next from Okabe and Ito, which colour-blind readers tell apart
SHADES = ["#E69F00", "#D55E00", BLUE, "#12263A"]  # light to dark, so that their order survives in grey
DASH = [6, 4]
SI = "datum.value == 0 ? '0' : format(datum.value, '~s')"
PERCENT = "format(100 * datum.value, '~g') + ' %'"


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


def show(chart: alt.TopLevelMixin | dict | Note) -> Picture | Note:
    """The chart (or its Vega-Lite specification) as an SVG display object; a note stays a note."""
    if isinstance(chart, Note):
        return chart
    spec = chart if isinstance(chart, dict) else chart.to_dict()
    label = html.escape(spec.get("description", ""), quote=True)
    svg = vl_convert.vegalite_to_svg(spec)
    return Picture(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1), html.unescape(label))


def save(chart: alt.TopLevelMixin, path: Path) -> Path:
    """Write the chart as .svg (with its text alternative) or .png (twice the pixels, for screens of today)."""
    path = Path(path)
    if path.suffix == ".png":
        path.write_bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=2))
    else:
        path.write_text(show(chart).svg, encoding="utf-8")
    return path


def titled(chart, title: str, subtitle: str | list[str]):
    """The question as the title, what is drawn as the subtitle (one line or several), both as the text alternative."""
    words = subtitle if isinstance(subtitle, str) else " ".join(subtitle)
    return chart.properties(title=alt.Title(title, subtitle=subtitle), description=f"{title} {words}")
