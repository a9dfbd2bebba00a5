"""What is published in outputs/reference can be made again: tables and figures from its results.csv, a run from its row there."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from paramalloc.cli import main
from paramalloc.config import ROOT
from paramalloc.runs import read_json, read_results

PUBLISHED = sorted(path.parent for path in (ROOT / "outputs" / "reference").rglob("RESULTS.md"))


def told(results) -> str:
    """RESULTS.md without its provenance, which names this commit and these versions."""
    return results.read_text(encoding="utf-8").split("## Provenance")[0]


def test_something_is_published():
    assert PUBLISHED


@pytest.mark.slow
@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_report_is_its_table(folder, tmp_path):
    """`paramalloc report results.csv` writes every table, sentence and figure again, byte for byte, and the same rows."""
    assert main(["report", str(folder / "results.csv"), "--name", "again", "--outputs", str(tmp_path)]) == 0
    again = tmp_path / "reports" / "again"
    assert told(again / "RESULTS.md") == told(folder / "RESULTS.md")
    figures = {file.name: file.read_bytes() for file in (folder / "figures").iterdir()}
    assert {file.name: file.read_bytes() for file in (again / "figures").iterdir()} == figures and figures
    assert (again / "results.csv").read_bytes() == (folder / "results.csv").read_bytes()


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_published_folder_names_no_machine(folder):
    """No absolute path of who ran it, in text, table or figure; all of it is small enough for a repository."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    texts = [file.read_text(encoding="utf-8") for file in files if file.suffix in (".md", ".csv", ".svg", ".html")]
    assert not [text for text in texts if any(path in text for path in ("/home/", "/tmp/", f"{ROOT.parent}/"))]
    assert sum(file.stat().st_size for file in files) < 8e6


def parameters(run: pd.Series) -> dict:
    """What papermill is told to train a published run of the reference profile again: its row, and nothing else."""
    names = {"embed_share": "requested_share", "glu": "requested_glu"} | {name: name for name in ("profile", "dataset", "tokens", "lr", "embed_lr", "seed")}
    return {name: run[column] for name, column in names.items()}


def of_the_studys_kind() -> bool:
    """Whether this CPU multiplies as the study's did: bfloat16 by AVX-512, no AMX."""
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text().split() if cpu.exists() else []
    return "avx512_bf16" in flags and "amx_tile" not in flags


@pytest.mark.slow
def test_a_published_run_trains_again(shared_data, tmp_path):
    """A run from its row alone: the same id, and on a CPU of the study's kind the same losses bit for bit, on another within 0.02 nats.
    It is the one of the fewest operations; RUN=<run_id> names another."""
    runs = read_results(ROOT / "outputs" / "reference" / "results.csv")
    runs = runs[(runs.status == "completed") & (runs.profile == "reference") & (runs.embedding == "tied")].sort_values("train_flops").set_index("run_id")
    run = runs.loc[os.environ.get("RUN", runs.index[0])]
    given = parameters(run) | {"smallbench": "off", "early_stop": "off", "outputs": tmp_path}
    words = [str(word) for name, value in given.items() for word in ("-p", name, value)]
    subprocess.run([sys.executable, "-m", "papermill", "notebooks/train.ipynb", str(tmp_path / "again.ipynb"), *words], cwd=ROOT, check=True,
                   env=os.environ | {"OMP_NUM_THREADS": f"{run.threads:.0f}", "PYTHONPATH": str(ROOT)})
    again = read_json(tmp_path / "runs" / run.name / "result.json")
    near = 0 if of_the_studys_kind() else 0.02
    assert [again[name] for name in ("dev_loss", "test_loss")] == pytest.approx([run.dev_loss, run.test_loss], abs=near, rel=0)
