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


def options(parameters: dict) -> list[str]:
    """What papermill is given for these parameters: `-p name value` for each."""
    words = []
    for name, value in parameters.items():
        words += ["-p", name, str(value)]
    return words


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
        kind, help_text = re.escape(kind), re.escape(help_text)
        pattern = rf"^  {field}: {kind} \(default .*\)\s+{help_text}$"
        assert re.search(pattern, shown, re.M), field


@pytest.mark.parametrize("name", CONFIGS)
def test_a_cell_is_short(name):
    """A notebook reads like an article: a dozen lines of code, no classes, parameters apart."""
    for cell in jupytext.read(ROOT / "notebooks" / f"{name}.py").cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            assert len(cell.source.splitlines()) <= 12, cell.source
            assert not re.search(r"^class ", cell.source, re.M), cell.source


BAD = [
    (["-p", "gul", "4"], "unknown parameter 'gul': did you mean 'glu'?"),
    (["-p", "glu", "abc"], "glu must be a number, not 'abc'"),
    (["-p", "glu", "nan"], "glu must be a finite number, not nan"),
    (["-p", "glu", "-1"], "glu must be between 0.25 and 16, not -1"),
    (["-p", "embed_share", "0.99"], "the nearest embed_share that fits is"),
    (["-p", "vocab_size", "100000"], "vocab_size must be between 257 and 65536, not 100000"),
    (["-p", "dataset", "no/such/folder"], "no such file or folder"),
    # the other mistakes of a corpus are in tests/data
    (["-p", "dataset", "{tmp}/latin"], "UTF-8"),
]


@pytest.mark.parametrize(
    "arguments, message", BAD, ids=lambda value: value[1] if isinstance(value, list) else ""
)
def test_a_mistake_is_papermills_last_line(arguments, message, tmp_path):
    """One clear line at the end, non-zero, before anything is computed or written."""
    (tmp_path / "latin").mkdir()
    (tmp_path / "latin" / "train.txt").write_text("caf\xe9 " * 100, encoding="latin-1")
    quick = options({"outputs": tmp_path / "outputs", "profile": "quick"})
    mistake = [word.format(tmp=tmp_path) for word in arguments]
    done = papermill("notebooks/train.ipynb", tmp_path / "x.ipynb", *quick, *mistake)
    assert done.returncode != 0
    assert message in done.stderr.strip().splitlines()[-1]
    assert not list((tmp_path / "outputs").rglob("*.*"))


def test_one_cell_end_to_end(tiny, tmp_path):
    """papermill trains a cell on a corpus it prepares itself; lists and text arrive; the notebook
    shows a result."""
    outputs = {"outputs": tmp_path / "o"}
    parameters = tiny | {"tokens": 4096, "probes": 2, "lr": "1e-3,3e-3"} | outputs
    train = tmp_path / "one.ipynb"
    done = papermill("notebooks/train.ipynb", train, *options(parameters))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "o" / "runs").glob("*/result.json"))) == 2
    shown = train.read_text()
    assert "completed" in shown and "image/svg+xml" in shown
    # the allocator's table is deterministic
    assert "1 layer of width 60, 1 head of 60, d_ff 144" in shown

    analysis = tmp_path / "all.ipynb"
    done = papermill("notebooks/analysis.ipynb", analysis, *options(outputs | {"name": "two"}))
    assert done.returncode == 0, done.stderr
    report = tmp_path / "o" / "reports" / "two"
    results = pd.read_csv(report / "results.csv")
    assert sorted(results.lr) == [1e-3, 3e-3] and (results.d_model == 60).all()
    assert list(results.columns) == RESULT_COLUMNS
    assert "35 % × 2.66" in (report / "RESULTS.md").read_text()


def test_papermill_may_write_to_standard_output(tiny, tmp_path):
    """With no output path the executed notebook goes to standard output and nothing else does."""
    parameters = tiny | {"tokens": 2048, "probes": 1, "outputs": tmp_path}
    done = papermill("notebooks/train.ipynb", *options(parameters))
    assert done.returncode == 0 and jupytext.reads(done.stdout, "ipynb").cells


def test_the_analysis_of_a_fresh_clone_says_that_there_is_nothing_yet(tmp_path):
    """Every cell executes without runs, and the notebook says what to do."""
    done = papermill("notebooks/analysis.ipynb", tmp_path / "x.ipynb", "-p", "outputs", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no runs yet" in (tmp_path / "x.ipynb").read_text()
