"""A crew: workers that live on from run to run, and which of them trains what.

A worker imports and compiles once for many runs. Each owns some of the shapes, so that a shape is
compiled in one place for all its seeds and rates. The pool and Ray are crews.
"""

import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ..allocation import allocation, roofline
from ..config import ModelConfig, TrainConfig
from .engines import Task
from .spec import Cell, Numbered
from .worker import BROKEN, FAILED, INTERRUPTED, OUT_OF_MEMORY, Outcome

TRIES = 3  # of a run whose worker was lost before it had saved anything new


class Worker(Protocol):
    """A process somewhere that trains one job at a time. One that was lost is replaced."""

    job: Any

    @property
    def is_up(self) -> bool:
        """Whether it can take a job now."""

    def send(self, request: dict[str, Any]) -> None:
        """Give it a job: a `config`, and the file that gets what is printed, `output`."""

    def outcome(self) -> Outcome | None:
        """How its job ended: the exit status, or how its process was lost; None before."""

    def interrupt(self) -> None:
        """Ask it to save its run and end."""

    def end(self) -> None:
        """End it: politely, then at once."""

    def kill(self) -> None:
        """End it at once."""


class Crew:
    """An engine of workers. Runs whose worker was lost go before all others."""

    def __init__(self, workers: Sequence[Worker], cells: list[Cell]) -> None:
        self.workers = workers
        self.jobs = len(workers)
        self.owners = assign_shapes(cells, self.jobs)
        self.lost: list[Job] = []

    def ready(self, waiting: list[Numbered]) -> list[Numbered]:
        """The cells of free workers; also others, if one of these has none of its own left."""
        if self.lost:
            return []
        free = self._free()
        own = [numbered for numbered in waiting if self._owner(numbered[1]) in free]
        return own + self._others(waiting, free) if self._unemployed(waiting, free) else own

    def start(self, task: Task, waiting: list[Numbered]) -> "Job":
        """Begin a task with the owner of its shape, or with who has nothing else and gets it."""
        free = self._free()
        owner = self._owner(task.cell)
        if owner not in free:
            owner = self._unemployed(waiting, free)[0]
            self.owners[_shape(task.cell.config)] = owner
        job = Job(self, task)
        job.begin(self.workers[owner])
        return job

    def resume(self, job: "Job") -> None:
        """Go on with a lost job where a worker is free, best with the owner of its shape."""
        free = self._free()
        if free:
            self.lost.remove(job)
            owner = self._owner(job.task.cell)
            job.begin(self.workers[owner if owner in free else free[0]])

    def close(self) -> None:
        """End all workers. One that has a job, where Ctrl-C came as it began, saves it first."""
        for worker in self.workers:
            if worker.job:
                worker.interrupt()
        for worker in self.workers:
            worker.end()

    def _free(self) -> list[int]:
        """The numbers of the workers that can take a job now."""
        workers = enumerate(self.workers)
        return [number for number, worker in workers if worker.job is None and worker.is_up]

    def _owner(self, cell: Cell) -> int:
        """The number of the worker that a cell's shape belongs to."""
        return self.owners.get(_shape(cell.config), 0)

    def _unemployed(self, waiting: list[Numbered], free: list[int]) -> list[int]:
        """Free workers that own nothing of what waits."""
        wanted = {self._owner(cell) for _, cell in waiting}
        return [number for number in free if number not in wanted]

    def _others(self, waiting: list[Numbered], free: list[int]) -> list[Numbered]:
        """What busy workers own. First comes the shape that they would begin last."""
        others = [numbered for numbered in waiting if self._owner(numbered[1]) not in free]
        begins: dict[ModelConfig | None, int] = {}
        for place, (_, cell) in enumerate(others):
            begins.setdefault(_shape(cell.config), place)
        return sorted(others, key=lambda numbered: -begins[_shape(numbered[1].config)])


# ------------------------------------------------------------------ shapes


