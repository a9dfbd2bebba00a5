"""RESULTS.md, results.csv and figures: the answer first, and what is missing is named."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from analysis_fixtures import broken_grid, empty, grid, run, screened_grid, study
from nbclient import NotebookClient

from paramalloc import plots, report
from paramalloc.config import ROOT
from paramalloc.data import prepare
from paramalloc.report.results import CELL_DEFINITION, EFFECTS_INTRODUCTION, SECTIONS
from paramalloc.runs import read_results
from paramalloc.sweep import load_sweep

ENDS = ["completed", "completed", "stopped_early", "diverged", "failed", "missing"]
UNMEASURED = ["dev_loss", "dev_ppl", "dev_bpb", "test_loss", "tokens_per_s"]


def figures(runs) -> dict:
    return {
        "share_glu_heatmap": plots.show(plots.share_glu_heatmap(runs)),
        "pareto_speed": plots.show(plots.pareto(runs, "tokens_per_s")),
        "learning_curves": plots.show(plots.learning_curves(runs)),
    }


def write(runs, folder: Path) -> str:
    """The text of RESULTS.md, as it is written under `folder`."""
    report.write_results(runs, figures(runs), folder)
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


# ---- what it says first


def test_results_open_with_the_answer(tmp_path):
    """The first words are the answer; then how sure it is, its scale, the picture, the rest."""
    text = write(grid(), tmp_path / "r")
    assert text.split("\n\n")[1].startswith("**Of 12 cells, 35 % × 3 ")
    assert text.split("\n\n")[2].startswith("- ")
    parts = [
        "Measured at: 12 of 12 cells",
        "figures/share_glu_heatmap.svg",
        "## How sure",
        "## What does a low loss cost",
        "## The cells",
        "## More evidence",
        "## Methods",
        "## Limits",
        "## Runs without a final loss",
        "## Provenance",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("epochs, said", [(12.04, " (12 epochs)"), (0.123, " (0.12 epochs)")])
def test_the_scale_says_how_often_the_text_was_read(epochs, said):
    """Runs of before recorded nothing, and nothing is said of them."""
    runs = grid()
    text = report.scale(runs)
    assert "epochs" not in text
    assert report.scale(runs.assign(epochs=epochs)) == text.replace("`builtin`", "`builtin`" + said)


def test_the_answer_has_at_most_sixty_words():
    """And how sure it is takes three bullets at most."""
    for runs in (grid(), study(), broken_grid(), screened_grid()):
        assert len(report.conclusion(runs).split()) <= 60
        assert len(report.reasons(runs).splitlines()) <= 3


def test_results_explain_themselves_in_the_notebook_s_words():
    """What RESULTS.md says before its tables and pictures is what the notebook says there."""
    cells = jupytext.read(ROOT / "notebooks" / "analysis.py").cells
    words = [" ".join(cell.source.split()) for cell in cells if cell.cell_type == "markdown"]
    for title, text in SECTIONS.items():
        assert f"## {title} {text}" in words
    assert {EFFECTS_INTRODUCTION, CELL_DEFINITION} <= set(words)


# ---- what is missing


def test_results_name_what_is_not_there(tmp_path):
    """Runs without a loss are named with their status; a missing value is never 0."""
    text = write(broken_grid(), tmp_path / "r")
    ends = {
        "25 % × 4": "diverged",
        "45 % × 2": "diverged",
        "45 % × 3": "failed",
        "45 % × 4": "missing",
    }
    open_runs = text.split("## Runs without a final loss")[1]
    for cell, status in ends.items():
        assert f"- {cell}: **{status}**" in open_runs
    assert "reached 180,000 tokens" in open_runs
    head, *rows = table_after(text, "## The cells")
    names = ("dev loss", "below unigram", "dev ppl", "dev bpb", "tokens/s", "seeds")
    measured = [n for n, heading in enumerate(head) if heading.split(" (")[0] in names]
    unfinished = [row for row in rows if row[0] in ends]
    assert len(unfinished) == 4
    assert len(measured) == 6
    assert all(row[n] == "—" for row in unfinished for n in measured)
    assert not re.search(r"\b0\.0+\b|\bnan\b|NaN|None", text)


def table_after(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table of a section, its heading and its introduction passed over."""
    table = text.split(heading)[1].split("\n\n")[2]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]


def test_without_runs_nothing_is_written(tmp_path):
    """A fresh clone says what to do; an earlier report is not overwritten by an empty one."""
    note = report.write_results(empty(), {}, tmp_path / "r")
    assert "no runs yet" in note
    assert not (tmp_path / "r").exists()


