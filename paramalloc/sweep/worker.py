"""A process of this machine that trains the runs that it is given, one after the other.

The program is in pool_worker.py. What both sides agree on is here, so that nobody needs torch to
start one.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from ..config import ROOT, process_environment

# How a job ends. After the first two the process takes the next one; after others it ends.
DONE = 0
FAILED = 1  # by a user's mistake
BROKEN = 70  # by an error that nobody foresaw
OUT_OF_MEMORY = 71
INTERRUPTED = 130

Outcome = int | str  # of a job: one of the above, or how its process was lost

END_S = 10  # seconds that a process has to end


def worker_environment(threads: int | None) -> dict[str, str]:
    """The variables of a process that trains with so many threads (None: as many as it likes)."""
    environment = process_environment(threads)
    if threads is not None and "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ:
        # Inductor would start 32 compilers in each process.
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = str(max(1, threads))
    return environment


class LocalWorker:
    """A process that takes one job at a time. It is started, and replaced, when it gets one."""

    is_up = True

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None
        self.reader: threading.Thread | None = None
        self.answers: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.job: Any = None

    def send(self, request: dict[str, Any]) -> None:
        """Give the process a job: a `config`, and the file that gets what is printed, `output`."""
        if not self._is_alive:
            self._start(request["output"])
        assert self.process is not None and self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has just ended: `outcome` sees that
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()

    def outcome(self) -> Outcome | None:
        """How the job ended, or None while it is under way."""
        assert self.process is not None and self.reader is not None
        is_alive = self._is_alive  # before the answer, which may be its last
        if not is_alive:
            self.reader.join(timeout=1)
        answer = None
        with suppress(queue.Empty):
            answer = self.answers.get_nowait()
        if answer is None:
            return None if is_alive else _describe_exit(self.process.returncode)
        if answer not in (DONE, FAILED):
            self.end()  # it leaves by itself: the next job gets a fresh one
        return answer

    def interrupt(self) -> None:
        """Ask the process to save its run and end."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)

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
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @property
    def _is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _start(self, output: str) -> None:
        """Start the process; `output` gets the reason if it dies before it begins the job."""
        with open(output, "ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "paramalloc.sweep.pool_worker", str(os.getpid())],
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
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


def _describe_exit(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
