"""The report opens without a network, runs nothing that data smuggles in, and names what is not there."""

import csv
import html
import io
import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import broken_grid, empty, grid, noisy, run, study, unfinished
from nbclient import NotebookClient

from paramalloc import plots, report
from paramalloc.analysis import estimate_noise, reach_verdict
from paramalloc.data import prepare
from paramalloc.report import Table
from paramalloc.report.markup import code, escape_markdown, frame_to_html
from paramalloc.report.page import render_markdown
from paramalloc.report.results import CELL_DEFINITION, EFFECTS_INTRODUCTION, SECTIONS
from paramalloc.runs import read_results
from paramalloc.sweep import load_sweep

TESTS = Path(__file__).resolve().parents[1]
HOSTILE = 'x</script><script>alert(1)</script><!--|![i](http://evil.example/a.png)`<b>"'


def figures(runs) -> dict:
    return {
        "share_glu_heatmap": plots.show(plots.share_glu_heatmap(runs)),
        "pareto_speed": plots.show(plots.pareto(runs, "tokens_per_s")),
        "learning_curves": plots.show(plots.learning_curves(runs)),
    }


def written(runs, folder):
    report.write_results(runs, figures(runs), folder)
    return (folder / "RESULTS.md").read_text(encoding="utf-8")


def test_results_open_with_the_answer(tmp_path):
    """After the title, the first words are the verdict; then its scale, the picture, and how sure it is."""
    text = written(grid(), tmp_path / "r")
    assert text.split("\n\n")[1].startswith("**Of 12 cells, 35 % × 3 ")
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
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)


def test_results_name_what_is_not_there(tmp_path):
    """Stopped, diverged, failed and missing cells are named with their status; a missing value is never 0."""
    text = written(broken_grid(), tmp_path / "r")
    open_runs = text.split("## Runs without a final loss")[1]
    ends = {
        "25 % × 4": "stopped early",
        "45 % × 2": "diverged",
        "45 % × 3": "failed",
        "45 % × 4": "missing",
    }
    for cell, status in ends.items():
        assert f"- {cell}: **{status}**" in open_runs
    assert "reached 180,000 tokens" in open_runs
    head, *rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in text.split("## The cells")[1].split("\n\n")[2].splitlines()
    ]
    losses = [
        n
        for n, name in enumerate(head)
        if name.split(" (")[0]
        in ("dev loss", "below unigram", "dev ppl", "dev bpb", "tokens/s", "seeds")
    ]
    unfinished = [row for row in rows if row[0] in ends]
    assert len(unfinished) == 4 and len(losses) == 6
    assert all(row[n] == "—" for row in unfinished for n in losses)
    assert not re.search(r"\b0\.0+\b|\bnan\b|NaN|None", text)


def test_the_notebook_executes_without_runs(tmp_path):
    """In a fresh clone every cell executes; the first answer says what to do, and nothing is written."""
    notebook = jupytext.read(TESTS.parent / "notebooks" / "analysis.py")
    tagged = next(
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    )
    notebook.cells.insert(tagged + 1, nbformat.v4.new_code_cell(f"outputs = {str(tmp_path)!r}"))
    executed(notebook)
    outputs = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output
    ]
    assert outputs[0].data["text/plain"].startswith("no runs yet: run `make`") and not list(
        tmp_path.rglob("RESULTS.md")
    )
    nbformat.write(notebook, tmp_path / "n.ipynb")
    assert "no runs yet" in report.write_html(
        tmp_path / "n.ipynb", tmp_path / "report.html"
    ).read_text(encoding="utf-8")


