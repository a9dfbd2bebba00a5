"""Commands where little is installed: torch and seven more packages, no metadata, no git."""

import subprocess

import pytest
from bare import make_bare_python, run_bare
from test_structure import MODULES, name_of, room_of

from paramalloc.config import ROOT
from paramalloc.runs import load_runs

TABLE = "outputs/reference/quick/results.csv"
SHOWING = {"plots", "report", "widgets"}  # what draws needs Altair, Jupyter or both


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return make_bare_python(tmp_path_factory.mktemp("bare"))


def test_only_what_draws_needs_more(python):
    """Every other module can be imported."""
    paths = [path for path in MODULES if room_of(path) not in SHOWING]
    names = [name_of(path).removesuffix(".py").replace("/", ".") for path in paths]
    code = "\n".join(f"import paramalloc.{name}" for name in names)
    done = subprocess.run(
        [python, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_runs_are_restored_and_read(python, tmp_path):
    """`restore`, `status` and `recommend`, from a table alone."""
    outputs = ["--outputs", str(tmp_path)]
    assert "12 runs put back" in run_bare(python, "restore", TABLE, *outputs).stdout
    assert len(load_runs(tmp_path)) == 12
    assert run_bare(python, "status", *outputs).returncode == 0
    budget = ["--total-params", "1e6", "--vocab-size", "4096"]
    said = run_bare(python, "recommend", *budget, *outputs)
    assert "12 runs of 12 cells" in said.stdout and not said.stderr


def test_a_corpus_says_what_reads_it(python, tmp_path):
    """Of the hub, or of a format that needs more."""
    (tmp_path / "train.txt.zst").write_bytes(b"")
    code = """
import sys
from pathlib import Path
from paramalloc.data import prepare
from paramalloc.errors import UserError
for dataset in sys.argv[2:]:
    try:
        prepare(dataset, 300, Path(sys.argv[1]))
    except UserError as error:
        print(error)
"""
    words = [python, "-c", code, tmp_path / "o", "wikitext-2", tmp_path]
    said = subprocess.check_output(words, cwd=ROOT, text=True).splitlines()
    assert said[0].startswith("wikitext-2 needs datasets: pip install datasets, or name a local")
    assert said[1].endswith("train.txt.zst needs pyarrow: pip install pyarrow")


def test_a_report_says_in_one_line_what_to_install(python, tmp_path):
    """All of it at once, by the names that pip knows."""
    said = run_bare(python, "report", TABLE, "--outputs", str(tmp_path))
    assert said.returncode == 2 and said.stderr.count("\n") == 1 and not said.stdout
    assert "pip install papermill ipykernel altair vl-convert-python" in said.stderr
    assert not list(tmp_path.iterdir())
