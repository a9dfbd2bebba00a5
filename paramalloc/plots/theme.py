"""Colours, letters and number formats that all charts share."""

from __future__ import annotations

import altair as alt

from .labels import WIDTH

INK = "#222222"
GREY = "#767676"
FAINT = "#e4e4e4"
GRID_LINE = "#ececec"
QUIET = "#555555"
BLUE = "#0072B2"  # this and the shades from Okabe and Ito, safe for colour-blind readers
SHADES = ["#E69F00", "#D55E00", BLUE, "#12263A"]  # light to dark: their order survives in grey
HEAT = ["#08519c", "#4a90c8", "#a6cbe6", "#e6f0f9"]  # from low to high
GROUND = "white"  # gaps between marks
ON_HEAT = "#ffffff"  # words on the low end of HEAT

# What the page makes of each colour on a dark ground.
DARK = {
    INK: "#e6e6e6",
    GREY: "#9aa0a6",
    FAINT: "#2c3036",
    GRID_LINE: "#2a2e33",
    QUIET: "#a8a8a8",
    BLUE: "#4aa8e0",
    SHADES[1]: "#f0813a",
    SHADES[3]: "#c9d7e6",
    HEAT[0]: "#a5d6ff",
    HEAT[1]: "#5a9fd6",
    HEAT[2]: "#2c5f8d",
    HEAT[3]: "#1c3146",
    GROUND: "#16181b",
    ON_HEAT: "#0d1b29",
}

SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
DASH = [6, 4]
DOTS = [2, 3]

# Label expressions of Vega: 50M, 35 %, +0.02.
SI = "datum.value == 0 ? '0' : format(datum.value, '~s')"
PERCENT = "format(100 * datum.value, '~g') + ' %'"
SIGNED = "datum.value == 0 ? '0' : format(datum.value, '+.3~f')"


@alt.theme.register("paramalloc", enable=True)
def _theme() -> alt.theme.ThemeConfig:
    """White ground, dark ink, Arial's metrics.

    The renderer has Arial's twin, so no browser sets a label wider.
    """
    text = {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelColor": INK,
        "titleColor": INK,
        "titleFontWeight": "normal",
    }
    axis = {"gridColor": GRID_LINE, "domainColor": GREY, "tickColor": GREY, "titlePadding": 8}
    title = {"anchor": "start", "fontSize": 15, "color": INK, "offset": 14}
    subtitle = {"subtitleFontSize": 12, "subtitleColor": QUIET}
    return {
        "config": {
            "background": GROUND,
            "padding": 12,
            "font": "Arial, Liberation Sans, Helvetica, sans-serif",
            "view": {"stroke": None, "continuousWidth": WIDTH, "continuousHeight": 340},
            "title": {**title, **subtitle},
            "axis": {**text, **axis},
            "legend": {**text, "symbolSize": 90, "titlePadding": 10},
            "header": {**text, "labelFontWeight": "bold"},
        }
    }
