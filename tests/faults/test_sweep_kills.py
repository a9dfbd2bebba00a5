"""A sweep's processes or itself killed at random: nothing trains on unseen, all ends."""

import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import yaml
from processes import ALONE, KILLS, assert_same_runs, family, finish, start

from paramalloc.runs import load_runs

SHARES = [0.2, 0.25, 0.35]
PAPERMILL = ("--engine", "papermill")
VICTIMS = {PAPERMILL: ("kernel", "papermill", "sweep"), ALONE: ("worker", "sweep")}
SWEEP_KILLS = KILLS // 5  # each takes as long as several of a training process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def plan(tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("kills") / "kills.yaml"
    shared = tiny | {"tokens": 300 * 1024, "probes": 5, "checkpoint_seconds": 0.2}
    path.write_text(yaml.safe_dump({"axes": {"embed_share": SHARES}, "parameters": shared}))
    return path


@pytest.fixture(scope="module")
def whole(plan) -> Path:
    """The outputs of the sweep, undisturbed."""
    finish(plan, plan.parent / "whole")
    return plan.parent / "whole"


@pytest.mark.parametrize("engine", list(VICTIMS), ids=lambda words: words[1])
def test_processes_of_a_sweep_killed_at_random(plan, whole, tmp_path, capsys, engine):
    """10 s after a sweep's death none of its processes is left; the weights are the undisturbed."""
    victims = VICTIMS[engine]
    chance = random.Random(1)
    kills = Counter()
    started = time.monotonic()
    rounds = 1
    while kills.total() < SWEEP_KILLS:
        outputs = tmp_path / f"killed-{rounds}"
        victim = victims[kills.total() % len(victims)]
        sweep = start(plan, outputs, *engine)
        time.sleep(chance.uniform(1, 9))
        members = family(sweep) if sweep.poll() is None else {}
        if victim == "sweep" and members:
            processes = [process for group in members.values() for process in group]
            sweep.kill()
            _, left = psutil.wait_procs(processes, timeout=10)
            assert not left, f"{len(left)} processes outlived their sweep"
            kills[victim] += 1
        elif members.get(victim):
            chance.choice(members[victim]).kill()
            kills[victim] += 1
        if victim != "sweep" or not members:
            # A killed cell fails; the sweep goes on with the others and ends.
            sweep.communicate(timeout=400)
        if len(load_runs(outputs)) == len(SHARES):
            # All are through: once more from the beginning.
            assert_same_runs(whole, outputs)
            rounds += 1
    finish(plan, tmp_path / f"killed-{rounds}", *engine)
    assert_same_runs(whole, tmp_path / f"killed-{rounds}")
    with capsys.disabled():
        seconds = time.monotonic() - started
        print(f"\n{dict(kills)} killed in {seconds:.0f} s,")
        print(f"{rounds} sweeps completed and equal to the undisturbed")


def test_two_sweeps_with_common_cells_train_each_run_once(plan, whole, tmp_path):
    """Started together: each run has one beginning and one record, and both sweeps end well."""
    outputs = tmp_path / "both"
    other = tmp_path / "other.yaml"
    content = yaml.safe_load(plan.read_text())
    other.write_text(yaml.safe_dump(content | {"axes": {"embed_share": SHARES[::-1]}}))
    sweeps = [start(path, outputs, *PAPERMILL) for path in (plan, other)]
    texts = [sweep.communicate(timeout=400)[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], texts
    runs = load_runs(outputs)
    assert len(runs) == 3
    assert set(runs.status) == {"completed"}
    assert_same_runs(whole, outputs)
    notebooks = list(outputs.glob("notebooks/kills/*.ipynb"))
    notebooks += outputs.glob("notebooks/other/*.ipynb")
    assert len(notebooks) <= 6
    for config in outputs.glob("runs/*/config.json"):
        assert "resumed" not in config.read_text()