def test_the_notebook_executes_without_runs(tmp_path):
    """In a fresh clone every cell executes; the answer says what to do, nothing is written."""
    notebook = jupytext.read(ROOT / "notebooks" / "analysis.py")
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    [parameters] = [n for n, names in enumerate(tags) if "parameters" in names]
    injected = nbformat.v4.new_code_cell(f"outputs = {str(tmp_path)!r}")
    notebook.cells.insert(parameters + 1, injected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        NotebookClient(notebook, timeout=300).execute()
    first = next(
        output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output
    )
    assert first.data["text/plain"].startswith("no runs yet: run `make`")
    assert not list(tmp_path.rglob("RESULTS.md"))
    nbformat.write(notebook, tmp_path / "n.ipynb")
    page = report.write_html(tmp_path / "n.ipynb", tmp_path / "report.html")
    assert "no runs yet" in page.read_text(encoding="utf-8")


# ---- the record


def test_results_csv_holds_one_row_per_run(tmp_path):
    """The keys of result.json are the columns; null is empty."""
    write(broken_grid(), tmp_path / "r")
    text = (tmp_path / "r" / "results.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 12
    assert list(rows[0]) == list(broken_grid().columns)
    assert {row["dev_loss"] for row in rows if row["status"] != "completed"} == {""}


def test_the_record_alone_writes_the_same_report(tmp_path):
    """From its own results.csv every file of a report is written again, byte for byte."""
    first, again = tmp_path / "r", tmp_path / "again"
    write(study(), first)
    write(read_results(first / "results.csv"), again)
    names = [path.relative_to(first) for path in first.rglob("*.*")]
    assert len(names) == 5
    for name in names:
        assert (first / name).read_bytes() == (again / name).read_bytes()


# ---- pictures


def test_every_picture_of_results_exists(tmp_path):
    """RESULTS.md links SVGs on white ground, with a text alternative and the numbers behind."""
    text = write(study(), tmp_path / "r")
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(links) == 3
    assert text.count("<details><summary>The numbers</summary>") == 3
    for link in links:
        svg = (tmp_path / "r" / link).read_text(encoding="utf-8")
        assert 'aria-label="' in svg
        assert re.search(r'<rect width="\d+" height="\d+" fill="white"', svg)


def test_a_picture_that_is_no_more_goes(tmp_path):
    """A figure of an earlier report that this one lacks is removed; nothing half-written stays."""
    write(study(), tmp_path / "r")
    assert "12 cells" in write(grid(), tmp_path / "r")
    assert not (tmp_path / "r" / "figures" / "learning_curves.svg").exists()
    assert not list((tmp_path / "r").rglob(".*"))


# ---- the command


@pytest.fixture(scope="module")
def broken(tmp_path_factory, tiny) -> Path:
    """The report that the command writes over a sweep in which each thing went wrong once."""
    folder = tmp_path_factory.mktemp("broken")
    write_broken_sweep(folder, tiny)
    code = "from paramalloc.cli import main; main()"
    arguments = ["report", str(folder / "six.yaml"), "--outputs", str(folder), "--name", "six"]
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == 0, process.stderr
    return folder / "reports" / "six"


def write_broken_sweep(folder: Path, tiny: dict):
    """A sweep of six cells whose runs end as ENDS says, as far as they left something."""
    parameters = {n: value for n, value in tiny.items() if n not in ("profile", "embed_share")}
    axes = {"embed_share": [0.25, 0.3, 0.35], "glu": [2, 2.66]}
    spec = {"profile": "quick", "parameters": parameters, "axes": axes}
    (folder / "six.yaml").write_text(json.dumps(spec))
    sweep = load_sweep(str(folder / "six.yaml"), outputs=str(folder))
    corpus = prepare(tiny["dataset"], tiny["vocab_size"], folder)
    for cell, end in zip(sweep.cells, ENDS, strict=True):
        [one] = cell.runs(corpus)
        if end == "failed":
            log = sweep.log(cell, [one])
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("ValueError: no luck\n")
        elif end != "missing":
            result = result_of(cell.config, one.id, end)
            one.folder.mkdir(parents=True)
            (one.folder / "result.json").write_text(json.dumps(result))


def result_of(config, run_id: str, end: str) -> dict:
    tokens = 40_960 if end == "completed" else 9_000
    names = {"run_id": run_id, "status": end, "tokens_trained": tokens}
    result = run(config.embed_share, config.glu, **names)
    if end == "completed":
        return result
    return result | dict.fromkeys(UNMEASURED)


@pytest.mark.parametrize("file", ["RESULTS.md", "report.html"])
def test_a_broken_sweep_gives_a_report_that_says_so(broken, file):
    """Each cell without a loss is named; early stop ended one, so the others are a screening."""
    text = (broken / file).read_text(encoding="utf-8").replace("\xa0", " ")
    text = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    text = re.sub("<[^>]+>", "", text)
    for status in ("stopped early", "diverged", "failed", "missing"):
        assert re.search(rf": (\*\*)?{status}", text)
    assert "This is a screening and claims nothing: early stop ended 1 of 3 runs" in text
    assert "2 of 6 cells are worth whole runs" in text
    assert "The cells" in text and "How sure is that?" not in text and "Pareto" not in text
    assert not re.search(r"\bnan\b|\b0\.0000\b", text, re.IGNORECASE)
