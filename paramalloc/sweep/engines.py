"""Engines start, interrupt and kill the papermill process of a cell: on this machine.

What an engine is stands here as a protocol; Ray's is in ray_engine.py.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..config import ROOT, cores, process_environment

PAPERMILL = Path(__file__).with_name("papermill_process.py")


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

    def start(
        self, source: Path, target: Path, parameters: dict[str, Any], output: Path
    ) -> Process:
        """Execute the notebook `source` into `target`; what papermill prints goes to `output`."""

    def close(self) -> None:
        """Release what the engine holds."""


def papermill_command(source: Path, target: Path, parameters: dict[str, Any]) -> list[str]:
    """The command that executes a notebook and ends with this process.

    JSON is YAML, so names and values arrive with their types.
    """
    program = [sys.executable, "-P", str(PAPERMILL), str(os.getpid())]
    options = ["-k", "python3", "--no-progress-bar", "-y", json.dumps(parameters)]
    return [*program, str(source), str(target), *options]


def execute(
    source: Path, target: Path, parameters: dict[str, Any], output: Path, threads: int | None
) -> "LocalProcess":
    """Start papermill in a process of its own, with so many threads (None: as many as it likes)."""
    with open(output, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            papermill_command(source, target, parameters),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=os.environ | process_environment(threads),
            start_new_session=True,  # Ctrl-C reaches it once, from here
        )
    return LocalProcess(process)


@dataclass
class LocalProcess:
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
class Local:
    """`jobs` cells at a time on this machine, each with its part of the cores."""

    jobs: int = 1

    @property
    def threads(self) -> int | None:
        """Threads of a cell; None where it has the machine to itself."""
        return cores() // self.jobs if self.jobs > 1 else None

    def start(
        self, source: Path, target: Path, parameters: dict[str, Any], output: Path
    ) -> LocalProcess:
        return execute(source, target, parameters, output, self.threads)

    def close(self) -> None:
        """Nothing is held between cells."""