def executed(notebook):
    """The notebook, executed with this checkout on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{TESTS.parent}{os.pathsep}{TESTS}")
        NotebookClient(notebook, timeout=300).execute()


def test_results_csv_holds_one_row_per_run(tmp_path):
    """The keys of result.json are the columns; null is empty."""
    written(broken_grid(), tmp_path / "r")
    rows = list(
        csv.DictReader(io.StringIO((tmp_path / "r" / "results.csv").read_text(encoding="utf-8")))
    )
    assert len(rows) == 12 and list(rows[0]) == list(broken_grid().columns)
    assert {row["dev_loss"] for row in rows if row["status"] != "completed"} == {""}


def test_the_record_alone_writes_the_same_report(tmp_path):
    """From its own results.csv every file of a report is written again, byte for byte."""
    written(study(), tmp_path / "r")
    written(read_results(tmp_path / "r" / "results.csv"), tmp_path / "again")
    names = [path.relative_to(tmp_path / "r") for path in (tmp_path / "r").rglob("*.*")]
    assert len(names) == 5
    assert all(
        (tmp_path / "r" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
        for name in names
    )


def test_every_picture_of_results_exists(tmp_path):
    """RESULTS.md links its figures relatively; each is an SVG on white ground with a text alternative, its numbers behind it."""
    text = written(study(), tmp_path / "r")
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(links) == 3 and text.count("<details><summary>The numbers</summary>") == 3
    for link in links:
        svg = (tmp_path / "r" / link).read_text(encoding="utf-8")
        assert 'aria-label="' in svg and re.search(
            r'<rect width="\d+" height="\d+" fill="white"', svg
        )


def test_a_picture_that_is_no_more_goes(tmp_path):
    """A figure of an earlier report that this one does not have is removed; nothing half-written stays."""
    written(study(), tmp_path / "r")
    assert "12 cells" in written(grid(), tmp_path / "r")
    assert not (tmp_path / "r" / "figures" / "learning_curves.svg").exists() and not [
        path for path in (tmp_path / "r").rglob(".*")
    ]


def test_without_runs_nothing_is_written(tmp_path):
    """A fresh clone says what to do; an earlier report is not overwritten by an empty one."""
    note = report.write_results(empty(), {}, tmp_path / "r")
    assert "no runs yet" in note and not (tmp_path / "r").exists()


@pytest.fixture(scope="module")
def broken(tmp_path_factory, tiny):
    """The folder of the report that `paramalloc report` writes over a sweep in which each thing went wrong once."""
    folder = tmp_path_factory.mktemp("broken")
    names = {name: value for name, value in tiny.items() if name not in ("profile", "embed_share")}
    (folder / "six.yaml").write_text(
        json.dumps(
            {
                "profile": "quick",
                "parameters": names,
                "axes": {"embed_share": [0.25, 0.3, 0.35], "glu": [2, 2.66]},
            }
        )
    )
    sweep = load_sweep(str(folder / "six.yaml"), outputs=str(folder))
    corpus = prepare(tiny["dataset"], tiny["vocab_size"], folder)
    ends = ["completed", "completed", "stopped_early", "diverged", "failed", "missing"]
    for cell, end in zip(sweep.cells, ends):
        [one] = cell.runs(corpus)
        end == "failed" and log(sweep.log(cell, [one]))
        if end in ("failed", "missing"):
            continue
        result = run(
            cell.config.embed_share,
            cell.config.glu,
            run_id=one.id,
            status=end,
            tokens_trained=40_960 if end == "completed" else 9_000,
        )
        lost = (
            {}
            if end == "completed"
            else dict.fromkeys(["dev_loss", "dev_ppl", "dev_bpb", "test_loss", "tokens_per_s"])
        )
        one.folder.mkdir(parents=True)
        (one.folder / "result.json").write_text(json.dumps(result | lost))
    words = (
        "from paramalloc.cli import main; main()",
        "report",
        str(folder / "six.yaml"),
        "--outputs",
        str(folder),
        "--name",
        "six",
    )
    done = subprocess.run(
        [sys.executable, "-c", *words],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
    )
    assert done.returncode == 0, done.stderr
    return folder / "reports" / "six", [cell.name for cell in sweep.cells], ends


def log(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("ValueError: no luck\n")


@pytest.mark.parametrize("file", ["RESULTS.md", "report.html"])
def test_a_broken_sweep_gives_a_report_that_says_so(broken, file):
    """One cell failed, one was killed, one diverged, one is missing: the report is written, names each, and its fronts only screen."""
    folder, _, ends = broken
    text = re.sub(
        "<[^>]+>",
        "",
        (folder / file).read_text(encoding="utf-8").split("</script>")[0].replace("\xa0", " ")
        if file == "RESULTS.md"
        else "".join(
            re.split(
                r"<script.*?</script>", (folder / file).read_text(encoding="utf-8"), flags=re.S
            )
        ).replace("\xa0", " "),
    )
    said = [
        status
        for status in ("stopped early", "diverged", "failed", "missing")
        if re.search(rf": (\*\*)?{status}", text)
    ]
    assert len(said) == 4 and "2 of 6 cells complete" in text and "Screening only" in text
    assert not re.search(r"\bnan\b|\b0\.0000\b", text, re.I)


def test_a_table_is_headings_and_text():
    """Every heading has a scope, and markup in a cell is text, in HTML as in Markdown."""
    frame = pd.DataFrame({"cell": [HOSTILE], "loss": ["5.2"]})
    assert (
        frame_to_html(frame).count('scope="col"') == 2
        and frame_to_html(frame).count('scope="row"') == 1
    )
    assert "<script" not in frame_to_html(frame) + Table(
        frame, "c"
    )._repr_markdown_() and "<script" in code(HOSTILE)
    assert Table(frame, "c")._repr_markdown_().splitlines()[2].count(" | ") == 1


CELLS = """
from analysis_fixtures import study
from paramalloc import plots, report
from paramalloc.analysis import reach_verdict
runs = study(baseline_seeds=3).assign(dataset={dataset!r}, device={dataset!r}, optimizer={dataset!r})
---
reach_verdict(runs)
---
report.cell_results(runs)
---
report.scale(runs)
---
report.corpus(runs)
---
report.methods(runs)
---
report.provenance(runs, {dataset!r})
---
_ = plots.show_all(a=plots.pareto(runs, "tokens_per_s"), b=plots.share_glu_heatmap(runs.assign(mlp={dataset!r})))
---
report.unfinished(runs.assign(status={dataset!r}))
---
print(runs.dataset[0])
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """report.html of a small executed notebook over a corpus with a hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    sources = CELLS.format(dataset=HOSTILE).split("---\n")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources]
    )
    executed(notebook)
    nbformat.write(notebook, folder / "n.ipynb")
    return report.write_html(folder / "n.ipynb", folder / "report.html").read_text(encoding="utf-8")


def scripts(page: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", page, re.S)


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


def test_page_loads_nothing(page):
    """No attribute, style or import outside the one script refers to an address outside the file; the policy refuses the rest."""
    rest = without_scripts(page)
    assert not re.search(r"""(?:src|href|srcset|action|data)\s*=\s*["']?\s*(?:https?:)?//""", rest)
    assert not re.search(r"url\(\s*[\"']?\s*(?:https?:)?//|@import|<link|<iframe|<object", rest)
    assert set(re.findall(r'src="([^,"]{0,30})', rest)) == {"data:image/svg+xml;base64"}
    assert len(page.encode()) < 5_000_000


