"""`paramalloc recommend`, and the button of the explorer."""

import json
import subprocess
import sys

import pytest
from analysis_fixtures import empty, timed_grid

from paramalloc.analysis import differences, recommend
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
        "is predicted, without an interval",
        "not distinguishable",
        "one seed",
        "extrapolates  ",
        "M (trained: 0.993M to 1.01M); vocabulary 16,000 (trained: 4,096)",
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
    assert found["model"]["d_model"] == same.shape.model.d_model
    assert found["versus_baseline"] == [same.versus_baseline[0], None, None]
    assert found["claims_better"] is False and found["outside"] == list(same.outside)


def test_on_the_published_rows_it_agrees_with_the_report(root, capsys):
    """45 % x 4 is not distinguishable from the baseline, whatever the limit; the interval holds
    that of the report, and a damaged row is named.
    """
    source = root / "outputs" / "reference" / "results.csv"
    asked = ["recommend", "--total-params", "1e6", "--vocab-size", "4096", "--runs", str(source)]
    row = differences(read_results(source)).set_index("cell").loc["45 % × 4"]
    for limit in ([], ["--max-ms", "3"], ["--max-ms", "1.9"]):
        assert main([*asked, *limit, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        difference, low, high = found["versus_baseline"]
        assert not found["claims_better"] and low < difference < 0 < high
        assert found["nearest"] == "45 % × 4" and low <= row.low_all and row.high_all <= high
        assert not found["outside"]
    assert main([*asked, "--max-ms", "0.5"]) == 2
    assert "the least that any takes is" in capsys.readouterr().err


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
        and "extrapolates" in explorer.advice.value
    )
    explorer.controls["total_params"].value = 1_000_000
    assert explorer.advice.value == ""
    explorer.runs = empty()
    explorer.ask.click()
    assert "no finished runs to recommend from" in explorer.advice.value
