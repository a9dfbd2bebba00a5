"""`paramalloc recommend`, and the button of the explorer."""

import json
import subprocess
import sys

import pytest
from analysis_fixtures import empty, timed_grid

from paramalloc.analysis import recommend
from paramalloc.cli import main
from paramalloc.runs import read_results
from paramalloc.widgets import Explorer


def test_a_recommendation_needs_no_torch(root):
    """The statistics and their command line import no torch."""
    code = (
        "import sys; from paramalloc.cli import main; "
        "main(sys.argv[1:]); assert 'torch' not in sys.modules"
    )
    asked = [
        "recommend",
        "--total-params",
        "1e6",
        "--vocab-size",
        "4096",
        "--runs",
        "outputs/reference/quick/results.csv",
    ]
    words = [sys.executable, "-c", code, *asked]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_published_quick_results_answer(root, capsys):
    """From outputs/reference/quick/results.csv: a shape, its interval, one seed named, what is
    extrapolated, the command; status 0.
    """
    source = root / "outputs" / "reference" / "quick" / "results.csv"
    assert (
        main(
            ["recommend", "--total-params", "10e6", "--vocab-size", "16000", "--runs", str(source)]
        )
        == 0
    )
    said = capsys.readouterr().out
    for words in (
        "layers of width",
        "nats per token",
        "own scale 95 % CI [",
        "not distinguishable",
        "one seed",
        "10 times those of the runs",
        "papermill notebooks/train.ipynb",
    ):
        assert words in said
    assert (
        main(
            [
                "recommend",
                "--total-params",
                "10e6",
                "--vocab-size",
                "16000",
                "--runs",
                str(source),
                "--json",
            ]
        )
        == 0
    )
    found, same = (
        json.loads(capsys.readouterr().out),
        recommend(read_results(source), 10_000_000, 16_000),
    )
    assert found["model"]["d_model"] == same.shape.model.d_model and found["versus_baseline"] == [
        same.versus_baseline[0],
        None,
        None,
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no finished runs to recommend from"),
        (["--total-params", "many"], "--total-params must be a number, not 'many'"),
        (["--max-ms", "0"], "--max-ms must be above 0, not 0"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(arguments, message, tmp_path, capsys):
    """On standard error, and nothing on standard output; the folder that was looked into is not
    made.
    """
    asked = [
        "recommend",
        "--total-params",
        "10e6",
        "--vocab-size",
        "16000",
        "--outputs",
        str(tmp_path / "none"),
        *arguments,
    ]
    assert main(asked) == 2
    said = capsys.readouterr()
    assert (
        message in said.err
        and said.err.count("\n") == 1
        and not said.out
        and not (tmp_path / "none").exists()
    )


def test_the_explorer_recommends_from_the_runs_it_found():
    """The button shows the answer of `recommend` at the controls' budget, as text; another budget
    takes it away; no runs are said.
    """
    explorer = Explorer()
    explorer.runs = timed_grid()
    explorer.ask.click()
    assert (
        "Recommended from your runs" in explorer.advice.value
        and "those of the runs" in explorer.advice.value
    )
    explorer.controls["total_params"].value = 1_000_000
    assert explorer.advice.value == ""
    explorer.runs = empty()
    explorer.ask.click()
    assert "no finished runs to recommend from" in explorer.advice.value
