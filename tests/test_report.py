"""The report opens without a network, runs nothing that data smuggles in, and names what is not there."""

import csv
import io
import os
import re
import subprocess
from pathlib import Path

import jupytext
import nbformat
import pandas as pd
import pytest
from analysis_fixtures import broken_grid, empty, grid
from nbclient import NotebookClient

from paramalloc import plots, report
from paramalloc.analyze import cells_table, verdict

TESTS = Path(__file__).resolve().parent
HOSTILE = 'x<script>alert(1)</script>|`![i](http://evil.example/a.png)`"'


def written(runs, folder):
    table = cells_table(runs)
    figures = {"share_glu_heatmap": plots.share_glu_heatmap(table), "pareto_speed": plots.pareto(table, "tokens_per_s")}
    report.write_results(table, runs, verdict(runs), figures, folder)
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


def test_results_open_with_the_answer(tmp_path):
    """After the title, the first words are the verdict."""
    text = written(grid(), tmp_path / "r")
    assert text.split("\n\n")[1].startswith("**Of 12 cells, 35 % × 3 ")


def test_results_name_what_is_not_there(tmp_path):
    """Stopped, diverged, failed and missing cells are named with their status; a missing value is never 0."""
    text = written(broken_grid(), tmp_path / "r")
    open_runs = text.split("## Runs without a final loss")[1]
    ends = {"25 % × 4": "stopped early", "45 % × 2": "diverged", "45 % × 3": "failed", "45 % × 4": "missing"}
    for cell, status in ends.items():
        assert f"- {cell}: **{status}**" in open_runs
    assert "reached 180,000 tokens" in open_runs
    for row in re.findall(r"^\| .*(?:stopped early|diverged|failed|missing) \|$", text, re.M):
        losses = [cell.strip() for cell in row.split("|")][7:12]
        assert losses == ["—"] * 5
    assert not re.search(r"\b0\.0+\b|\bnan\b|None", text, re.I)


