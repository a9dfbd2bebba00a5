"""The pool: long-lived processes that train the runs of a sweep, one after the other.

A process imports and compiles once for many runs. Each owns some of the shapes, so that a shape is
compiled in one place for all its seeds and rates.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict

from ..allocation import allocation, roofline
from ..config import ROOT, ModelConfig, cores, process_environment
from .engines import Task
from .spec import Cell, Numbered

TRIES = 3  # of a run whose process was lost
END_S = 10  # seconds that an idle process has to end


class Pool:
    """An engine of `jobs` processes of this machine, each with its part of the cores and GPUs."""

    def __init__(self, jobs: int, cells: list[Cell], gpus: int = 0) -> None:
        self.jobs = jobs
        self.owners = assign_shapes(cells, jobs)
        self.workers = [Worker(_environment(number, jobs, gpus)) for number in range(jobs)]

    def ready(self, waiting: list[Numbered]) -> list[Numbered]:
        """The cells of idle workers; all cells, if one of these has none of its own left."""
        idle = self._idle()
        own = [numbered for numbered in waiting if self._owner(numbered[1]) in idle]
        return waiting if self._unemployed(waiting) else own

    def start(self, task: Task, waiting: list[Numbered]) -> "Job":
        owner = self._owner(task.cell)
        if owner not in self._idle():
            owner = self._unemployed(waiting)[0]
        return Job(self.workers[owner], task)

    def _owner(self, cell: Cell) -> int:
        """The number of the worker that a cell's shape belongs to."""
        return self.owners.get(allocation(cell.config).model, 0) if cell.config else 0

    def _idle(self) -> list[int]:
        return [number for number in range(self.jobs) if self.workers[number].job is None]

    def _unemployed(self, waiting: list[Numbered]) -> list[int]:
        """Idle workers that own nothing of what waits."""
        wanted = {self._owner(cell) for _, cell in waiting}
        return [number for number in self._idle() if number not in wanted]

    def close(self) -> None:
        """End all processes, which are idle."""
        for worker in self.workers:
            worker.end()


def assign_shapes(cells: list[Cell], jobs: int) -> dict[ModelConfig, int]:
    """Shape -> number of the worker that owns it: the longest first, to whom has least to do."""
    seconds: defaultdict[ModelConfig, float] = defaultdict(float)
    for cell in cells:
        if cell.config:
            shape = allocation(cell.config).model
            seconds[shape] += cell.budget * _seconds_per_token(cell, shape)
    owners = {}
    load = [0.0] * jobs
    for shape in sorted(seconds, key=seconds.__getitem__, reverse=True):
        owners[shape] = load.index(min(load))
        load[owners[shape]] += seconds[shape]
    return owners


def _seconds_per_token(cell: Cell, shape: ModelConfig) -> float:
    """In proportion: the ratio of two shapes is about the same on all cards."""
    config = cell.valid_config
    roof = roofline(shape, "H100 SXM", config.seq_len, config.batch_tokens)
    return float(roof["train_s_per_token"])


def _environment(number: int, jobs: int, gpus: int) -> dict[str, str]:
    """What a worker gets of the machine: its part of the cores, and one of several GPUs."""
    environment = process_environment(cores() // jobs if jobs > 1 else None)
    if jobs > 1 and "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ:
        # Inductor would start 32 compilers in each process.
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = str(max(1, cores() // jobs))
    if gpus > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % gpus]
    return environment


class Worker:
    """A process that takes one job at a time, started when it gets its first."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None
        self.reader: threading.Thread | None = None
        self.answers: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.job: Job | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, request: str) -> None:
        """Give the process a job. One that was lost is replaced first."""
        if not self.alive:
            self._start()
        assert self.process is not None and self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has just ended: `Job.poll` sees that
            self.process.stdin.write(request)
            self.process.stdin.flush()

    def answer(self) -> int | None:
        """The exit status of the job; None while it is under way, or lost with its process."""
        try:
            return self.answers.get_nowait()
        except queue.Empty:
            return None

    def end(self) -> None:
        """End the process: politely, then at once."""
        if self.process is None or self.process.stdin is None:
            return
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "paramalloc.sweep.pool_worker", str(os.getpid())],
            cwd=ROOT,
            env=os.environ | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C reaches it once, from here
        )
        self.answers = queue.SimpleQueue()
        arguments = (self.process, self.answers)
        self.reader = threading.Thread(target=_read_answers, args=arguments, daemon=True)
        self.reader.start()


def _read_answers(process: "subprocess.Popen[str]", answers: "queue.SimpleQueue[int]") -> None:
    """Put the answers of a process into the queue, until it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip().isdigit():  # a package may print something while it is imported
            answers.put(int(line))


class Job:
    """A task that a worker executes. If its process is lost it goes on in another one."""

    def __init__(self, worker: Worker, task: Task) -> None:
        request = {"config": asdict(task.cell.valid_config), "output": str(task.output)}
        self.worker = worker
        self.output = task.output
        self.request = json.dumps(request) + "\n"
        self.tries = 1
        self.status: int | None = None
        self.output.write_text("", encoding="utf-8")
        worker.job = self
        worker.send(self.request)

    def poll(self) -> int | None:
        if self.status is None:
            self.status = self._look()
            if self.status is not None:
                self.worker.job = None
        return self.status

    def _look(self) -> int | None:
        alive = self.worker.alive  # before the answer, which may be its last
        if not alive and self.worker.reader:
            self.worker.reader.join(timeout=1)
        status = self.worker.answer()
        if status is not None or alive:
            return status
        self._note(f"the process that trained it was lost ({self._reason()})")
        if self.tries >= TRIES:
            return 1
        self.tries += 1
        self.worker.send(self.request)
        return None

    def _reason(self) -> str:
        assert self.worker.process is not None
        code = self.worker.process.returncode
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def _note(self, message: str) -> None:
        with open(self.output, "a", encoding="utf-8") as file:
            file.write(f"{message}\n")

    def interrupt(self) -> None:
        """Ask the process to save its run and end."""
        self.tries = TRIES
        if self.worker.process is not None:
            self.worker.process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + max(0.1, seconds)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("pool", seconds)
            time.sleep(0.05)

    def kill(self) -> None:
        self.worker.kill()
        self.status = -signal.SIGKILL
        self.worker.job = None
