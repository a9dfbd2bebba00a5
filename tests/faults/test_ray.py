"""Cells on a Ray cluster are those of this machine; a lost worker or node costs only time."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
import yaml
from processes import KILLS, assert_same_runs, family, finish, start

from paramalloc.cli import main
from paramalloc.config import ROOT
from paramalloc.runs import load_runs

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

SHARES = [0.2, 0.25, 0.35]
ON_RAY = ("--engine", "ray", "--notebooks", "off")
RAY_KILLS = max(4, KILLS // 15)
PORT = "6399"


@pytest.fixture(scope="module")
def plan(tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ray") / "kills.yaml"
    shared = tiny | {"tokens": 300 * 1024, "probes": 5, "checkpoint_seconds": 0.2}
    path.write_text(yaml.safe_dump({"axes": {"embed_share": SHARES}, "parameters": shared}))
    return path


@pytest.fixture(scope="module")
def whole(plan):
    """The outputs of the sweep on this machine, undisturbed."""
    finish(plan, plan.parent / "whole")
    return plan.parent / "whole"


def dates(outputs: Path) -> dict[Path, int]:
    """When each JSON file of the runs was last written."""
    return {path: path.stat().st_mtime_ns for path in outputs.glob("runs/**/*.json")}


def test_a_sweep_on_ray_is_the_sweep_of_this_machine(plan, whole, tmp_path):
    """A cluster that the command starts: the same weights; a second time nothing is trained."""
    outputs = tmp_path / "o"
    finish(plan, outputs, *ON_RAY)
    assert_same_runs(whole, outputs)
    before = dates(outputs)
    finish(plan, outputs, *ON_RAY)
    assert dates(outputs) == before


@pytest.mark.timeout(1800)
def test_actors_and_their_processes_killed_at_random(plan, whole, tmp_path, capsys):
    """Their runs go on with whoever is free, and are the undisturbed; the sweep ends well.

    Two a sweep: with the third a run that comes no further may fail.
    """
    chance = random.Random(2)
    kills = Counter()
    started = time.monotonic()
    sweeps = 0
    while kills.total() < RAY_KILLS:
        sweeps += 1
        outputs = tmp_path / f"killed-{sweeps}"
        sweep = start(plan, outputs, *ON_RAY)
        for victim in ("actor", "worker"):
            kills[victim] += kill_one(chance, sweep, victim)
        output, _ = sweep.communicate(timeout=400)
        assert sweep.returncode == 0, output
        assert_same_runs(whole, outputs)
    with capsys.disabled():
        seconds = time.monotonic() - started
        print(f"\n{dict(kills)} of Ray killed in {seconds:.0f} s,")
        print(f"{sweeps} sweeps completed and equal to the undisturbed")


def kill_one(chance, sweep, victim: str) -> int:
    """Kill an actor that trains, and its process dies with it; or that process. How many it was."""
    wait_for(lambda: sweep.poll() is not None or family(sweep)["worker"])
    time.sleep(chance.uniform(0, 9))
    workers = family(sweep)["worker"] if sweep.poll() is None else []
    if not workers:
        return 0
    worker = chance.choice(workers)
    (worker.parent() if victim == "actor" else worker).kill()
    _, left = psutil.wait_procs([worker], timeout=10)
    assert not left, "a process outlived its actor"
    return 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_on_ray_saves_its_runs_and_leaves_no_process(plan, tmp_path, number):
    """Only the interrupt saves a run here, and as quickly as on one machine."""
    content = yaml.safe_load(plan.read_text())
    content["parameters"]["checkpoint_seconds"] = 3600
    (tmp_path / "kills.yaml").write_text(yaml.safe_dump(content))
    sweep = start(tmp_path / "kills.yaml", tmp_path / "o", *ON_RAY)
    wait_for(lambda: any(path.stat().st_size for path in tmp_path.glob("o/runs/*/metrics.jsonl")))
    everyone = psutil.Process(sweep.pid).children(recursive=True)
    sweep.send_signal(number)
    assert sweep.wait(60) == 130
    assert list(tmp_path.glob("o/runs/*/checkpoint/step-*"))
    _, left = psutil.wait_procs(everyone, timeout=10)
    left = [process for process in left if process.is_running()]
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in left)


def test_when_a_sweep_on_ray_is_killed_nothing_trains_on(plan, whole, tmp_path):
    """Its actors and their processes end within 10 s, and the same command goes on."""
    sweep = start(plan, tmp_path / "o", *ON_RAY)
    wait_for(lambda: list(tmp_path.glob("o/runs/*/checkpoint/step-*")))
    workers = family(sweep)["worker"]
    sweep.kill()
    _, left = psutil.wait_procs(workers, timeout=10)
    assert workers and not left
    finish(plan, tmp_path / "o", *ON_RAY)
    assert_same_runs(whole, tmp_path / "o")


def wait_for(condition, seconds: float = 120):
    """Wait until a condition holds, but no longer than so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.5)


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["--gpus-per-cell", "64"],
            "no node of the cluster can ever hold a cell of 1 CPU and 64 GPU",
        ),
        (["--address", "127.0.0.1:1"], "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_what_no_node_can_hold_is_refused_at_once(plan, tmp_path, capsys, words, message):
    """More GPUs than any node has, or no cluster: one line each, and nothing is made."""
    outputs = tmp_path / "o"
    assert main(["sweep", str(plan), "--outputs", str(outputs), "--engine", "ray", *words]) == 2
    assert message in capsys.readouterr().err
    assert not outputs.exists()


def test_without_ray_it_says_what_to_install(plan, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["sweep", str(plan), "--outputs", str(tmp_path / "o"), "--engine", "ray"]) == 2
    assert "pip install 'paramalloc[ray]'" in capsys.readouterr().err


# ---- two nodes

CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "PARAMALLOC_LEASE_SILENCE": "5",
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
}


