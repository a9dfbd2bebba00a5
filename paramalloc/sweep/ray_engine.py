"""The cells of a sweep as tasks on a Ray cluster."""

import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import cores
from ..errors import UserError
from .engines import Task, execute
from .spec import Numbered

RETRIES = 3  # of a cell whose worker or node was lost; it goes on from its checkpoint


@dataclass
class OnRay:
    """A task for each cell, as many at a time as the cluster has room for.

    All nodes share the outputs folder, under the same path, and so they do this repository.
    """

    ray: Any
    task: Any
    threads: int
    jobs: int = 10**6  # no limit: the cluster queues what it has no room for

    @classmethod
    def connect(cls, address: str = "", cpus: float = 1, gpus: float | None = None) -> "OnRay":
        """Join the cluster at `address`, or start one on this machine.

        A cell gets `cpus` cores and `gpus` GPUs (None: one where there are any). Raises UserError
        where Ray is not installed, the cluster is not there, or no node can ever hold a cell.
        """
        ray = _import_ray()
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise UserError(f"--gpus-per-cell {gpus:g} must be a part of one GPU, or whole GPUs")
        _join_cluster(ray, address)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if gpus is None:
            gpus = min(1, max(node.get("GPU", 0) for node in nodes))
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
            ray.shutdown()
            raise UserError(_too_large(cpus, gpus, nodes))
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, max_calls=1)
        return cls(ray, remote(execute_in_task), threads=max(1, int(cpus)))

    def ready(self, waiting: list[Numbered]) -> list[Numbered]:
        return waiting

    def start(self, task: Task, waiting: list[Numbered]) -> "RayProcess":
        reference = self.task.remote(task, self.threads)
        return RayProcess(self.ray, reference, task.output)

    def close(self) -> None:
        self.ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs Ray: pip install 'paramalloc[ray]'") from None
    return ray


def _join_cluster(ray: Any, address: str) -> None:
    """Connect to the cluster at `address`, or start one; UserError if there is none."""
    if ":" in address:
        _check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address}
    if not address:
        options = {"address": "local", "num_cpus": cores(), "include_dashboard": False}
    try:
        ray.init(**options, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        message = " ".join(str(error).split())[:200]
        raise UserError(f"no Ray cluster at {address}: {message}") from None


def _check_reachable(address: str) -> None:
    """Try a connection first: Ray itself tries for minutes."""
    host, port = address.removeprefix("ray://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}") from None


def _too_large(cpus: float, gpus: float, nodes: list[dict[str, float]]) -> str:
    resources = ", ".join(
        f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes
    )
    return (
        f"no node of the cluster can ever hold a cell of {cpus:g} CPU and {gpus:g} GPU: "
        f"they have {resources}"
    )


def execute_in_task(task: Task, threads: int) -> int | None:
    """On a worker: execute one cell and return its exit status.

    A task that is cancelled ends its cell as Ctrl-C would.
    """
    process = execute(task, threads)
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
class RayProcess:
    """A cell on the cluster. Of one that was lost for good the log holds Ray's message."""

    ray: Any
    reference: Any
    output: Path

    def poll(self) -> int | None:
        ready, _ = self.ray.wait([self.reference], timeout=0)
        return self._status() if ready else None

    def _status(self) -> int:
        try:
            return int(self.ray.get(self.reference))
        except self.ray.exceptions.RayError as error:
            message = " ".join(str(error).split())[:500]
            with open(self.output, "a", encoding="utf-8") as file:
                file.write(f"\n{type(error).__name__}: {message}\n")
            return 1

    def interrupt(self) -> None:
        self.ray.cancel(self.reference)

    def wait(self, seconds: float) -> None:
        ready, _ = self.ray.wait([self.reference], timeout=max(0.1, seconds))
        if not ready:
            raise subprocess.TimeoutExpired("ray", seconds)

    def kill(self) -> None:
        self.ray.cancel(self.reference, force=True)
