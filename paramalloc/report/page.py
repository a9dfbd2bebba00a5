"""report.html: the executed notebook as one page without code, its charts interactive.

Nothing is loaded from anywhere. The page's policy refuses every request, and every script but the
one that is written here, by its hash: what data smuggle in is text. Vega's own evaluator reads its
expressions, so that not even `eval` is allowed. The page is put together from page.html, page.css,
page.js, and chart.html or picture.html for each figure.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from string import Template

import nbformat
import pandas as pd
import vl_convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ..analysis import NO_COMPARISON
from ..plots import DARK, VEGALITE
from ..runs import write_text
from .markup import keep_together, scrolling_table
from .summary import REPORT_TITLE

HERE = Path(__file__).parent


def write_html(notebook: Path, page: Path) -> Path:
    """The executed notebook as `page`, without the sections that have nothing to compare.

    Cells tagged `answer`, `reasons` or `scale` get a style of their own. Sections whose heading is
    tagged `fold` are folded.
    """
    page = Path(page)
    cells = _without_empty_sections(nbformat.read(notebook, as_version=4).cells)
    body = _join_cells([(cell.metadata.get("tags", []), _cell_html(cell)) for cell in cells])
    text = _fill(
        "page.html",
        title=html.escape(f"{REPORT_TITLE} ({page.parent.name})"),
        style=_read("page.css"),
        nav=_navigation(body),
        body=body,
        inks=_safe_json(DARK),
        **_script_parts(needed='class="chart"' in body),
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, text)
    return page


# ---------------------------------------------------------------- files and scripts


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _fill(name: str, **parts: str) -> str:
    """A file of HTML with its parts filled in."""
    return Template(_read(name)).substitute(parts).rstrip("\n") + "\n"


def _script_parts(needed: bool) -> dict[str, str]:
    """The page's script and the policy that allows it by its hash; neither without a chart."""
    if not needed:
        return {"policy": "", "script": ""}
    script = _script()
    fingerprint = b64encode(sha256(script.encode()).digest()).decode()
    return {
        "policy": f"script-src 'sha256-{fingerprint}'; ",
        "script": f"<script>{script}</script>",
    }


@cache
def _script() -> str:
    """Vega, Vega-Lite and Vega-Embed as vl-convert carries them, and the page's own lines."""
    return f"{vl_convert.javascript_bundle()}\n{_read('page.js')}"


def _safe_json(value) -> str:
    """JSON that cannot end the script element that holds it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


# ---------------------------------------------------------------- cells


def _without_empty_sections(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The cells, without sections that a screening leaves empty: nothing but notes that it does."""
    sections: list[list[nbformat.NotebookNode]] = [[]]
    for cell in cells:
        if cell.source.startswith("## "):
            sections.append([])
        sections[-1].append(cell)
    return [cell for section in sections if not _is_empty(section) for cell in section]


def _is_empty(section: list[nbformat.NotebookNode]) -> bool:
    """Whether its outputs say that no cells are compared, and show neither figure nor table."""
    outputs = [output.get("data", {}) for cell in section for output in cell.get("outputs", [])]
    shown = any("image/svg+xml" in data or "text/html" in data for data in outputs)
    return not shown and any(data.get("text/plain") == NO_COMPARISON for data in outputs)


def _join_cells(cells: list[tuple[list, str]]) -> str:
    """The cells one after the other.

    From a heading tagged `fold` to the next heading they are a `<details>`.
    """
    parts = []
    folded = False
    for tags, text in cells:
        heading = re.match(r"<h2.*?</h2>", text, re.DOTALL)
        if heading:
            if folded:
                parts.append("</details>")
            folded = "fold" in tags
            parts.append(_open_fold(text, heading) if folded else text)
        elif tags and text:
            parts.append(f'<div class="{tags[0]}">{text}</div>')
        else:
            parts.append(text)
    if folded:
        parts.append("</details>")
    return "\n".join(part for part in parts if part)


def _open_fold(text: str, heading: re.Match) -> str:
    summary = f"<summary>{heading.group()}</summary>"
    return f'<details class="more">{summary}{text[heading.end() :]}'


def _cell_html(cell: nbformat.NotebookNode) -> str:
    if cell.cell_type == "markdown":
        return render_markdown(cell.source)
    return "\n".join(map(_output_html, cell.get("outputs", [])))


def render_markdown(text: str) -> str:
    """Markdown as HTML, its sections named by their headings; HTML in it is text."""
    renderer = IPythonRenderer(escape=True, exclude_anchor_links=True)
    body = MarkdownWithMath(renderer=renderer).render(text)
    return keep_together(re.sub(r"<h2>(.*?)</h2>", _named_heading, body))


def _named_heading(match: re.Match) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", match[1].lower()).strip("-")
    return f'<h2 id="{name}">{match[1]}</h2>'


def _navigation(body: str) -> str:
    headings = re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', body)
    links = [f'<a href="#{name}">{text}</a>' for name, text in headings]
    return f'<nav aria-label="Sections">{" ".join(links)}</nav>' if links else ""


def _output_html(output: nbformat.NotebookNode) -> str:
    """What a cell shows, in the richest form that is safe.

    Printed text stands as it is; warnings and tracebacks are left out.
    """
    data = output.get("data", {})
    if "image/svg+xml" in data:
        return _figure_html(data)
    if "text/html" in data:
        return data["text/html"]
    if "text/markdown" in data:
        return render_markdown(data["text/markdown"])
    text = data.get("text/plain", "")
    if output.get("name") == "stdout":
        text = output.get("text", "")
    return f"<pre>{html.escape(text)}</pre>" if text else ""


def _figure_html(data: dict) -> str:
    """A chart: its caption, the still picture, the numbers behind it, what page.js draws."""
    alt = html.escape(data["text/plain"])
    svg = b64encode(data["image/svg+xml"].encode()).decode()
    spec = data.get(VEGALITE)
    if spec is None:
        return _fill("picture.html", alt=alt, svg=svg)
    title, subtitle = spec["title"]["text"], spec["title"]["subtitle"]
    caption = subtitle if isinstance(subtitle, str) else " ".join(subtitle)
    table = spec["usermeta"]["table"]
    numbers = pd.DataFrame(table["data"], columns=table["columns"])
    return _fill(
        "chart.html",
        title=html.escape(title),
        caption=html.escape(caption),
        alt=alt,
        svg=svg,
        numbers=scrolling_table(numbers, f"Numbers: {title}"),
        spec=_safe_json(spec),
    )
