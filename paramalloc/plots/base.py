"""How a chart gets its words, its tooltips and legends, and becomes a picture."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from string import Formatter

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from IPython.display import display

from ..analysis import NO_COMPARISON, NOTHING, is_screening
from ..runs import Note
from .theme import SHAPES

VEGALITE = "application/vnd.vegalite.v6+json"

alt.data_transformers.disable_max_rows()  # 5,000, at which Altair fails; charts thin their curves


def needs_runs(draw):
    """Draw only where the first table has rows: a fresh clone gets a sentence instead.

    So does a chart that fails: one picture never takes the report along.
    """

    @wraps(draw)
    def drawn(table: pd.DataFrame, *args, **kwargs):
        if len(table) == 0:
            return NOTHING
        try:
            return draw(table, *args, **kwargs)
        except Exception as error:
            return _failure(draw.__name__, error)

    return drawn


def compares(draw):
    """Draw only where cells are compared: a screening gets a sentence instead."""

    @wraps(draw)
    def drawn(runs: pd.DataFrame, *args, **kwargs):
        return Note(NO_COMPARISON) if is_screening(runs) else draw(runs, *args, **kwargs)

    return drawn


def _failure(name: str, error: Exception) -> Note:
    reason = " ".join(f"{type(error).__name__}: {error}".replace("`", "'").split())
    return Note(f"The chart {name} could not be drawn: `{reason[:300]}`")


def thin_rows(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most `most` rows, evenly spaced, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)]


# ---------------------------------------------------------------- pictures


@dataclass(frozen=True)
class Picture:
    """An SVG for a notebook, its text alternative, and the specification the report redraws."""

    svg: str
    text: str
    spec: dict | None = None

    def _repr_mimebundle_(self, **_) -> dict:
        bundle = {"image/svg+xml": self.svg, "text/plain": self.text}
        if self.spec:
            bundle[VEGALITE] = self.spec
        return bundle


def show(chart: alt.TopLevelMixin | dict | Note) -> Picture | Note:
    """The chart (or its Vega-Lite specification) as an SVG display object; a note stays a note."""
    if isinstance(chart, Note):
        return chart
    spec = chart if isinstance(chart, dict) else chart.to_dict()
    text = spec.get("description", "")
    label = html.escape(text, quote=True)
    svg = _reproducible(vl_convert.vegalite_to_svg(spec))
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return Picture(svg, text, spec if "usermeta" in spec else None)


def _reproducible(svg: str) -> str:
    """The same bytes from every machine: ids counted from 0 in every picture, and six decimals.

    The renderer counts its ids on from one picture to the next. Altair names a view by a hash of
    all digits of its numbers, and the last of these differ from one kind of CPU to another.
    """
    name = r"(gradient_|clip(?=\d)|view_)[0-9a-f]+"
    ids = dict.fromkeys(re.findall(f"({name})", svg))
    renamed = {old: f"{kind}{n}" for n, (old, kind) in enumerate(ids)}
    svg = re.sub(name, lambda match: renamed[match[0]], svg)
    return re.sub(r"-?\d+(\.\d{7,}(e-\d+)?|(\.\d+)?e-1\d)", _six_decimals, svg)


def _six_decimals(match: re.Match) -> str:
    number = round(float(match[0]), 6) + 0  # adding 0 turns -0.0 into 0.0
    return f"{number:.6f}".rstrip("0").rstrip(".")


def save(chart: alt.TopLevelMixin, path: Path) -> Path:
    """Write the chart as .svg (with its text alternative) or as .png (at twice the pixels)."""
    path = Path(path)
    if path.suffix == ".png":
        path.write_bytes(vl_convert.vegalite_to_png(chart.to_dict(), scale=2))
    else:
        path.write_text(show(chart).svg, encoding="utf-8")
    return path


def show_all(**charts) -> dict[str, Picture | Note]:
    """Display the charts by name and return them drawn; what is missing is one list at the end."""
    shown = {name: _show_or_say(name, chart) for name, chart in charts.items()}
    notes = []
    for picture in shown.values():
        if isinstance(picture, Note):
            notes.append(picture)
        else:
            display(picture)
    notes = list(dict.fromkeys(notes))  # several charts may be missing for one reason
    if len(notes) == 1:
        display(notes[0])
    elif notes:
        display(Note("\n".join(f"- {note}" for note in notes)))
    return shown


def _show_or_say(name: str, chart: alt.TopLevelMixin | Note) -> Picture | Note:
    try:
        return show(chart)
    except Exception as error:  # one picture never takes the report along
        return _failure(name, error)


# ---------------------------------------------------------------- words and numbers


def titled(chart, title: str, subtitle: str | list[str], table: pd.DataFrame | None = None):
    """The question as the title, what is drawn as the subtitle, both as the text alternative.

    `table` holds the chart's numbers as text; with it the report draws the chart interactive, the
    table behind it.
    """
    words = subtitle if isinstance(subtitle, str) else " ".join(subtitle)
    chart = chart.properties(
        title=alt.Title(title, subtitle=subtitle), description=f"{title} {words}"
    )
    if table is None:
        return chart
    return chart.properties(usermeta={"table": table.to_dict("split", index=False)})


def describe_rows(
    frame: pd.DataFrame, formats: dict[str, str]
) -> tuple[pd.DataFrame, list[alt.Tooltip], pd.DataFrame]:
    """Each row in words, by heading -> a format of its columns (`"GLU": "{glu:.2f}"`).

    Returns the rows with these words as further columns, the tooltip that shows them, and the
    words as a table.
    """
    texts = {heading: format_rows(frame, form) for heading, form in formats.items()}
    columns = {f"fact{n}": column for n, column in enumerate(texts.values())}
    return frame.assign(**columns), tooltips(texts), pd.DataFrame(texts)


def tooltips(headings) -> list[alt.Tooltip]:
    """The tooltip of rows that `describe_rows` has put into words under these headings."""
    return [alt.Tooltip(f"fact{n}:N", title=heading) for n, heading in enumerate(headings)]


def format_rows(frame: pd.DataFrame, form: str) -> list[str]:
    """`form.format` of every row; a dash where a value that it names is missing."""
    names = [name for _, name, _, _ in Formatter().parse(form) if name]
    rows = frame.reindex(columns=names).to_dict("records")
    return ["—" if any(map(pd.isna, row.values())) else form.format(**row) for row in rows]


def short_count(count: float) -> str:
    """A count in a few letters.

    >>> short_count(184_000), short_count(50_000_000)
    ('184k', '50M')
    """
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


# ---------------------------------------------------------------- legends


def colour_and_shape(
    field: str,
    order: list[str],
    colours: list[str],
    shapes: list[str] = SHAPES,
    title: str | None = None,
    orient: str = "bottom",
) -> tuple[alt.Color, alt.Shape]:
    """Colour and shape of the groups `order` of a field, with one legend for both."""
    legend = alt.Legend(title=title, orient=orient, columns=4, symbolOpacity=1)
    hues = alt.Scale(domain=order, range=list(colours)[: len(order)])
    forms = alt.Scale(domain=order, range=list(shapes)[: len(order)])
    return (
        alt.Color(f"{field}:N", scale=hues, legend=legend),
        alt.Shape(f"{field}:N", scale=forms, legend=legend),
    )


def single_out(name: str, field: str) -> tuple[alt.Parameter, dict]:
    """A selection by clicks on the legend entries of `field`, and the opacity that follows it.

    A second click takes an entry back. Marks that are selected have opacity 1, the others 0.12.
    """
    selection = alt.selection_point(name=name, fields=[field], bind="legend", toggle="true")
    return selection, {"opacity": alt.condition(selection, alt.value(1), alt.value(0.12))}