def test_page_runs_its_own_script_alone(page):
    """The policy names the hash of the page's script, which is the only one; names of corpora end no script and are text."""
    [script] = scripts(page)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert (
        policy
        == f"default-src 'none'; script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'; "
        "img-src data:; style-src 'unsafe-inline'"
    )
    assert (
        "<script" not in without_scripts(page)
        and "&lt;script&gt;" in page
        and "alert(1)" not in script
    )
    specs = re.findall(r'<script type="application/json" class="spec">(.*?)</script>', page, re.S)
    assert len(specs) == 2 and all(
        "<" not in spec and HOSTILE in str(json.loads(spec)) for spec in specs
    )


def test_page_shows_no_code(page):
    """Code cells and prompts are left out; their results stay."""
    assert (
        "report.cell_results(runs)" not in page and "In&nbsp;[" not in page and "Out[" not in page
    )
    assert "reached the lowest dev loss" in page and "<table" in page


def test_page_charts_have_words_and_numbers(page):
    """Each chart has a caption, a still picture with a sentence as alt, and a table behind it."""
    charts = re.findall(r'<figure class="chart">.*?</figure>', page, re.S)
    assert len(charts) == 2
    assert all(
        "<figcaption><b>" in chart
        and re.search(r'alt="[^"]{30,}" src="data:', chart)
        and "<table" in chart
        for chart in charts
    )


def test_a_page_without_charts_has_no_script(tmp_path):
    """What draws nothing runs nothing, and its policy allows none."""
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_markdown_cell("# A <script>heading</script>")]
        ),
        tmp_path / "n.ipynb",
    )
    text = report.write_html(tmp_path / "n.ipynb", tmp_path / "report.html").read_text(
        encoding="utf-8"
    )
    assert not scripts(text) and "script-src" not in text and "&lt;script&gt;" in text