def assign_shapes(cells: list[Cell], jobs: int) -> dict[ModelConfig | None, int]:
    """Shape -> number of the worker that owns it: the longest first, to whom has least to do."""
    seconds: defaultdict[ModelConfig, float] = defaultdict(float)
    for cell in cells:
        if cell.config:
            shape = allocation(cell.config).model
            seconds[shape] += cell.budget * _seconds_per_token(cell, shape)
    owners: dict[ModelConfig | None, int] = {}
    load = [0.0] * jobs
    for shape in sorted(seconds, key=seconds.__getitem__, reverse=True):
        owners[shape] = load.index(min(load))
        load[owners[shape]] += seconds[shape]
    return owners


@cache
def _shape(config: TrainConfig | None) -> ModelConfig | None:
    """That of a cell; None of an invalid one."""
    return allocation(config).model if config else None


def _seconds_per_token(cell: Cell, shape: ModelConfig) -> float:
    """In proportion: the ratio of two shapes is about the same on all cards."""
    config = cell.valid_config
    roof = roofline(shape, "H100 SXM", config.seq_len, config.batch_tokens)
    return float(roof["train_s_per_token"])


# -------------------------------------------------------------------- jobs


class Job:
    """A task with a worker, or between two: lost with one, it goes on with another."""

    def __init__(self, crew: Crew, task: Task) -> None:
        self.crew = crew
        self.task = task
        config = asdict(task.cell.valid_config)
        self.request: dict[str, Any] = {"config": config, "output": str(task.output)}
        self.worker: Worker | None = None
        self.status: int | None = None
        self.losses = 0  # since something new was saved
        self.saved = self._saved()
        self.is_second_try = False
        self.is_interrupted = False
        task.output.write_text("", encoding="utf-8")

    def begin(self, worker: Worker) -> None:
        self.worker = worker
        worker.job = self
        worker.send(self.request)

    def poll(self) -> int | None:
        if self.status is None:
            if self.worker is None:
                self.crew.resume(self)
            elif (outcome := self.worker.outcome()) is not None:
                self.worker.job = None
                self.worker = None
                self._conclude(outcome)
        return self.status

    def _conclude(self, outcome: Outcome) -> None:
        """Note the exit status, unless another try may end better."""
        if self.is_interrupted:
            self.status = INTERRUPTED if isinstance(outcome, str) else outcome
        elif isinstance(outcome, str):
            self._lose(outcome)
        elif outcome == INTERRUPTED:  # not by us: its run is saved
            self._lose("interrupted by a signal")
        elif self._may_try_again(outcome):
            self.is_second_try = True
            self.crew.lost.append(self)
        else:
            self.status = outcome

    def _lose(self, how: str) -> None:
        """Wait for another worker, unless the run was lost too often and comes no further."""
        self._note(f"the process that trained it was lost ({how})")
        saved = self._saved()
        self.losses = self.losses + 1 if saved == self.saved else 1
        self.saved = saved
        if self.losses < TRIES:
            self.crew.lost.append(self)
        else:
            self.status = FAILED

    def _saved(self) -> set[Path]:
        """The checkpoints and results of its runs."""
        patterns = ("checkpoint/*", "result.json")
        return {
            path
            for folder in self.task.folders
            for pattern in patterns
            for path in folder.glob(pattern)
        }

    def _may_try_again(self, status: int) -> bool:
        """Whether a fresh process may do better, once.

        It does where others had filled this one's memory, and where a recorded step (`graph`) broke
        it: then steps are not recorded.
        """
        if self.is_second_try or status not in (BROKEN, OUT_OF_MEMORY):
            return False
        said = self.task.output.read_text(encoding="utf-8", errors="replace").splitlines()
        is_graph_broken = any(line.startswith("graph:") for line in said)
        if is_graph_broken:
            self.request["config"]["graph"] = "off"
        return is_graph_broken or status == OUT_OF_MEMORY

    def _note(self, message: str) -> None:
        with open(self.task.output, "a", encoding="utf-8") as file:
            file.write(f"{message}\n")

    def interrupt(self) -> None:
        self.is_interrupted = True
        if self.worker:
            self.worker.interrupt()
        elif self.status is None:  # lost
            self.status = INTERRUPTED

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + max(0.1, seconds)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", seconds)
            time.sleep(0.05)

    def kill(self) -> None:
        if self.worker:
            self.worker.kill()
            self.worker.job = None
        self.status = INTERRUPTED
