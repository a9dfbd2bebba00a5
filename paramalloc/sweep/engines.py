"""What an engine is, and the one that starts a papermill process for each cell.

The others train in workers that live on (crew.py): of this machine (pool.py), of Ray's
(ray_engine.py).
"""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..config import ROOT, cores, process_environment
from .spec import Cell, Numbered

PAPERMILL = Path(__file__).with_name("papermill_process.py")


@dataclass(frozen=True)
class Task:
    """What an engine executes: a cell's parameters, its notebook, and where both leave something.

    `output` gets what is printed. `folders` are those of the runs.
    """

    cell: Cell
    notebook: Path
    target: Path
    output: Path
    folders: tuple[Path, ...] = ()


class Process(Protocol):
    """A cell that is being executed."""

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""

    def interrupt(self) -> None:
        """Ask it to keep its run and end."""

    def wait(self, seconds: float) -> None:
        """Wait for its end; subprocess.TimeoutExpired where that takes longer."""

    def kill(self) -> None:
        """End it at once."""


class Engine(Protocol):
    """Executes cells, at most `jobs` of them at a time."""

    jobs: int

    def ready(self, waiting: list[Numbered]) -> list[Numbered]:
        """Those of the waiting cells that may begin now, where others had better wait."""

    def start(self, task: Task, waiting: list[Numbered]) -> Process:
        """Begin a task, while these cells wait."""


def papermill_command(source: Path, target: Path, parameters: dict[str, Any]) -> list[str]:
    """The command that executes a notebook and ends with this process."""
    program = [sys.executable, "-P", str(PAPERMILL), str(os.getpid())]
    options = ["-k", "python3", "--no-progress-bar", "-y", as_yaml(parameters)]
    return [*program, str(source), str(target), *options]


def as_yaml(parameters: dict[str, Any]) -> str:
    """JSON, which is YAML, so names and values arrive with their types.

    A character outside of ASCII is written as YAML does: JSON has two escapes for an emoji, which
    YAML reads as two characters that are none.
    """
    text = json.dumps(parameters, ensure_ascii=False)
    return re.sub(r"[^ -~]", lambda found: f"\\U{ord(found[0]):08x}", text)


def execute(task: Task, threads: int | None) -> "PapermillProcess":
    """Start papermill in a process of its own, with so many threads (None: as many as it likes)."""
    command = papermill_command(task.notebook, task.target, task.cell.parameters)
    with open(task.output, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=os.environ | process_environment(threads),
            start_new_session=True,  # Ctrl-C reaches it once, from here
        )
    return PapermillProcess(process)


@dataclass
class PapermillProcess:
    """A papermill process of this machine."""

    process: "subprocess.Popen[bytes]"

    def poll(self) -> int | None:
        return self.process.poll()

    def interrupt(self) -> None:
        """Ask papermill to shut its kernel down, which keeps its run."""
        self.process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        self.process.wait(timeout=max(0.1, seconds))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Papermill:
    """`jobs` cells at a time on this machine, each with its part of the cores."""

    jobs: int = 1

    @property
    def threads(self) -> int | None:
        """Threads of a cell; None where it has the machine to itself."""
        return cores() // self.jobs if self.jobs > 1 else None

    def ready(self, waiting: list[Numbered]) -> list[Numbered]:
        return waiting

    def start(self, task: Task, waiting: list[Numbered]) -> PapermillProcess:
        return execute(task, self.threads)