def test_sections_tagged_fold_are_folded(tmp_path):
    """From a heading tagged `fold` to the next one a section is a closed `<details>`, and the contents lead there all the same."""
    cells = [
        nbformat.v4.new_markdown_cell(text)
        for text in ("## One\na", "## More & more\nb", "c", "## Two\nd")
    ]
    cells[1].metadata["tags"] = ["fold"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "n.ipynb")
    text = report.write_html(tmp_path / "n.ipynb", tmp_path / "report.html").read_text(
        encoding="utf-8"
    )
    inside = re.search(r'<details class="more"><summary>(.*?)</summary>(.*?)</details>', text, re.S)
    assert (
        'id="more-amp-more"' in inside[1]
        and "b" in inside[2]
        and "c" in inside[2]
        and "<p>d</p>" not in inside[2]
    )
    assert [name in text for name in ('href="#one"', 'href="#more-amp-more"', 'href="#two"')] == [
        True
    ] * 3


def test_losses_by_frequency_are_differences_of_means():
    """Each share's mean loss in a decile, less the mean over the shares; a single share is no comparison."""
    runs = grid(seeds=2)
    runs = runs.assign(
        dev_by_frequency=[[[9, 5 + n * share] for n in (1, 2)] for share in runs.requested_share]
    )
    data = plots.frequency_deciles(runs).to_dict()["datasets"]
    drawn = {
        (row["share"], row["decile"]): row["difference"]
        for rows in data.values()
        for row in rows
        if "share" in row
    }
    assert drawn == pytest.approx(
        {
            (f"{share:.0%}".replace("%", " %"), n): n * (share - 0.35)
            for share in (0.25, 0.35, 0.45)
            for n in (1, 2)
        }
    )
    assert "there are not two" in plots.frequency_deciles(runs[runs.requested_share == 0.35])
    assert "there are not two" in plots.frequency_deciles(grid())


def test_a_cell_of_many_seeds_weighs_as_much_as_another():
    """A share's loss in a decile is the mean of its cells' means: eight more seeds of its worst cell do not move it."""
    frequencies = lambda runs: [
        [[9, 5 + glu * (share > 0.3)]] * 2
        for share, glu in zip(runs.requested_share, runs.requested_glu)
    ]
    drawn = lambda runs: plots.frequency_deciles(
        runs.assign(dev_by_frequency=frequencies(runs))
    ).to_dict()["usermeta"]["table"]
    more = pd.DataFrame([run(0.35, 4.0, seed) for seed in range(1, 9)])
    assert drawn(pd.concat([grid(), more], ignore_index=True)) == drawn(grid())


def test_smallbench_and_decoding_are_in_the_table():
    """SmallBench is a mean over seeds, decoding a median; a cell without them shows a dash; of nobody measured, no column."""
    runs = grid(seeds=2).assign(
        smallbench=lambda runs: 0.1 + 0.02 * runs.seed, decode_ms_per_token=2.5
    )
    runs.loc[runs.requested_share == 0.25, ["smallbench", "decode_ms_per_token"]] = None
    shown = report.cell_results(runs).frame
    assert (
        list(shown["SmallBench"]) == ["—"] * 4 + ["0.110"] * 8
        and list(shown["decode (ms/token)"]) == ["—"] * 4 + ["2.50"] * 8
    )
    assert "SmallBench" not in report.cell_results(grid()).frame
    decoding = report.fronts(runs).frame.iloc[1]
    assert (
        decoding.iloc[1].startswith("35 % × 3")
        and decoding["against"] == "decoding one token (less is better)"
    )


def test_markdown_in_a_value_does_not_act():
    """Links, emphasis, code, rows, bare addresses, formulas and line breaks of a value are text, also in the words of a picture."""
    hostile = "[a](http://e.example) ![i](http://e.example/a.png) *b* __c__ `d` | e\n\n# f ~~g~~ <i>h</i> \\"
    shown = render_markdown(Table(pd.DataFrame({"cell": [hostile]}), "c")._repr_markdown_())
    assert not re.search(r"<(a|img|em|strong|code|h1|del|s|i)\b", shown) and shown.count("<td") == 1
    assert " ".join(hostile.split()) in html.unescape(
        html.unescape(shown)
    ) and "http://" not in escape_markdown(hostile)
    alt = render_markdown(f"![{escape_markdown(hostile)}](figures/a.svg)")
    assert alt.count("<img") == 1 and 'src="figures/a.svg"' in alt and "<a" not in alt