def run(*words, **options) -> str:
    """What a command prints; CalledProcessError if it fails."""
    done = subprocess.run(words, check=True, capture_output=True, text=True, **options)
    return done.stdout


def inside(host: str, *words: str) -> list[str]:
    """A command as one that sees only a host's network."""
    return ["ip", "netns", "exec", host, *words]


def pids(host: str) -> list[str]:
    return run("ip", "netns", "pids", host).split()


def trains(host: str) -> bool:
    """Whether an actor of a host holds a process."""
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids(host)]
    return any("pool_worker" in line for line in lines)


def kill_all(host: str):
    for pid in pids(host):
        subprocess.run(["kill", "-9", pid], check=False)


@pytest.fixture
def two_hosts():
    """Two network namespaces, 10.77.0.1 and .2, joined by a cable; skipped without the rights."""
    hosts = ["paramalloc-a", "paramalloc-b"]
    try:
        make_network(*hosts)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs the right to make network namespaces ({error})")
    yield hosts
    for host in hosts:
        kill_all(host)
        subprocess.run(["ip", "netns", "del", host], check=False)


def make_network(one: str, other: str):
    for host in (one, other):
        subprocess.run(["ip", "netns", "del", host], capture_output=True, check=False)
        run("ip", "netns", "add", host)
    cable = ["type", "veth", "peer", "name", "pm-b", "netns", other]
    run("ip", "link", "add", "pm-a", "netns", one, *cable)
    for number, (host, card) in enumerate({one: "pm-a", other: "pm-b"}.items(), 1):
        run("ip", "-n", host, "addr", "add", f"10.77.0.{number}/24", "dev", card)
        run("ip", "-n", host, "link", "set", card, "up")
        run("ip", "-n", host, "link", "set", "lo", "up")


@pytest.fixture
def short_folder():
    """Ray's sockets lie in it, whose paths may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pm", ignore_cleanup_errors=True) as folder:
        yield folder


def start_node(host: str, number: int, folder: str, *words: str):
    """A Ray node of one core on a host."""
    ray_command = str(Path(sys.executable).with_name("ray"))
    place = ["--node-ip-address", f"10.77.0.{number}", "--temp-dir", f"{folder}/{number}"]
    command = inside(host, ray_command, "start", "--num-cpus", "1", *place, *words)
    run(*command, env=os.environ | CLUSTER)


def test_a_node_that_is_lost_costs_its_cells_alone_time(
    two_hosts, plan, whole, tmp_path, short_folder
):
    """Two nodes with a network each share a sweep; one is killed; it ends complete and equal."""
    first, second = two_hosts
    start_node(first, 1, short_folder, "--head", "--port", PORT, "--include-dashboard", "false")
    start_node(second, 2, short_folder, "--address", f"10.77.0.1:{PORT}")
    code = "from paramalloc.cli import main; raise SystemExit(main())"
    words = ["sweep", str(plan), "--outputs", str(tmp_path / "o"), *ON_RAY]
    sweep = subprocess.Popen(
        inside(first, sys.executable, "-c", code, *words, "--address", f"10.77.0.1:{PORT}"),
        cwd=ROOT,
        env=os.environ | CLUSTER,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: trains(first) and trains(second), 200)
    assert trains(first) and trains(second), "both nodes should train"
    time.sleep(4)
    kill_all(second)
    output, _ = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, output
    assert set(load_runs(tmp_path / "o").status) == {"completed"}
    assert_same_runs(whole, tmp_path / "o")
