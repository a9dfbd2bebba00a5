"""Long-lived processes train the runs of a sweep as papermill does, each shape in one of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest
import yaml
from safetensors.numpy import load_file

from paramalloc.cli import main
from paramalloc.config import ROOT
from paramalloc.data import prepare
from paramalloc.runs import MEASURED, Run, load_runs, read_json, read_metrics
from paramalloc.sweep import Deadline, Pool, execute_sweep, load_sweep, status_table
from paramalloc.sweep.execution import plan_execution
from paramalloc.sweep.schedule import Schedule
from paramalloc.sweep.worker import OUT_OF_MEMORY

SHARES = [0.35, 0.3]
TIMED = {"created", "tokens_per_s", "wall_s", "outside_steps_share", "peak_memory_bytes", "beside"}


def write_sweep(path, axes, parameters):
    path.write_text(yaml.safe_dump({"axes": axes, "parameters": parameters}))
    return path


@pytest.fixture(scope="module")
def plan(tiny, tmp_path_factory):
    """Two shapes with two seeds each."""
    shared = tiny | {"tokens": 8192, "probes": 2, "seed": [0, 1]}
    path = tmp_path_factory.mktemp("pool") / "two.yaml"
    return write_sweep(path, {"embed_share": SHARES}, shared)


@pytest.fixture(scope="module")
def both(plan):
    """The outputs of the sweep by the pool, and by papermill."""
    for engine in ("pool", "papermill"):
        assert main(sweep_words(plan, plan.parent / engine, "--engine", engine)) == 0
    return plan.parent / "pool", plan.parent / "papermill"


def sweep_words(plan, outputs, *more):
    return ["sweep", str(plan), "--outputs", str(outputs), "--jobs", "2", *more]


# ---- what is trained


def test_the_pool_trains_what_papermill_trains(both):
    """Weights, records, results and configs are equal to the last bit, but for what is timed.

    Afterwards there is an executed notebook for each cell, as papermill leaves one.
    """
    pool, papermill = both
    folders = sorted((papermill / "runs").iterdir())
    assert len(folders) == 4
    for folder in folders:
        assert record(pool / "runs" / folder.name) == record(folder)
    notebooks = {path.name for path in (papermill / "notebooks" / "two").iterdir()}
    assert notebooks == {path.name for path in (pool / "notebooks" / "two").iterdir()}
    assert len(notebooks) == len(SHARES)


def record(folder) -> list:
    """All that a run leaves but for times, and for the folder where it lies."""
    weights = load_file(folder / "checkpoint" / "final" / "model.safetensors")
    metrics = [row | {"tokens_per_s": None} for row in read_metrics(folder)]
    result = read_json(folder / "result.json")
    config = read_json(folder / "config.json")
    timed = TIMED | {name for name in MEASURED if "_ms" in name or "_per_s" in name}
    for values in (result, config):
        for name in timed:
            values.pop(name, None)
    config["parameters"].pop("outputs")
    return [{name: array.tobytes() for name, array in weights.items()}, metrics, result, config]


def test_one_process_trains_many_runs(plan, tmp_path, monkeypatch):
    """With one job all runs are trained by one process, and it ends with the sweep."""
    sweep = load_sweep(str(plan), outputs=str(tmp_path)).by_run()
    pool = Pool(1, sweep.cells)
    pids = set()
    look = pool.workers[0].outcome

    def outcome():
        pids.add(pool.workers[0].process.pid)
        return look()

    monkeypatch.setattr(pool.workers[0], "outcome", outcome)
    assert execute_sweep(sweep, pool) == {}
    pool.close()
    assert len(pids) == 1 and len(load_runs(tmp_path)) == 4
    assert not psutil.pid_exists(pids.pop())


@pytest.fixture
def one_run(tiny, tmp_path):
    """A sweep of one run that saves its state every twentieth of a second."""
    shared = tiny | {"tokens": 150 * 1024, "checkpoint_seconds": 0.05}
    path = write_sweep(tmp_path / "one.yaml", {"embed_share": [0.35]}, shared)
    return load_sweep(str(path), outputs=str(tmp_path)).by_run()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lost_process_is_replaced_and_its_run_goes_on(one_run, tmp_path, number):
    """The run ends as if nothing had happened, and says nowhere that it failed."""
    pool = Pool(1, one_run.cells)
    killed = []

    def look_and_kill(look=pool.workers[0].outcome):
        if not killed and list(tmp_path.glob("runs/*/checkpoint/step-*")):
            killed.append(pool.workers[0].process.pid)
            os.kill(killed[0], number)
        return look()

    pool.workers[0].outcome = look_and_kill
    assert execute_sweep(one_run, pool) == {}
    pool.close()
    folder = next((tmp_path / "runs").iterdir())
    assert killed and pool.workers[0].process.pid != killed[0]
    assert read_json(folder / "result.json")["status"] == "completed"
    assert "resumed" in read_json(folder / "config.json")
    assert not list(tmp_path.glob("notebooks/one/*.log"))


def test_a_process_that_dies_at_its_start_fails_its_run(one_run, tmp_path):
    """After three of them the cell fails; the log says why they died."""
    pool = Pool(1, one_run.cells)
    pool.workers[0].environment = {"PYTHONHOME": "nowhere"}
    failures = execute_sweep(one_run, pool)
    pool.close()
    reason = failures["embed_share-0.35"]
    assert "the process that trained it was lost (exit status 1)" in reason
    log = next(tmp_path.glob("notebooks/one/*.log")).read_text()
    assert log.count("was lost") == 3
    assert log.count("No module named 'encodings'") == 3


def test_an_interrupt_while_a_run_begins_saves_it(one_run, tmp_path, monkeypatch):
    """Ctrl-C before the schedule knows the job: the process saves its run before it ends."""
    pool = Pool(1, one_run.cells)
    begin = pool.start

    def start(task, waiting):
        begin(task, waiting)
        while not list(tmp_path.glob("runs/*/metrics.jsonl")):
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "start", start)
    with pytest.raises(KeyboardInterrupt):
        execute_sweep(one_run, pool)
    pool.close()
    assert pool.workers[0].process.returncode == 0  # it was not killed
    assert list(tmp_path.glob("runs/*/checkpoint/step-*"))


def test_a_process_says_that_memory_ran_out(tiny, tmp_path):
    """It answers so, and leaves: a run may fit into a fresh process."""
    code = """
