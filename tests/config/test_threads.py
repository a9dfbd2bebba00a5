"""Threads of torch sleep while they wait, in every process, and are no more than the cores."""

import os
import subprocess
import sys
from math import inf

import nbformat
import pytest
import torch

from paramalloc.config import ROOT, cores, overload, process_environment, threads
from paramalloc.config.threads import WAITING, core_quota
from paramalloc.model import device
from paramalloc.sweep import Cell, Papermill
from paramalloc.sweep.engines import Task

# GNU's runtime, which torch's wheels bring on Linux, prints its settings when it is loaded.
PRINTED = {"OMP_DISPLAY_ENV": "VERBOSE"}
gnu_runtime = pytest.mark.skipif(sys.platform != "linux", reason="the runtime prints otherwise")

PROGRAMS = {
    "script": ["-c", "import paramalloc.training, paramalloc.model as m; m.pick_device('cpu')"],
    "probe": ["-m", "paramalloc.sweep.probe"],
    "pool": ["-m", "paramalloc.sweep.pool_worker", str(os.getpid())],
    "evaluate": ["-m", "paramalloc", "evaluate", "no-such-run"],
}


def standard_error(arguments: list[str], **variables) -> str:
    """What a Python process says where only these variables are set about threads."""
    kept = {
        name: os.environ[name] for name in os.environ if name not in (*WAITING, threads.THREADS)
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=kept | variables,
        input="",  # no work: all of them import torch before they read it
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def spin_count(text: str) -> int:
    """How often threads look for work before they sleep, as the runtime printed it, once."""
    [line] = {line for line in text.splitlines() if "GOMP_SPINCOUNT" in line}
    return int(line.split("'")[1])


@gnu_runtime
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_threads_of_every_program_sleep_while_they_wait(program):
    """The runtime itself says so, once torch has loaded it; we say nothing of threads then."""
    said = standard_error(PROGRAMS[program], **PRINTED)
    assert spin_count(said) == 1000
    assert "threads" not in said


@gnu_runtime
def test_the_threads_of_a_notebook_sleep_while_they_wait(tmp_path, monkeypatch):
    """In the kernel of the train notebook, as an engine starts it, torch included."""
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")
    notebook = nbformat.read(ROOT / "notebooks" / "train.ipynb", nbformat.NO_CONVERT)
    imports = [
        line
        for cell in notebook.cells
        for line in cell.source.splitlines()
        if cell.cell_type == "code" and line.startswith(("import ", "from "))
    ]
    notebook.cells = [nbformat.v4.new_code_cell("\n".join(imports))]
    nbformat.write(notebook, tmp_path / "imports.ipynb")
    output = tmp_path / "output.txt"
    cell = Cell("imports", {}, None)
    task = Task(cell, tmp_path / "imports.ipynb", tmp_path / "done.ipynb", output)
    process = Papermill().start(task, [])
    process.wait(120)
    executed = (tmp_path / "done.ipynb").read_text()
    assert spin_count(output.read_text() + executed) == 1000


@gnu_runtime
def test_what_the_user_set_goes_before():
    """Whichever variable it is; also for the processes that this one starts."""
    asked = {"GOMP_SPINCOUNT": "77", **PRINTED}
    assert spin_count(standard_error(PROGRAMS["script"], **asked)) == 77


@pytest.mark.parametrize("name", [*WAITING, "OMP_NUM_THREADS"])
def test_a_process_is_given_what_the_user_set(name, monkeypatch):
    """The number of threads that a sweep would choose, too."""
    monkeypatch.setenv(name, "7")
    assert process_environment(2)[name] == "7"
    monkeypatch.delenv(name)
    assert process_environment(2).get(name) == {"OMP_NUM_THREADS": "2"}.get(name)


def test_what_makes_training_slow_is_said():
    """Torch that was imported first, which is too late, and more threads than there are cores."""
    code = "import torch, paramalloc.model; [paramalloc.model.pick_device('cpu') for _ in '12']"
    said = standard_error(["-c", code], OMP_NUM_THREADS="999").splitlines()
    assert len(said) == 2
    assert f"999 threads are asked for, but this process has {cores()} cores" in said[0]
    assert "torch was imported before paramalloc" in said[1]


def test_more_cells_at_a_time_than_cores_are_said(monkeypatch):
    """With the threads that each would have; as many as there are cores are no matter."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cores", lambda: 4)
    assert [overload(jobs) for jobs in (1, 2, 3, 4)] == [""] * 4
    assert overload(5).startswith("5 threads are asked for, but this process has 4 cores")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert overload(2).startswith("6 threads are asked for")


# ---- cores

GROUPS = {
    # version 2: the tightest of all levels above the process
    "0::/jobs/mine": {"jobs/mine/cpu.max": "300000 100000", "jobs/cpu.max": "150000 100000"},
    # version 2 in a container, where the path is the host's
    "0::/../host": {"cpu.max": "250000 100000"},
    # version 1, and another controller's quota
    "4:cpu,cpuacct:/job\n3:memory:/": {
        "cpu/job/cpu.cfs_quota_us": "50000",
        "cpu/job/cpu.cfs_period_us": "100000",
        "memory/cpu.cfs_quota_us": "1000",
        "memory/cpu.cfs_period_us": "100000",
    },
    "0::/free": {"free/cpu.max": "max 100000"},
    "1:cpu:/": {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
}


@pytest.mark.parametrize("own, quota", [*zip(GROUPS, [1.5, 2.5, 0.5, inf, inf], strict=True)])
def test_the_quota_of_control_groups_is_read(own, quota, tmp_path):
    """As Linux writes it, in either version."""
    for name, text in GROUPS[own].items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    (tmp_path / "own").write_text(f"{own}\n")
    assert core_quota(tmp_path / "groups", tmp_path / "own") == quota


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    """As macOS and Windows."""
    assert core_quota(tmp_path, tmp_path / "none") == inf


def test_a_quota_limits_the_threads_of_torch(monkeypatch, capsys):
    """They become as many as the cores that it leaves, at least one, and that is said."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "core_quota", lambda: 0.5)
    torch.set_num_threads(3)
    try:
        device._share_cores.__wrapped__()
        assert torch.get_num_threads() == cores() == 1
        assert "1 threads are used" in capsys.readouterr().err
    finally:
        torch.set_num_threads(before)
