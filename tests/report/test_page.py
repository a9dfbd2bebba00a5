"""report.html opens without a network, and runs nothing that data smuggles in."""

import json
import re
from base64 import b64encode
from hashlib import sha256

import nbformat
import pandas as pd
import pytest
from analysis_fixtures import study
from IPython.core.formatters import DisplayFormatter

from paramalloc import plots, report
from paramalloc.analysis import NO_COMPARISON, reach_verdict
from paramalloc.runs import Note

HOSTILE = 'x</script><script>alert(1)</script><!--|![i](http://evil.example/a.png)`<b>"'


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """report.html of a small notebook over a corpus with a hostile name.

    The notebook is not executed in a kernel: its outputs are what a kernel would have shown.
    """
    folder = tmp_path_factory.mktemp("hostile")
    runs = study(baseline_seeds=3).assign(dataset=HOSTILE, device=HOSTILE, optimizer=HOSTILE)
    shown = [
        reach_verdict(runs),
        report.cell_results(runs),
        report.cell_shapes(runs),
        report.scale(runs),
        report.corpus(runs),
        report.methods(runs),
        report.provenance(runs, HOSTILE),
        plots.show(plots.pareto(runs, "tokens_per_s")),
        plots.show(plots.share_glu_heatmap(runs.assign(mlp=HOSTILE))),
        report.unfinished(runs.assign(status=HOSTILE)),
    ]
    cells = [code_cell("report.cell_results(runs)", display_data(value)) for value in shown]
    printed = nbformat.v4.new_output("stream", name="stdout", text=f"{HOSTILE}\n")
    cells.append(code_cell("print(runs.dataset[0])", printed))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "n.ipynb")
    path = report.write_html(folder / "n.ipynb", folder / "report.html")
    return path.read_text(encoding="utf-8")


def code_cell(source: str, output) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, execution_count=1, outputs=[output])


def display_data(value) -> nbformat.NotebookNode:
    """The output that a kernel makes of a value."""
    data, _ = DisplayFormatter().format(value)
    return nbformat.v4.new_output("display_data", data=data)


def scripts(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def write_page(cells: list, folder) -> str:
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "n.ipynb")
    path = report.write_html(folder / "n.ipynb", folder / "report.html")
    return path.read_text(encoding="utf-8")


# ---- nothing acts


def test_page_loads_nothing(page):
    """Nothing outside the one script refers to an address; the policy refuses the rest."""
    rest = without_scripts(page)
    assert not re.search(r"""(?:src|href|srcset|action|data)\s*=\s*["']?\s*(?:https?:)?//""", rest)
    assert not re.search(r"url\(\s*[\"']?\s*(?:https?:)?//|@import|<link|<iframe|<object", rest)
    assert set(re.findall(r'src="([^,"]{0,30})', rest)) == {"data:image/svg+xml;base64"}
    assert len(page.encode()) < 5_000_000


def test_page_runs_its_own_script_alone(page):
    """The policy names the hash of the only script; names of corpora end no script and are text."""
    [script] = scripts(page)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    fingerprint = b64encode(sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{fingerprint}'; "
        "img-src data:; style-src 'unsafe-inline'"
    )
    assert "<script" not in without_scripts(page)
    assert "&lt;script&gt;" in page
    assert "alert(1)" not in script
    pattern = r'<script type="application/json" class="spec">(.*?)</script>'
    specs = re.findall(pattern, page, re.DOTALL)
    assert len(specs) == 2
    for spec in specs:
        assert "<" not in spec
        assert HOSTILE in str(json.loads(spec))


def test_a_page_without_charts_has_no_script(tmp_path):
    """What draws nothing runs nothing, and its policy allows none."""
    heading = nbformat.v4.new_markdown_cell("# A <script>heading</script>")
    text = write_page([heading], tmp_path)
    assert not scripts(text)
    assert "script-src" not in text
    assert "&lt;script&gt;" in text


# ---- what it shows


def test_page_shows_no_code(page):
    """Code cells and prompts are left out; their results stay."""
    assert "report.cell_results(runs)" not in page
    assert "In&nbsp;[" not in page
    assert "Out[" not in page
    assert "reached the lowest dev loss" in page
    assert "<table" in page


def test_page_charts_have_words_and_numbers(page):
    """Each chart has a caption, a still picture with a sentence as alt, and a table behind it."""
    charts = re.findall(r'<figure class="chart">.*?</figure>', page, re.DOTALL)
    assert len(charts) == 2
    for chart in charts:
        assert "<figcaption><b>" in chart
        assert re.search(r'alt="[^"]{30,}" src="data:', chart)
        assert "<table" in chart


def test_a_section_that_compares_nothing_is_left_out(tmp_path):
    """Of a screening: one with nothing but the note that says so. Where a table stands, both do."""
    note = display_data(Note(NO_COMPARISON))
    table = display_data(report.Table(pd.DataFrame({"cell": ["35 %"]}), "cells"))
    cells = [nbformat.v4.new_markdown_cell("# Title")]
    for heading, outputs in {"## Empty": [note], "## Kept": [note, table], "## Words": []}.items():
        cells.append(nbformat.v4.new_markdown_cell(heading))
        cells += [code_cell("", output) for output in outputs]
    text = write_page(cells, tmp_path)
    assert re.findall("<h2.*?>(.*?)</h2>", text) == ["Kept", "Words"]


def test_sections_tagged_fold_are_folded(tmp_path):
    """From its heading to the next one such a section is a closed `<details>`.

    The contents lead there all the same.
    """
    texts = ("## One\na", "## More & more\nb", "c", "## Two\nd")
    cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
    cells[1].metadata["tags"] = ["fold"]
    text = write_page(cells, tmp_path)
    pattern = r'<details class="more"><summary>(.*?)</summary>(.*?)</details>'
    fold = re.search(pattern, text, re.DOTALL)
    assert 'id="more-amp-more"' in fold[1]
    assert "b" in fold[2]
    assert "c" in fold[2]
    assert "<p>d</p>" not in fold[2]
    for name in ("one", "more-amp-more", "two"):
        assert f'href="#{name}"' in text