import sys
from paramalloc.errors import OutOfMemoryError
from paramalloc.sweep import pool_worker

def train(*_):
    raise OutOfMemoryError("out of memory with batch_tokens 1024")

pool_worker.train = train
with open(sys.argv[1], "w") as answers:
    pool_worker.execute_jobs(2 * [sys.argv[2]], answers)
"""
    config = tiny | {"outputs": str(tmp_path)}
    job = json.dumps({"config": config, "output": str(tmp_path / "log")})
    words = [sys.executable, "-c", code, str(tmp_path / "answers"), job]
    subprocess.run(words, cwd=ROOT, check=True)
    assert (tmp_path / "answers").read_text() == f"{OUT_OF_MEMORY}\n"
    said = (tmp_path / "log").read_text()
    assert said.endswith("OutOfMemoryError: out of memory with batch_tokens 1024\n")


def test_a_cell_that_cannot_be_trained_does_not_stop_the_others(tiny, tmp_path, capsys):
    """It fails with its reason; without notebooks there are none."""
    shared = tiny | {"tokens": 4096, "probes": 2}
    path = write_sweep(tmp_path / "x.yaml", {"embed_share": [0.35, 0.97]}, shared)
    words = ["sweep", str(path), "--outputs", str(tmp_path / "o"), "--notebooks", "off"]
    assert main(words) == 1
    assert "nearest embed_share that fits" in capsys.readouterr().err
    assert list(load_runs(tmp_path / "o").status) == ["completed"]
    assert not (tmp_path / "o" / "notebooks" / "x" / "embed_share-0.35.ipynb").exists()


def test_the_status_of_a_failed_run_names_its_own_reason(plan, tmp_path):
    """The log of one seed says nothing of the other."""
    sweep = load_sweep(str(plan), outputs=str(tmp_path))
    corpus = prepare(sweep.config.dataset, sweep.config.vocab_size, tmp_path)
    cell = sweep.by_run().cells[1]
    run = Run(cell.config, corpus.fingerprint)
    log = sweep.log(cell, [run])
    log.parent.mkdir(parents=True)
    log.write_text("OutOfMemoryError: out of memory with batch_tokens 1024\n")
    states = status_table(tmp_path, sweep).set_index("run").state
    assert states[run.id] == "failed (memory)"
    assert Counter(states) == {"missing": 3, "failed (memory)": 1}


# ---- what each process gets


def test_each_process_has_its_part_of_the_cores_and_one_gpu(monkeypatch):
    """Four processes on two GPUs: the visible ones in turn."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    pool = Pool(4, [], gpus=2)
    given = [worker.environment for worker in pool.workers]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in given] == ["3", "5", "3", "5"]
    assert {environment["OMP_NUM_THREADS"] for environment in given} == {
        str(max(1, (os.cpu_count() or 1) // 4))
    }


# ---- notebooks


def test_a_notebook_is_executed_again_only_when_its_run_is_newer(plan, both, capsys):
    """The second time nothing is done; one that is older than its runs is made again."""
    words = sweep_words(plan, both[0])
    folder = both[0] / "notebooks" / "two"
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 2
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    cells = [json.loads(path.read_text())["metadata"]["papermill"] for path in before]
    assert all(cell["exception"] is None for cell in cells)
    stale = next(iter(before))
    os.utime(stale, (time.time() - 10**6,) * 2)
    capsys.readouterr()
    assert main(words) == 0
    assert capsys.readouterr().out.count(".ipynb") == 1


# ---- in which order


@pytest.fixture(scope="module")
def study():
    """The grid of the study with three seeds."""
    return load_sweep("grid", profile="study", seed="0,1,2", early_stop="flag").by_run()


def test_seeds_come_outermost_and_shallow_shapes_first(study):
    """A sweep that is cut off anywhere has whole seeds but for the last."""
    runs = [(cell.config.seed, cell.title) for cell in study.cells]
    assert [seed for seed, _ in runs] == sorted(seed for seed, _ in runs)
    assert len(set(runs)) == 36
    titles = [title.split(",")[0] for seed, title in runs if seed == 0]
    assert titles[0] == "embed_share-0.45_glu-4.0" and titles[-1] == "embed_share-0.25_glu-2.0"


def test_the_baseline_of_kill_comes_first():
    """The others compare with its curve."""
    sweep = load_sweep("grid", profile="study", seed="0,1", early_stop="kill").by_run()
    firsts = [sweep.cells[0].config, sweep.cells[12].config]
    assert [(config.seed, config.embed_share, config.glu) for config in firsts] == [
        (0, 0.35, 2.66),
        (1, 0.35, 2.66),
    ]


class Instant:
    """An engine without room limits, whose executions never end: what begins at once?"""

    jobs = 100

    def ready(self, waiting):
        return waiting


def test_under_kill_a_run_begins_after_its_baseline(tiny, tmp_path):
    """However many processes are idle, and also where the deadline leaves the baseline out."""
    shared = tiny | {"early_stop": "kill", "seed": [0, 1]}
    path = write_sweep(tmp_path / "k.yaml", {"embed_share": [0.35, 0.3, 0.25]}, shared)
    sweep = load_sweep(str(path), outputs=str(tmp_path)).by_run()
    schedule = Schedule(sweep, Instant(), list(enumerate(sweep.cells, 1)), Deadline())
    baselines = [cell for cell in sweep.cells if cell.config.embed_share == 0.35]
    assert len(baselines) == 2
    schedule.waiting = [numbered for numbered in schedule.waiting if numbered[1] not in baselines]
    others = list(schedule.waiting)
    first = next(numbered for numbered in enumerate(sweep.cells, 1) if numbered[1] == baselines[0])
    schedule.waiting = [*others, first]
    begun = schedule.next_execution()
    assert begun.cell.config.seed == 1 or begun.cell == baselines[0]
    schedule.waiting = others
    schedule.deadline.refused = [(plan_execution(sweep, *first), 1.0)]
    seeds = {numbered[1].config.seed for numbered in others if not blocked(schedule, numbered)}
    assert seeds == {1}


def blocked(schedule, numbered):
    waiting = schedule.waiting
    schedule.waiting = [numbered]
    try:
        return schedule.next_execution() is None
    finally:
        schedule.waiting = waiting
