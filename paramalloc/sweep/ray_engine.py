"""The workers of a sweep on a Ray cluster: actors, each with a process of its node that trains."""

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from ..config import cores
from ..errors import UserError
from .crew import Crew
from .spec import Cell
from .worker import END_S, LocalWorker, Outcome, worker_environment

STARTS = 2  # of an actor that dies before it is up, until that is an error
LOOK_S = 0.1  # seconds between two looks of an actor at its process

Resources = dict[str, float]  # of a node: CPU, GPU …


class OnRay(Crew):
    """As many actors as the cluster has room for, or as there are cells to train.

    All nodes share the outputs folder, under the same path, and so they do this repository.
    """

    def __init__(self, ray: Any, workers: "list[RayWorker]", cells: list[Cell]) -> None:
        super().__init__(workers, cells)
        self.ray = ray

    @classmethod
    def connect(
        cls, cells: list[Cell], address: str = "", cpus: float = 1, gpus: float | None = None
    ) -> "OnRay":
        """Join the cluster at `address`, or start one on this machine.

        A cell gets `cpus` cores and `gpus` GPUs (None: one where there are any). Raises UserError
        where Ray is not installed, the cluster is not there, or no node can ever hold a cell.
        """
        if cpus <= 0:
            raise UserError(f"--cpus-per-cell must be above 0, not {cpus:g}")
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise UserError(f"--gpus-per-cell {gpus:g} must be a part of one GPU, or whole GPUs")
        ray = _import_ray()
        _join_cluster(ray, address)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if gpus is None:
            gpus = min(1, max(node.get("GPU", 0) for node in nodes))
        room = sum(cells_on(node, cpus, gpus) for node in nodes)
        if not room:
            ray.shutdown()
            raise UserError(_too_large(cpus, gpus, nodes))
        # two calls at a time: one trains, the other interrupts it
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_concurrency=2)(ProcessActor)
        threads = max(1, int(cpus))
        count = min(room, max(1, len(cells)))
        workers = [RayWorker(ray, lambda: remote.remote(threads)) for _ in range(count)]
        return cls(ray, workers, cells)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.ray.shutdown()


# ------------------------------------------------------------------ cluster


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs Ray: pip install 'paramalloc[ray]'") from None
    return ray


def _join_cluster(ray: Any, address: str) -> None:
    """Connect to the cluster at `address`, or start one; UserError where that fails twice."""
    if ":" in address:
        _check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address}
    if not address:
        options = {"address": "local", "num_cpus": cores(), "include_dashboard": False}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _init_twice(ray, options | {"log_to_driver": False, "logging_level": "ERROR"})
    except Exception as error:  # Ray raises many kinds
        ray.shutdown()
        what = f"no Ray cluster at {address}" if address else "Ray does not start here"
        raise UserError(f"{what}: {_in_a_line(error)}") from None
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's handler saves no run


def _init_twice(ray: Any, options: dict[str, Any]) -> None:
    """A start may fail by chance on a busy machine: Ray waits 15 s for its own parts."""
    try:
        ray.init(**options)
    except Exception:
        ray.shutdown()
        ray.init(**options)


def _check_reachable(address: str) -> None:
    """Try a connection first: Ray itself tries for minutes."""
    host, port = address.removeprefix("ray://").rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}") from None


def cells_on(node: Resources, cpus: float, gpus: float) -> int:
    """How many cells a node can hold at a time. A part of a GPU is never of two GPUs.

    >>> cells_on({"CPU": 8, "GPU": 2}, cpus=1, gpus=0.4)
    4
    """
    count = int(node.get("CPU", 0) / cpus)
    if gpus >= 1:
        count = min(count, int(node.get("GPU", 0) / gpus))
    elif gpus > 0:
        count = min(count, int(node.get("GPU", 0)) * int(1 / gpus))
    return count


def _too_large(cpus: float, gpus: float, nodes: list[Resources]) -> str:
    resources = ", ".join(
        f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes
    )
    return (
        f"no node of the cluster can ever hold a cell of {cpus:g} CPU and {gpus:g} GPU: "
        f"they have {resources}"
    )


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


# ------------------------------------------------------------------ workers


class ProcessActor:
    """On a node: an actor with a process that trains, and that ends with it."""

    def __init__(self, threads: int) -> None:
        self.worker = LocalWorker(worker_environment(threads))

    def train(self, request: dict[str, Any]) -> Outcome:
        """Wait for a job's end."""
        self.worker.send(request)
        while (outcome := self.worker.outcome()) is None:
            time.sleep(LOOK_S)
        return outcome

    def interrupt(self) -> None:
        self.worker.interrupt()


class RayWorker:
    """A worker on a cluster: an actor, and another one in its place where that is lost.

    The cluster gives an actor a place as soon as there is room.
    """

    def __init__(self, ray: Any, make_actor: Callable[[], Any]) -> None:
        self.ray = ray
        self.make_actor = make_actor
        self.job: Any = None
        self.answer: Any = None  # reference to the outcome of its job
        self.failures = 0  # starts since it was up
        self._start()

    def _start(self) -> None:
        self.actor = self.make_actor()
        self.life: Any = self.actor.__ray_ready__.remote()  # reference to its first sign of life

    @property
    def is_up(self) -> bool:
        """UserError where one actor after the other dies at its start."""
        if self.life is None:
            return True
        if not self._is_there(self.life):
            return False
        try:
            self.ray.get(self.life)
        except self.ray.exceptions.RayError as error:
            self.failures += 1
            if self.failures == STARTS:
                raise UserError(f"Ray starts no worker: {_in_a_line(error)}") from None
            self._start()
            return False
        self.life = None
        self.failures = 0
        return True

    def send(self, request: dict[str, Any]) -> None:
        self.answer = self.actor.train.remote(request)

    def outcome(self) -> Outcome | None:
        if not self._is_there(self.answer):
            return None
        try:
            outcome: Outcome = self.ray.get(self.answer)
        except self.ray.exceptions.RayError as error:
            self._start()
            return _in_a_line(error)
        return outcome

    def interrupt(self) -> None:
        self.actor.interrupt.remote()

    def end(self) -> None:
        if self.job:
            self.ray.wait([self.answer], timeout=END_S)
        self.kill()

    def kill(self) -> None:
        self.ray.kill(self.actor)

    def _is_there(self, reference: Any) -> bool:
        ready, _ = self.ray.wait([reference], timeout=0)
        return bool(ready)
