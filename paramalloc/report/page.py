"""report.html: the executed notebook as one page without code, its charts interactive; nothing is loaded from anywhere.

The page's policy refuses every request and every script but the one that is written here, by its hash: what data smuggle in
is text. Vega's own evaluator reads its expressions, so that not even `eval` is allowed.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

import nbformat
import pandas as pd
import vl_convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from ..plots import DARK, VEGALITE
from ..runs import write_text
from .tables import scrolled, unbroken
from .text import TITLE

HERE = Path(__file__).parent


def write_html(notebook: Path, page: Path) -> Path:
    """The executed notebook as `page`: cells tagged `answer` are set apart, sections that begin with the tag `fold` folded."""
    cells = nbformat.read(notebook, as_version=4).cells
    body = _folded([(cell.metadata.get("tags", []), _cell(cell)) for cell in cells])
    drawn = 'class="chart"' in body
    script = _script() if drawn else ""
    title = html.escape(f"{TITLE} ({Path(page).parent.name})")
    text = PAGE.format(
        title=title,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        nav=_nav(body),
        body=body,
        policy=f"script-src 'sha256-{_hash(script)}'; " if drawn else "",
        inks=_json(DARK),
        script=f"<script>{script}</script>" if drawn else "",
    )
    Path(page).parent.mkdir(parents=True, exist_ok=True)
    write_text(Path(page), text)
    return Path(page)


@cache
def _script() -> str:
    """Vega, Vega-Lite and Vega-Embed as vl-convert carries them, and the page's own lines."""
    return vl_convert.javascript_bundle() + "\n" + (HERE / "page.js").read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()


def _json(value) -> str:
    """JSON that cannot end the script element that holds it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _folded(cells: list[tuple[list, str]]) -> str:
    """The cells one after the other; from a heading tagged `fold` to the next heading they are a `<details>`."""
    parts, inside = [], False
    for tags, text in cells:
        heading = re.match(r"<h2.*?</h2>", text, re.S)
        if heading and inside:
            parts.append("</details>")
        inside = "fold" in tags if heading else inside
        if heading and inside:
            text = (
                f'<details class="more"><summary>{heading.group()}</summary>'
                + text[heading.end() :]
            )
        parts.append(
            f'<div class="{tags[0]}">{text}</div>' if tags and not heading and text else text
        )
    return "\n".join([*filter(None, parts), *["</details>"] * inside])


def _cell(cell: nbformat.NotebookNode) -> str:
    if cell.cell_type == "markdown":
        return as_html(cell.source)
    return "\n".join(map(_output, cell.get("outputs", [])))


def as_html(text: str) -> str:
    """Markdown as HTML, its sections named by their headings; HTML in it is text."""
    body = MarkdownWithMath(
        renderer=IPythonRenderer(escape=True, exclude_anchor_links=True)
    ).render(text)
    name = lambda words: re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    return unbroken(
        re.sub(r"<h2>(.*?)</h2>", lambda found: f'<h2 id="{name(found[1])}">{found[1]}</h2>', body)
    )


def _nav(body: str) -> str:
    links = [
        f'<a href="#{name}">{text}</a>'
        for name, text in re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', body)
    ]
    return f'<nav aria-label="Sections">{" ".join(links)}</nav>' if links else ""


def _output(output: nbformat.NotebookNode) -> str:
    """What a cell shows, in the richest form that is safe; printed text as it stands, warnings and traces not at all."""
    data = output.get("data", {})
    if "image/svg+xml" in data:
        return _figure(data)
    if "text/html" in data:
        return data["text/html"]
    if "text/markdown" in data:
        return as_html(data["text/markdown"])
    text = data.get("text/plain", output.get("text", "") if output.get("name") == "stdout" else "")
    return f"<pre>{html.escape(text)}</pre>" if text else ""


def _figure(data: dict) -> str:
    """A chart: its caption, the still picture, the specification that page.js draws, the numbers behind it."""
    spec, alt = data.get(VEGALITE), html.escape(data["text/plain"])
    still = f'<img class="still" alt="{alt}" src="data:image/svg+xml;base64,{b64encode(data["image/svg+xml"].encode()).decode()}">'
    if spec is None:
        return f'<figure><div class="drawing" tabindex="0" role="region" aria-label="{alt}">{still}</div></figure>'
    title, lines = spec["title"]["text"], spec["title"]["subtitle"]
    words = html.escape(" ".join([lines] if isinstance(lines, str) else lines))
    table = pd.DataFrame(
        spec["usermeta"]["table"]["data"], columns=spec["usermeta"]["table"]["columns"]
    )
    label = html.escape(f"Chart: {title}")
    return (
        f'<figure class="chart"><figcaption><b>{html.escape(title)}</b>{words}</figcaption>\n'
        f'<div class="drawing" tabindex="0" role="region" aria-label="{label}"><div class="live"></div>{still}</div>\n'
        f'<details class="numbers"><summary>The numbers</summary>{scrolled(table, f"Numbers: {title}")}</details>\n'
        f'<script type="application/json" class="spec">{_json(spec)}</script></figure>'
    )


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; {policy}img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>{nav}</header>
<main>
{body}
</main>
<script type="application/json" id="inks">{inks}</script>
{script}
</body>
</html>
"""
