"""Where the cells of a sweep are executed: in processes of this machine, or in tasks on a Ray cluster.

An engine's `start` gives something with poll() (the exit status, or None), interrupt(), wait(seconds) and kill().
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..config import ROOT
from ..errors import UserError

# `python -m papermill`, but that jsonschema does not build a grammar of web addresses first (1 of 2 s to start), and that it
# dies with who started it, as its kernel dies with it: what nobody waits for any more does not train on.
PAPERMILL = """
import os, sys, threading, time
def watch(parent):
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
threading.Thread(target=watch, args=(int(sys.argv.pop(1)),), daemon=True).start()
sys.modules['rfc3987_syntax'] = None
from papermill.cli import papermill
papermill()
"""


def papermill(source: Path, target: Path, parameters: dict) -> list[str]:
    """The command that executes a notebook; JSON is YAML, so names and values arrive with their types."""
    return [
        sys.executable,
        "-c",
        PAPERMILL,
        str(os.getpid()),
        str(source),
        str(target),
        "-k",
        "python3",
        "--no-progress-bar",
        "-y",
        json.dumps(parameters),
    ]


def execute(
    source: Path, target: Path, parameters: dict, output: Path, threads: int | None
) -> subprocess.Popen:
    """papermill in a process of its own; what it prints goes to `output`."""
    more = {} if threads is None else {"OMP_NUM_THREADS": str(max(1, threads))}
    with open(output, "w", encoding="utf-8") as file:
        return subprocess.Popen(
            papermill(source, target, parameters),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=os.environ | more,
            start_new_session=True,
        )  # Ctrl-C reaches it once, from here


@dataclass
class Process:
    process: subprocess.Popen

    def poll(self) -> int | None:
        return self.process.poll()

    def interrupt(self):
        """papermill is asked to shut its kernel down, which keeps its run."""
        self.process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)

    def wait(self, seconds: float):
        self.process.wait(timeout=max(0.1, seconds))

    def kill(self):
        self.process.kill()
        self.process.wait()


class Local:
    """`jobs` cells at a time, each with its part of the cores."""

    def __init__(self, jobs: int = 1):
        self.jobs, self.threads = jobs, cores() // jobs if jobs > 1 else None

    def start(self, *what) -> Process:
        return Process(execute(*what, self.threads))

    def close(self):
        pass


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ------------------------------------------------------------------------ Ray

RETRIES = 3  # of a cell whose worker or node was lost; it goes on from its checkpoint


class OnRay:
    """One task for each cell, as many at a time as the cluster has room for. Outputs lie on a folder that all nodes share,
    under the same path, and so does this repository."""

    def __init__(self, address: str = "", cpus: float = 1, gpus: float | None = None):
        try:
            import ray
        except ImportError:
            raise UserError("--engine ray needs Ray: pip install 'paramalloc[ray]'") from None
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise UserError(f"--gpus-per-cell {gpus:g} must be a part of one GPU, or whole GPUs")
        if ":" in address:
            reach(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            self.ray = ray
            ray.init(address=address, **quiet) if address else ray.init(
                address="local", num_cpus=cores(), include_dashboard=False, **quiet
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster at {address}: {' '.join(str(error).split())[:200]}"
            ) from None
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = min(1, max(node.get("GPU", 0) for node in nodes)) if gpus is None else gpus
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            has = ", ".join(
                f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes
            )
            self.close()
            raise UserError(
                f"no node of the cluster can ever hold a cell of {cpus:g} CPU and {gpus:g} GPU: they have {has}"
            )
        self.jobs = 10**6
        self.task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, max_calls=1)(
            in_a_task
        )
        self.threads = max(1, int(cpus))

    def start(self, source: Path, target: Path, parameters: dict, output: Path) -> "Task":
        return Task(
            self.ray, self.task.remote(source, target, parameters, output, self.threads), output
        )

    def close(self):
        self.ray.shutdown()


def reach(address: str):
    """Ask for a connection first: Ray itself tries for minutes."""
    host, port = address.removeprefix("ray://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}") from None


def in_a_task(source: Path, target: Path, parameters: dict, output: Path, threads: int) -> int:
    """On a worker: execute one cell; its exit status. A task that is cancelled ends its cell as Ctrl-C would."""
    process = Process(execute(source, target, parameters, output, threads))
    try:
        while process.poll() is None:
            time.sleep(0.2)
    finally:
        if process.poll() is None:
            process.interrupt()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
    return process.poll()


@dataclass
class Task:
    """A cell on the cluster. Of one that was lost for good the log says what Ray says."""

    ray: object
    reference: object
    output: Path

    def poll(self) -> int | None:
        ready, _ = self.ray.wait([self.reference], timeout=0)
        return self._status() if ready else None

    def _status(self) -> int:
        try:
            return self.ray.get(self.reference)
        except self.ray.exceptions.RayError as error:
            with open(self.output, "a", encoding="utf-8") as file:
                file.write(f"\n{type(error).__name__}: {' '.join(str(error).split())[:500]}\n")
            return 1

    def interrupt(self):
        self.ray.cancel(self.reference)

    def wait(self, seconds: float):
        if not self.ray.wait([self.reference], timeout=max(0.1, seconds))[0]:
            raise subprocess.TimeoutExpired("ray", seconds)

    def kill(self):
        self.ray.cancel(self.reference, force=True)