def test_every_open_run_is_listed():
    """A killed run of another group is named with what tells it from the study's; only where nothing is open is every run complete."""
    other = unfinished(0.35, 2.66, "stopped_early", 100_000, embedding="untied", seed=7)
    said = report.unfinished(pd.concat([grid(seeds=2), pd.DataFrame([other])], ignore_index=True))
    assert (
        "**stopped early**" in said
        and "seed 7" in said
        and "of another group: embedding `untied`" in said
    )
    assert "Every run is complete" in report.unfinished(grid())


def test_what_diverged_and_how_rates_were_chosen_is_said():
    """A diverged seed, and a rate that was chosen on the claim's own seeds or at the edge of those tried, is a sentence of the limits."""
    beside = pd.DataFrame([unfinished(0.25, 4.0, "diverged", 100_000, seed=2)])
    assert "Runs of 25 % × 4 diverged" in report.limits(
        pd.concat([grid(seeds=2), beside], ignore_index=True)
    )
    rates = [
        grid().assign(lr=lr, dev_loss=lambda runs: runs.dev_loss + worse)
        for lr, worse in ((1e-3, 0.2), (3e-3, 0.0), (9e-3, 0.1))
    ]
    at_edge = (rates[2].requested_share == 0.35) & (rates[2].requested_glu == 2.0)
    said = report.limits(
        pd.concat(
            [*rates[:2], rates[2].assign(dev_loss=rates[2].dev_loss - 0.3 * at_edge)],
            ignore_index=True,
        )
    )
    assert (
        "learning rate of every cell was chosen on" in said
        and "rate of 35 % × 2 lies at the edge" in said
    )
    assert not any(
        words in report.limits(grid(seeds=2))
        for words in ("diverged", "was chosen on", "at the edge")
    )


def test_the_status_of_a_cell_tells_of_every_seed():
    """Beside the completed seeds it counts those that ended otherwise, also where these did not record the tables' rate; a cell without
    a completed seed says the most telling end first."""
    ends = ["stopped_early", "diverged", "failed", "missing", "missing"]
    lost = [
        unfinished(
            0.25, 4.0, end, embed_lr=None if end in ("failed", "missing") else 0.03, seed=seed
        )
        for seed, end in enumerate(ends, 2)
    ]
    none = [unfinished(0.45, 4.0, end, seed=seed) for seed, end in enumerate(("missing", "failed"))]
    runs = pd.concat(
        [grid(*none, seeds=2).assign(embed_lr=0.03), pd.DataFrame(lost)], ignore_index=True
    )
    status = report.cell_shapes(runs).frame.set_index("cell (requested)").status
    assert status["25 % × 4"] == "completed, 1 stopped early, 1 diverged, 1 failed, 2 missing"
    assert status["45 % × 4"] == "failed, 1 missing" and set(
        status.drop(["25 % × 4", "45 % × 4"])
    ) == {"completed"}


def test_results_explain_themselves_in_the_notebook_s_words():
    """What RESULTS.md says before its tables and pictures is what the notebook says there."""
    cells = jupytext.read(TESTS.parent / "notebooks" / "analysis.py").cells
    words = [" ".join(cell.source.split()) for cell in cells if cell.cell_type == "markdown"]
    for title, text in SECTIONS.items():
        assert f"## {title} {text}" in words
    assert {EFFECTS_INTRODUCTION, CELL_DEFINITION} <= set(words)


def test_flags_are_counted_by_seed():
    """Two of three seeds flagged: how many of how many, and from the earliest on; of one seed, from where alone."""
    status = lambda runs: (
        report.cell_shapes(runs).frame.set_index("cell (requested)").status["25 % × 4"]
    )
    at = lambda runs, flagged: runs.assign(
        flagged_at_tokens=[
            flagged.get(seed) if name == (0.25, 4.0) else None
            for seed, name in zip(runs.seed, zip(runs.requested_share, runs.requested_glu))
        ]
    )
    assert (
        status(at(grid(seeds=3), {0: 2e5, 2: 1e5}))
        == "completed, 2 of 3 flagged from 100k tokens on"
    )
    assert (
        status(at(grid(), {0: 2e5})) == "completed, flagged from 200k tokens on"
        and status(grid()) == "completed"
    )


