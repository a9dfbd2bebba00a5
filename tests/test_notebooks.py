"""The notebooks are what the README says: explained, paired, refusing what is wrong."""

import ast
import dataclasses
import re
import subprocess
import sys

import jupytext
import pandas as pd
import pytest

from paramalloc.config import (
    ROOT,
    AnalysisConfig,
    DataConfig,
    ExploreConfig,
    TrainConfig,
    TransferConfig,
)
from paramalloc.runs import RESULT_COLUMNS

CONFIGS = {
    "data": DataConfig,
    "train": TrainConfig,
    "analysis": AnalysisConfig,
    "explore": ExploreConfig,
    "transfer": TransferConfig,
}


def papermill(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "papermill", *map(str, arguments)],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        **options,
    )


def parameters_cell(name: str) -> str:
    cells = jupytext.read(ROOT / "notebooks" / f"{name}.py").cells
    [cell] = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    return cell.source


@pytest.mark.parametrize("name", CONFIGS)
def test_the_parameters_cell_and_the_config_agree(name):
    """Same names, same defaults, in the same order."""
    cell = {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(parameters_cell(name)).body
    }
    fields = {field.name: field.default for field in dataclasses.fields(CONFIGS[name])}
    assert cell == fields and list(cell) == list(fields)


@pytest.mark.parametrize("name", CONFIGS)
def test_papermill_explains_every_parameter_with_its_type(name):
    """`papermill --help-notebook` drops what it cannot parse; nothing is dropped."""
    shown = papermill("--help-notebook", f"notebooks/{name}.ipynb").stdout
    for line in parameters_cell(name).splitlines():
        field, kind, rest = re.fullmatch(r"(\w+): (\S.*?) = (.*)", line).groups()
        help_text = rest.split("  # ")[1]
        assert re.search(
            rf"^  {field}: {re.escape(kind)} \(default .*\)\s+{re.escape(help_text)}$", shown, re.M
        ), field


@pytest.mark.parametrize("name", CONFIGS)
def test_a_cell_is_short(name):
    """A notebook reads like an article: a dozen lines of code, no classes, parameters apart."""
    for cell in jupytext.read(ROOT / "notebooks" / f"{name}.py").cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            assert len(cell.source.splitlines()) <= 12 and not re.search(
                r"^class ", cell.source, re.M
            ), cell.source


BAD = [
    (["-p", "gul", "4"], "unknown parameter 'gul': did you mean 'glu'?"),
    (["-p", "glu", "abc"], "glu must be a number, not 'abc'"),
    (["-p", "glu", "nan"], "glu must be a finite number, not nan"),
    (["-p", "glu", "-1"], "glu must be between 0.25 and 16, not -1"),
    (["-p", "embed_share", "0.99"], "the nearest embed_share that fits is"),
    (["-p", "vocab_size", "100000"], "vocab_size must be between 257 and 65536, not 100000"),
    (["-p", "dataset", "no/such/folder"], "no such file or folder"),
    (
        ["-p", "dataset", "{tmp}/latin"],
        "UTF-8",
    ),  # the other mistakes of a corpus are in tests/data
]


@pytest.mark.parametrize(
    "arguments, message", BAD, ids=lambda value: value[1] if isinstance(value, list) else ""
)
def test_a_mistake_is_papermills_last_line(arguments, message, tmp_path):
    """One clear line at the end, non-zero, before anything is computed or written."""
    (tmp_path / "latin").mkdir()
    (tmp_path / "latin" / "train.txt").write_text("caf\xe9 " * 100, encoding="latin-1")
    done = papermill(
        "notebooks/train.ipynb",
        tmp_path / "x.ipynb",
        "-p",
        "outputs",
        tmp_path / "outputs",
        "-p",
        "profile",
        "quick",
        *(word.format(tmp=tmp_path) for word in arguments),
    )
    assert done.returncode != 0
    assert message in done.stderr.strip().splitlines()[-1]
    assert not list((tmp_path / "outputs").rglob("*.*"))


def test_one_cell_end_to_end(tiny, tmp_path):
    """papermill trains a cell on a corpus it prepares itself; lists and text arrive; the notebook
    shows a result."""
    given = [
        part
        for name, value in (tiny | {"tokens": 4096, "probes": 2}).items()
        for part in ("-p", name, str(value))
    ]
    done = papermill(
        "notebooks/train.ipynb",
        tmp_path / "one.ipynb",
        *given,
        "-p",
        "outputs",
        tmp_path / "o",
        "-p",
        "lr",
        "1e-3,3e-3",
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "o" / "runs").glob("*/result.json"))) == 2
    shown = (tmp_path / "one.ipynb").read_text()
    assert "completed" in shown and "image/svg+xml" in shown
    assert (
        "1 layer of width 60, 1 head of 60, d_ff 144" in shown
    )  # the allocator's table is deterministic

    done = papermill(
        "notebooks/analysis.ipynb",
        tmp_path / "all.ipynb",
        "-p",
        "outputs",
        tmp_path / "o",
        "-p",
        "name",
        "two",
    )
    assert done.returncode == 0, done.stderr
    results = pd.read_csv(tmp_path / "o" / "reports" / "two" / "results.csv")
    assert (
        sorted(results.lr) == [1e-3, 3e-3]
        and (results.d_model == 60).all()
        and list(results.columns) == RESULT_COLUMNS
    )
    assert "35 % × 2.66" in (tmp_path / "o" / "reports" / "two" / "RESULTS.md").read_text()


def test_papermill_may_write_to_standard_output(tiny, tmp_path):
    """With no output path the executed notebook goes to standard output and nothing else does."""
    given = [
        part
        for name, value in (tiny | {"tokens": 2048, "probes": 1}).items()
        for part in ("-p", name, str(value))
    ]
    done = papermill("notebooks/train.ipynb", *given, "-p", "outputs", tmp_path)
    assert done.returncode == 0 and jupytext.reads(done.stdout, "ipynb").cells


def test_the_analysis_of_a_fresh_clone_says_that_there_is_nothing_yet(tmp_path):
    """Every cell executes without runs, and the notebook says what to do."""
    done = papermill("notebooks/analysis.ipynb", tmp_path / "x.ipynb", "-p", "outputs", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no runs yet" in (tmp_path / "x.ipynb").read_text()
