"""Sweeps as a user starts them, their processes, and a comparison with undisturbed ones."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file

from paramalloc.runs import read_json, read_metrics

# By the pool without notebooks, which takes least time.
ALONE = ("--engine", "pool", "--notebooks", "off")
KILLS = int(os.environ.get("PARAMALLOC_KILLS", "60"))  # `make faults` sets it to 200


def start(path: Path, outputs: Path, *more: str) -> subprocess.Popen:
    """The sweep of a file in a process of its own, two cells at a time."""
    code = "from paramalloc.cli import main; raise SystemExit(main())"
    words = ["sweep", str(path), "--outputs", str(outputs), "--jobs", "2", *more]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(path: Path, outputs: Path, *more: str) -> None:
    """Run the sweep of a file to its end, which has to be a good one."""
    sweep = start(path, outputs, *(more or ALONE))
    output, _ = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, output


def family(sweep: subprocess.Popen) -> dict[str, list[psutil.Process]]:
    """The processes of a sweep: of papermill and their kernels, or those of the pool or of Ray."""
    members = {"papermill": [], "kernel": [], "worker": []}
    for process in psutil.Process(sweep.pid).children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if "ipykernel_launcher" in line:
            members["kernel"].append(process)
        elif "papermill_process" in line:
            members["papermill"].append(process)
        elif "pool_worker" in line:
            members["worker"].append(process)
    return members


def outcome(folder: Path) -> tuple[dict, list[dict], dict]:
    """Final weights, metrics without the speed, and what a result says of the training."""
    weights = load_file(folder / "checkpoint" / "final" / "model.safetensors")
    metrics = read_metrics(folder)
    for row in metrics:
        row.pop("tokens_per_s", None)
    result = read_json(folder / "result.json")
    names = ("status", "dev_loss", "test_loss", "steps", "tokens_trained")
    return weights, metrics, {name: result[name] for name in names}


def assert_same_run(one: Path, other: Path) -> None:
    """Two folders of a run hold the same weights, bit for bit, and the same record."""
    weights, *record = outcome(one)
    other_weights, *other_record = outcome(other)
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    assert record == other_record


def assert_same_runs(whole: Path, disturbed: Path) -> None:
    """Every run of `whole` is also in `disturbed`, and the same; there is no other."""
    folders = sorted((whole / "runs").iterdir())
    assert [path.name for path in folders] == sorted(os.listdir(disturbed / "runs"))
    for folder in folders:
        assert_same_run(folder, disturbed / "runs" / folder.name)