def test_heads_speeds_and_the_recipe_are_told():
    """Heads that move with the shape and speeds that do not repeat are limits; the recipe is in words; nothing of it where it is not so."""
    runs = noisy(grid(seeds=2), 0.02).assign(warmup=0.1, weight_decay=0.1)
    assert (
        "The attention heads move with the shape (8 to 14 of dimension 8; 25 % alone 8; 35 % alone 11; 45 % alone 14)"
        in report.limits(runs)
    )
    assert "differ by a factor of" in report.limits(
        runs
    ) and "differ by a factor of" not in report.limits(grid(seeds=2))
    assert "heads move" not in report.limits(
        runs.assign(n_heads=8)
    ) and "(2 of dimension 8 to 16)" in report.limits(
        runs.assign(n_heads=2, d_head=lambda r: 8 + 8 * (r.seed * 0 + (r.requested_share > 0.3)))
    )
    assert "The rate rises over 10 % of the steps and falls linearly to zero" in report.methods(
        runs
    ) and "windows" not in report.methods(grid())


def test_provenance_tells_the_runs_from_the_reporter():
    """Who trained the runs, as they recorded it, comes before what made the report; what was not recorded is said, and who trained the runs of other questions."""
    runs = grid()
    said = report.provenance(runs.assign(commit=["abc"] * 11 + [None], torch="2.0"), "make reports")
    assert "- by commit: `abc`, not recorded\n- with torch: `2.0`\n" in said and said.index(
        "abc"
    ) < said.index("this report was made by")
    assert (
        "by commit: not recorded" in report.provenance(runs, "make reports")
        and "other runs" not in said
    )
    more = pd.concat(
        [runs.assign(commit="abc"), runs.head(2).assign(tokens=1e5, commit="def")],
        ignore_index=True,
    )
    assert "- by commit: `abc`\n" in report.provenance(
        more, ""
    ) and "- the 2 other runs: made " in report.provenance(more, "")
    assert "; by commit `def`; " in report.provenance(more, "")


def test_what_is_smaller_than_the_study_says_so():
    """At 1M parameters the study's sizes and the command that answers it; at 10M nothing of it."""
    study = grid(seeds=2).assign(total_params=10_000_000, tokens=50_000_000)
    assert "are not the study's 10M and 50M" in report.limits(
        grid(seeds=2)
    ) and "make reference PROFILE=study" in report.limits(grid(seeds=2))
    assert "are not the study's" not in report.limits(study)
    assert "10M parameters and 2M tokens are not the study's" in report.limits(
        study.assign(tokens=2_000_000)
    )


def test_the_lowest_cell_at_an_edge_says_so():
    """The lowest with the largest share and a middle expansion: the one end is named, not the other; in the middle of both, nothing is."""
    at = lambda share, glu: report.limits(
        grid(seeds=2).assign(
            dev_loss=lambda r: 4 + r.requested_share.ne(share) + r.requested_glu.ne(glu)
        )
    )
    assert "The lowest cell has the largest share of these: a lower one may lie beyond." in at(
        0.45, 3.0
    )
    assert "The lowest cell has the smallest share and the largest expansion of these" in at(
        0.25, 4.0
    ) and "lie beyond" not in at(0.35, 2.66)


def test_heads_that_only_one_share_has_are_named():
    """What is said of a share whose cells alone have so many heads may be the heads' doing; shared counts are not named."""
    runs = grid(seeds=2).assign(
        n_heads=lambda r: 1 + (r.requested_share > 0.3) * (1 + (r.requested_glu > 3))
    )
    assert "(1 to 3 of dimension 8; 25 % alone 1)" in report.limits(runs)


def test_the_test_split_confirms_or_corrects_the_lowest_cell():
    """It chose nothing: the cell that is the lowest there is named, with its loss; beside it that of dev's lowest where it is another."""
    runs = grid(seeds=2).assign(test_loss=lambda r: r.dev_loss + 0.5)
    best = reach_verdict(runs).best
    assert (
        f"On the test split, which chose nothing, {best} is the lowest, as on dev ({runs.groupby(['requested_share', 'requested_glu']).test_loss.mean().min():.3f}"
        in report.certainty(runs)
    )
    turned = runs.assign(test_loss=9 - runs.dev_loss)
    assert "which chose nothing" in report.certainty(
        turned
    ) and f"{best} is the lowest" not in report.certainty(turned)
    assert f"; {best} " in report.certainty(
        turned
    ) and "which chose nothing" not in report.certainty(runs.assign(test_loss=np.nan))


