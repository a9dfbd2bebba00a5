"""Tables and values as HTML and as Markdown. Whatever stands in a cell is text: nothing acts."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import pandas as pd

NUMBER = set("0123456789.,+−-–—~×%[] kMGTBs")  # a column of these is set to the right
LONG = 14  # more rows than this: the table scrolls within itself


@dataclass(frozen=True)
class Table:
    """A frame of texts with a caption; its first column names the rows."""

    frame: pd.DataFrame
    caption: str

    def _repr_html_(self) -> str:
        return scrolling_table(self.frame, self.caption)

    def _repr_markdown_(self) -> str:
        return frame_to_markdown(self.frame)

    def __repr__(self) -> str:
        return self.frame.to_string(index=False)


# ---------------------------------------------------------------- HTML


def scrolling_table(frame: pd.DataFrame, caption: str) -> str:
    """A table that scrolls within itself where the screen is smaller.

    It is reachable by keyboard, as what scrolls must be.
    """
    long = " long" if len(frame) > LONG else ""
    label = html.escape(caption)
    region = f'<div class="scroll{long}" tabindex="0" role="region" aria-label="{label}">'
    return f"{region}{frame_to_html(frame)}</div>"


def frame_to_html(frame: pd.DataFrame) -> str:
    """`<table>` with a scope on every heading, columns of words set to the left."""
    attributes = []
    for name in frame:
        numeric = all(_is_number(str(value)) for value in frame[name])
        attributes.append("" if numeric else ' class="text"')
    heads = [
        f'<th scope="col"{attribute}>{escape_html(name)}</th>'
        for attribute, name in zip(attributes, frame, strict=True)
    ]
    rows = [_html_row(row, attributes) for row in frame.itertuples(index=False, name=None)]
    head = f"<thead><tr>{''.join(heads)}</tr></thead>"
    body = "\n".join(["<tbody>", *rows, "</tbody>"])
    return f"<table>\n{head}\n{body}\n</table>"


def _html_row(row: tuple, attributes: list[str]) -> str:
    first, *others = map(escape_html, row)
    cells = [
        f"<td{attribute}>{value}</td>"
        for attribute, value in zip(attributes[1:], others, strict=True)
    ]
    return f'<tr><th scope="row">{first}</th>{"".join(cells)}</tr>'


def _is_number(value: str) -> bool:
    """Also an interval; a list of cells, `45 % × 3, 45 % × 4`, is words."""
    return set(value) <= NUMBER and (", " not in value or value.startswith("["))


def escape_html(value) -> str:
    """A value as HTML text."""
    return keep_together(html.escape(str(value)))


def keep_together(text: str) -> str:
    """Without a line break inside `35 % × 2.66 (97 %)`."""
    return re.sub(r" (?=%|× \d|\(\d+ %)|(?<=×) ", "\u00a0", text)


# ---------------------------------------------------------------- Markdown


def frame_to_markdown(frame: pd.DataFrame) -> str:
    rows = [list(frame), ["---"] * frame.shape[1], *frame.itertuples(index=False, name=None)]
    return "\n".join(f"| {' | '.join(map(escape_markdown, row))} |" for row in rows)


def code(value) -> str:
    """A value from outside as Markdown code, where neither HTML nor Markdown acts."""
    return "`" + " ".join(str(value).replace("`", "'").split()) + "`"


def escape_markdown(value) -> str:
    """A value as one line of Markdown text.

    Neither HTML nor Markdown acts in it, and no bare address becomes a link.
    """
    line = " ".join(str(value).split())
    line = re.sub(r"([\\`*_\[\]|~$])|(?<=:)(/)|(?<=www)(\.)", r"\\\g<0>", line)
    return html.escape(line, quote=False)


def bullets(lines: list[str]) -> str:
    """A Markdown list of the lines that are not empty."""
    return "\n".join(f"- {line}" for line in lines if line)


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "cell"), plural(12, "cell")
    ('1 cell', '12 cells')
    """
    return f"{count:.0f} {noun}" if count == 1 else f"{count:.0f} {noun}s"


def span(values: pd.Series, form: str = "{:.0f}") -> str:
    """The one value of a column, or from the lowest to the highest.

    >>> span(pd.Series([1, 3])), span(pd.Series([2, 2]))
    ('1 to 3', '2')
    """
    low, high = form.format(values.min()), form.format(values.max())
    return low if low == high else f"{low} to {high}"
