"""Kernel, papermill or the sweep itself killed at random moments: nothing trains on unseen, and every cell is completed."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import torch
import yaml
from test_kills import outcome

from paramalloc.runs import load_runs

KILLS, SHARES = 33, [0.2, 0.25, 0.35]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def start(path: Path, outputs: Path, *more) -> subprocess.Popen:
    code = "from paramalloc.cli import main; raise SystemExit(main())"
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            code,
            "sweep",
            str(path),
            "--outputs",
            str(outputs),
            "--jobs",
            "2",
            *more,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def family(sweep: subprocess.Popen) -> dict[str, list[psutil.Process]]:
    """The papermill processes and the kernels of a sweep."""
    found = {"papermill": [], "kernel": []}
    for process in psutil.Process(sweep.pid).children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if (
            kind := "kernel"
            if "ipykernel_launcher" in line
            else "papermill"
            if "papermill_process" in line
            else None
        ):
            found[kind].append(process)
    return found


@pytest.fixture
def plan(tiny, tmp_path) -> Path:
    path = tmp_path / "kills.yaml"
    shared = tiny | {"tokens": 300 * 1024, "probes": 5, "checkpoint_seconds": 0.2}
    path.write_text(yaml.safe_dump({"axes": {"embed_share": SHARES}, "parameters": shared}))
    return path


def finish(plan, outputs):
    sweep = start(plan, outputs)
    said, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, said


def test_kernel_papermill_or_sweep_killed_at_random(plan, tmp_path, capsys):
    """33 kills: 10 s after the death of a sweep none of its processes is left; in the end the weights are the undisturbed ones."""
    chance, seen, started, round_ = random.Random(1), Counter(), time.monotonic(), 0
    finish(plan, tmp_path / "whole")
    while sum(seen.values()) < KILLS:
        outputs = tmp_path / f"killed-{round_}"
        sweep, victim = (
            start(plan, outputs),
            ("kernel", "papermill", "sweep")[sum(seen.values()) % 3],
        )
        time.sleep(chance.uniform(1, 9))
        members = family(sweep) if sweep.poll() is None else {}
        if victim == "sweep" and members:
            everyone = [process for kind in members.values() for process in kind]
            sweep.kill()
            _, left = psutil.wait_procs(everyone, timeout=10)
            assert not left, f"{len(left)} processes outlived their sweep"
            seen[victim] += 1
        elif members.get(victim):
            chance.choice(members[victim]).kill()
            seen[victim] += 1
        if victim != "sweep" or not members:
            sweep.communicate(
                timeout=120
            )  # a killed cell fails; the sweep goes on with the others and ends
        if len(load_runs(outputs)) == len(SHARES):  # all are through: once more from the beginning
            same(tmp_path / "whole", outputs)
            round_ += 1
    finish(plan, tmp_path / f"killed-{round_}")
    same(tmp_path / "whole", tmp_path / f"killed-{round_}")
    with capsys.disabled():
        print(
            f"\n{dict(seen)} killed in {time.monotonic() - started:.0f} s, {round_ + 1} sweeps completed and equal to the undisturbed"
        )


def same(whole: Path, killed: Path):
    for folder in sorted((whole / "runs").iterdir()):
        one, other = outcome(folder), outcome(killed / "runs" / folder.name)
        assert (
            all(torch.equal(one[0][name], other[0][name]) for name in one[0])
            and one[1:] == other[1:]
        )


def test_two_sweeps_with_common_cells_train_each_run_once(plan, tmp_path):
    """Started together: each of the three runs has one beginning and one record, and both sweeps end well."""
    outputs, other = tmp_path / "both", tmp_path / "other.yaml"
    content = yaml.safe_load(plan.read_text())
    other.write_text(yaml.safe_dump(content | {"axes": {"embed_share": SHARES[::-1]}}))
    sweeps = [start(path, outputs) for path in (plan, other)]
    said = [sweep.communicate(timeout=300)[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], said
    runs = load_runs(outputs)
    assert len(runs) == 3 and set(runs.status) == {"completed"}
    finish(plan, tmp_path / "whole")
    same(tmp_path / "whole", outputs)
    trained = sum(
        len(list((outputs / "notebooks" / name).glob("*.ipynb"))) for name in ("kills", "other")
    )
    assert trained <= 6 and not any(
        "resumed" in (folder / "config.json").read_text() for folder in (outputs / "runs").iterdir()
    )
