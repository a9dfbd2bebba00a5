"""Cells on a Ray cluster are the cells of this machine, and the loss of a worker or a node costs time alone."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import yaml

sys.path.insert(0, os.path.dirname(__file__))
from test_sweep_kills import SHARES, family, finish, same, start

from paramalloc.cli import main
from paramalloc.config import ROOT
from paramalloc.runs import load_runs

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plan(tiny, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ray") / "kills.yaml"
    shared = tiny | {"tokens": 600 * 1024, "probes": 5, "checkpoint_seconds": 0.2}
    path.write_text(yaml.safe_dump({"axes": {"embed_share": SHARES}, "parameters": shared}))
    return path


@pytest.fixture(scope="module")
def whole(plan):
    """The outputs of the sweep on this machine, undisturbed."""
    finish(plan, plan.parent / "whole")
    return plan.parent / "whole"


def test_a_sweep_on_ray_is_the_sweep_of_this_machine(plan, whole, tmp_path):
    """A cluster that the command starts: the same runs, weight for weight; a second time nothing is trained."""
    sweep = start(plan, tmp_path / "o", "--engine", "ray")
    said, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, said
    same(whole, tmp_path / "o")
    dates = {path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "runs").rglob("*.json")}
    again = start(plan, tmp_path / "o", "--engine", "ray")
    assert again.wait(120) == 0 and dates == {
        path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "runs").rglob("*.json")
    }


def test_a_worker_that_is_killed_is_tried_again(plan, whole, tmp_path):
    """The papermill of a killed worker dies with it; the cell goes on from its checkpoint and the sweep ends well."""
    sweep, killed = start(plan, tmp_path / "o", "--engine", "ray"), 0
    deadline = time.monotonic() + 200
    while killed < 3 and sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(6)
        if papermills := family(sweep)["papermill"]:
            worker = papermills[0].parent()
            worker.kill()
            _, left = psutil.wait_procs(papermills[:1], timeout=10)
            assert not left
            killed += 1
    said, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0 and killed >= 1, said
    same(whole, tmp_path / "o")


def test_an_interrupted_sweep_on_ray_leaves_no_process(plan, tmp_path):
    sweep = start(plan, tmp_path / "o", "--engine", "ray")
    deadline = time.monotonic() + 120
    while (
        not list((tmp_path / "o" / "runs").glob("*/metrics.jsonl")) and time.monotonic() < deadline
    ):
        time.sleep(0.5)
    everyone = psutil.Process(sweep.pid).children(recursive=True)
    sweep.send_signal(subprocess.signal.SIGINT)
    assert sweep.wait(60) == 130
    _, left = psutil.wait_procs(everyone, timeout=10)
    assert not [
        process
        for process in left
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_what_no_node_can_hold_is_refused_at_once(plan, tmp_path, capsys):
    """More GPUs than any node has, a cluster that is not there, and no Ray: one line each, and nothing is made."""
    assert (
        main(
            [
                "sweep",
                str(plan),
                "--outputs",
                str(tmp_path / "o"),
                "--engine",
                "ray",
                "--gpus-per-cell",
                "64",
            ]
        )
        == 2
    )
    assert (
        "no node of the cluster can ever hold a cell of 1 CPU and 64 GPU" in capsys.readouterr().err
    )
    assert (
        main(
            [
                "sweep",
                str(plan),
                "--outputs",
                str(tmp_path / "o"),
                "--engine",
                "ray",
                "--address",
                "127.0.0.1:1",
            ]
        )
        == 2
    )
    assert (
        "no Ray cluster at 127.0.0.1:1" in capsys.readouterr().err and not (tmp_path / "o").exists()
    )


def test_without_ray_it_says_what_to_install(plan, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["sweep", str(plan), "--outputs", str(tmp_path / "o"), "--engine", "ray"]) == 2
    assert "pip install 'paramalloc[ray]'" in capsys.readouterr().err


# ---- two nodes


def sh(*words, **options):
    return subprocess.run(words, check=True, capture_output=True, text=True, **options)


@pytest.fixture
def two_hosts():
    """Two network namespaces, 10.77.0.1 and 10.77.0.2, joined by a cable; skipped where the rights are missing."""
    names = ["paramalloc-a", "paramalloc-b"]
    try:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            sh("ip", "netns", "add", name)
        sh(
            "ip",
            "link",
            "add",
            "pm-a",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "pm-b",
            "netns",
            names[1],
        )
        for number, (name, card) in enumerate(zip(names, ("pm-a", "pm-b")), 1):
            for words in (
                ["addr", "add", f"10.77.0.{number}/24", "dev", card],
                ["link", "set", card, "up"],
                ["link", "set", "lo", "up"],
            ):
                sh("ip", "-n", name, *words)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs the right to make network namespaces ({error})")
    yield names
    for name in names:
        for pid in subprocess.run(
            ["ip", "netns", "pids", name], capture_output=True, text=True
        ).stdout.split():
            subprocess.run(["kill", "-9", pid])
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def short_folder():
    """Ray's sockets lie in it, whose paths may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="pm", ignore_cleanup_errors=True) as folder:
        yield folder


def test_a_node_that_is_lost_costs_its_cells_alone_time(
    two_hosts, plan, whole, tmp_path, short_folder
):
    """Two Ray nodes, each in a network of its own, share a sweep; one is killed midway; the sweep ends complete and equal."""
    quiet = os.environ | {
        "RAY_USAGE_STATS_ENABLED": "0",
        "PARAMALLOC_LEASE_SILENCE": "5",
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    }
    at = lambda name, *words: ["ip", "netns", "exec", name, *words]
    script = str(Path(sys.executable).with_name("ray"))
    for name, number, words in (
        (two_hosts[0], 1, ["--head", "--port", "6399", "--include-dashboard", "false"]),
        (two_hosts[1], 2, ["--address", "10.77.0.1:6399"]),
    ):
        sh(
            *at(
                name,
                script,
                "start",
                "--node-ip-address",
                f"10.77.0.{number}",
                "--num-cpus",
                "1",
                "--temp-dir",
                f"{short_folder}/{number}",
                *words,
            ),
            env=quiet,
        )
    code = "from paramalloc.cli import main; raise SystemExit(main())"
    sweep = subprocess.Popen(
        at(
            two_hosts[0],
            sys.executable,
            "-c",
            code,
            "sweep",
            str(plan),
            "--outputs",
            str(tmp_path / "o"),
            "--engine",
            "ray",
            "--address",
            "10.77.0.1:6399",
        ),
        cwd=ROOT,
        env=quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    pids = lambda name: sh("ip", "netns", "pids", name).stdout.split()
    kernels = lambda name: [
        pid
        for pid in pids(name)
        if "ipykernel_launcher" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    deadline = time.monotonic() + 200
    while not (kernels(two_hosts[0]) and kernels(two_hosts[1])) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert kernels(two_hosts[0]) and kernels(two_hosts[1]), "both nodes should train"
    time.sleep(4)
    for pid in pids(two_hosts[1]):
        subprocess.run(["kill", "-9", pid])
    said, _ = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, said
    assert set(load_runs(tmp_path / "o").status) == {"completed"}
    same(whole, tmp_path / "o")