def test_totals_of_one_budget_make_no_front():
    """Where the cells' totals are rounded from one budget, no cell is praised for the smaller; where they are not, it counts."""
    against = lambda runs: report.fronts(runs).frame.iloc[:, 0].str.contains("parameters").any()
    runs = grid(seeds=2)
    assert not against(runs.assign(total_params=1_000_000)) and against(
        runs.assign(total_params=lambda r: 1e6 * (1 + 0.04 * (r.requested_share > 0.4)))
    )


def test_a_tuned_sweep_says_what_was_chosen_among():
    """Though all cells chose one rate: the methods name the values and the seed, and the limits do not speak of one rate for all."""
    better = {1e-3: 0.1, 3e-3: 0.0, 9e-3: 0.2}
    tuning = pd.concat(
        [
            grid().assign(
                seed=1000,
                lr=lr,
                dev_loss=lambda rows: rows.dev_loss + better[lr],
                run_id=lambda rows: rows.run_id + "t",
            )
            for lr in better
        ]
    )
    tuned = pd.concat([grid(seeds=2), tuning], ignore_index=True)
    assert (
        "Each cell's is the best of those that it tried on seed 1000, which no mean includes: 0.001, 0.003, 0.009."
        in report.methods(tuned)
    )
    assert "One base learning rate" not in report.limits(
        tuned
    ) and "One base learning rate" in report.limits(grid(seeds=2))
    assert "Each cell's is the best" not in report.methods(grid())
    other = tuned.assign(
        dev_loss=tuned.dev_loss - 0.5 * ((tuned.lr == 9e-3) & (tuned.requested_share == 0.25))
    )
    assert "Each cell's is the best" not in report.methods(
        other.assign(lr=other.lr.where(other.seed >= 1000, 3e-3))
    )


def test_a_checked_learning_rate_is_told_from_a_chosen_one():
    """Three cells tried other rates on a tuning seed at a shorter budget: the report says how much lower the best was, not that they
    chose it, and still limits itself to one rate for all."""
    tried = [
        run(share, glu, 1000, lr, tokens=100_000, dev_loss=6 + worse)
        for share, glu, best in ((0.25, 2.0, 1e-3), (0.35, 2.66, 3e-3), (0.45, 4.0, 3e-3))
        for lr, worse in (
            (3e-3, 0.0125 * (best == 1e-3)),
            (best if best == 1e-3 else 9e-3, 0.0 if best == 1e-3 else 0.1),
        )
    ]
    runs = pd.concat([grid(seeds=2), pd.DataFrame(tried)], ignore_index=True)
    said = report.certainty(runs)
    rows = "(rows of `tokens` 100000 and `seed` 1000)"
    assert f"3 of 12 cells tried 2 rates at 100k tokens a run {rows}. The best rate gained " in said
    gains = "0.0042 nats over the grid's, averaged over cells, and 0.0125 at most (25 % × 2)."
    assert f"{gains} Equally good rates would give " in said
    shares = "0.0125 at 25 % (1 cell), 0.0000 at 35 % (1 cell), 0.0000 at 45 % (1 cell)"
    error = 2 * estimate_noise(runs).sigma  # of four runs
    difference = f"differ by 0.0125 at most (standard error about {error:.4f})"
    assert f"By share: {shares}. These {difference}. Tuned rates would move" in said
    assert "`seed` 1000, in bf16, fp32)" in report.certainty(
        runs.assign(precision=["fp32"] * (len(runs) - 1) + ["bf16"])
    )
    assert "`seed` 1000)" in report.certainty(runs.assign(precision="fp32"))
    assert "By share" not in report.certainty(
        runs[(runs.seed < 1000) | (runs.requested_share == 0.25)]
    )
    assert "Each cell's is the best" not in report.methods(
        runs
    ) and "One base learning rate" in report.limits(runs)
    assert "learning rate fair" not in report.certainty(grid(seeds=2))