def test_the_notebook_executes_without_runs(tmp_path):
    """In a fresh clone every cell executes; the first answer says what to do, and nothing is written."""
    notebook = jupytext.read(TESTS.parent / "notebooks" / "analysis.py")
    tagged = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    notebook.cells.insert(tagged + 1, nbformat.v4.new_code_cell(f"outputs = {str(tmp_path)!r}"))
    executed(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert outputs[0].data["text/plain"].startswith("no runs yet: run `make`") and not list(tmp_path.rglob("RESULTS.md"))


def executed(notebook):
    """The notebook, executed with this checkout on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{TESTS.parent}{os.pathsep}{TESTS}")
        NotebookClient(notebook, timeout=120).execute()


def test_results_csv_holds_one_row_per_run(tmp_path):
    """The keys of result.json are the columns; null is empty."""
    written(broken_grid(), tmp_path / "r")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r" / "results.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 12 and list(rows[0]) == list(broken_grid().columns)
    assert {row["dev_loss"] for row in rows if row["status"] != "completed"} == {""}


def test_every_picture_of_results_exists(tmp_path):
    """RESULTS.md links its figures relatively; each is an SVG with a text alternative."""
    text = written(grid(), tmp_path / "r")
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(links) == 2
    assert all('aria-label="' in (tmp_path / "r" / link).read_text(encoding="utf-8") for link in links)


def test_no_half_written_file_stays(tmp_path):
    """Files are written beside and renamed; nothing temporary is left, and a second report replaces the first."""
    written(grid(), tmp_path / "r")
    assert "12 cells" in written(grid(), tmp_path / "r")
    assert not [path for path in (tmp_path / "r").rglob(".*")]


def test_without_runs_nothing_is_written(tmp_path):
    """A fresh clone says what to do; an earlier report is not overwritten by an empty one."""
    table = cells_table(empty())
    note = report.write_results(table, empty(), verdict(empty()), {}, tmp_path / "r")
    assert "no runs yet" in note and not (tmp_path / "r").exists()


CELLS = """
from analysis_fixtures import broken_grid, curves
from paramalloc import plots, report
from paramalloc.analyze import cells_table, verdict
runs = broken_grid().assign(dataset={dataset!r})
table = cells_table(runs)
---
verdict(runs)
---
report.readable(table.assign(cell=table.cell + {dataset!r}))
---
report.corpus(table)
---
plots.show(plots.pareto(table, "tokens_per_s"))
---
plots.show(plots.learning_curves(curves(runs), table))
---
report.unfinished(runs)
---
print(runs.dataset[0])
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """report.html of a small executed notebook over a corpus with a hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    sources = CELLS.format(dataset=HOSTILE).split("---\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    executed(notebook)
    nbformat.write(notebook, folder / "n.ipynb")
    return report.write_html(folder / "n.ipynb", folder / "report.html").read_text(encoding="utf-8")


def test_page_loads_nothing(page):
    """No attribute, style or import refers to an address outside the file."""
    assert not re.search(r"""(?:src|href|srcset|action|data)\s*=\s*["']?\s*(?:https?:)?//""", page)
    assert not re.search(r"url\(\s*[\"']?\s*(?:https?:)?//|@import|<link|<iframe|<object", page)
    assert set(re.findall(r'src="([^,"]{0,30})', page)) == {"data:image/svg+xml;base64"}


def test_page_runs_nothing(page):
    """A script in the name of a corpus or a cell is text."""
    assert "<script" not in page.lower() and "&lt;script&gt;" in page


def test_page_shows_no_code(page):
    """Code cells and prompts are left out; their results stay."""
    assert "cells_table(runs)" not in page and "In&nbsp;[" not in page and "Out[" not in page
    assert "reached the lowest dev loss" in page and "<table" in page


def test_page_pictures_have_a_text_alternative(page):
    """Both charts are images with a sentence as alt."""
    assert len(re.findall(r'<img alt="[^"]{30,}" src="data:', page)) == 2


@pytest.mark.browser
def test_a_browser_shows_the_report_with_the_network_cut(tmp_path):
    """Chromium, which cannot reach anything, paints the heading, the table and every chart at its full width."""
    notebook = jupytext.read(TESTS.parent / "notebooks" / "analysis.py")
    charts = cells_table(grid())
    notebook.cells = [nbformat.v4.new_markdown_cell("# A heading"), nbformat.v4.new_code_cell("chart")]
    picture = plots.show(plots.share_glu_heatmap(charts))
    data = {"image/svg+xml": picture.svg, "text/plain": "a chart"}
    notebook.cells[1].outputs = [nbformat.v4.new_output("display_data", data)]
    nbformat.write(notebook, tmp_path / "n.ipynb")
    page = report.write_html(tmp_path / "n.ipynb", tmp_path / "report.html")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'chromium'}", "--window-size=1000,800"]
    shot = tmp_path / "shot.png"
    subprocess.run(["chromium", *flags, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True, timeout=120)
    # An empty page compresses to a few kB; text and twelve coloured squares do not.
    assert shot.stat().st_size > 20_000


def test_losses_by_frequency_are_differences_of_means():
    """Each share's mean loss in a decile, less the mean over the shares; a single share is no comparison."""
    table = cells_table(grid(seeds=2))
    runs = grid(seeds=2)
    losses = pd.DataFrame([{"run_id": run.run_id, "decile": n, "tokens": 9, "loss": 5 + n * run.requested_share}
                           for run in runs.itertuples() for n in (1, 2)])
    data = plots.by_frequency(table, losses).to_dict()["datasets"]
    drawn = {(row["share"], row["decile"]): row["difference"] for rows in data.values() for row in rows if "share" in row}
    assert drawn == pytest.approx({(f"{share:.0%}".replace("%", " %"), n): n * (share - 0.35) for share in (0.25, 0.35, 0.45) for n in (1, 2)})
    one = runs[runs.requested_share == 0.35]
    assert "there are not two" in plots.by_frequency(cells_table(one), losses)
    assert "there are not two" in plots.by_frequency(table, losses.iloc[:0])


def test_smallbench_and_decoding_are_in_the_table():
    """SmallBench is a mean over seeds, decoding a median; a cell without them shows a dash."""
    runs = grid(seeds=2).assign(smallbench=lambda runs: 0.1 + 0.02 * runs.seed, decode_ms_per_token=2.5)
    runs.loc[runs.requested_share == 0.25, ["smallbench", "decode_ms_per_token"]] = None
    shown = report.readable(cells_table(runs))
    assert list(shown["SmallBench"]) == ["—"] * 4 + ["0.110"] * 8 and list(shown["decode (ms/token)"]) == ["—"] * 4 + ["2.50"] * 8
    assert "decoding time of a token (less is better): 35 % × 3" in report.fronts(cells_table(runs))
