"""One process of the pool: trains the runs that it is told, one after the other.

    python -m paramalloc.sweep.pool_worker PARENT_PID

A job is a line of JSON on standard input: a config, and the file that gets what is printed. Its
exit status is a line on standard output.
"""

import functools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ..config import TrainConfig
from ..data import Corpus, prepare
from ..errors import InterruptedRunError, OutOfMemoryError, UserError
from ..training import train
from .papermill_process import end_with
from .worker import BROKEN, DONE, FAILED, INTERRUPTED, OUT_OF_MEMORY


def execute_jobs(jobs: Iterable[str], answers: TextIO) -> None:
    """Execute jobs until there are no more, or one leaves the process in a doubtful state."""
    for line in jobs:
        status = execute_job(**json.loads(line))
        print(status, file=answers, flush=True)
        if status not in (DONE, FAILED):
            return


def execute_job(config: dict[str, Any], output: str) -> int:
    """Train the runs of a config that are not finished; the exit status."""
    with printing_to(Path(output)):
        try:
            trained = TrainConfig.from_dict(config)
            train(trained, find_corpus(trained))
        except (InterruptedRunError, KeyboardInterrupt) as error:
            print(f"InterruptedRunError: {error}")
            return INTERRUPTED
        except UserError as error:
            print(f"{type(error).__name__}: {error}")
            return OUT_OF_MEMORY if isinstance(error, OutOfMemoryError) else FAILED
        except BaseException:
            traceback.print_exc()
            return BROKEN
    return DONE


def find_corpus(config: TrainConfig) -> Corpus:
    """The corpus of a config. It is looked for once: a sweep trains on one text to its end."""
    return _prepare(config.dataset, config.vocab_size, config.output_folder, config.tokens)


_prepare = functools.lru_cache(maxsize=8)(prepare)


@contextmanager
def printing_to(path: Path) -> Iterator[None]:
    """Whatever this process prints goes to the end of a file."""
    with open(path, "ab") as file:
        _print_to(file.fileno())
    try:
        yield
    finally:
        with open(os.devnull, "ab") as nowhere:
            _print_to(nowhere.fileno())


def _print_to(descriptor: int) -> None:
    """Standard output and error, those of libraries in C included."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())


def _in_utf8(stream: TextIO) -> TextIO:
    """The same stream for any character, whatever the terminal's encoding is."""
    return open(stream.fileno(), "w", encoding="utf-8", errors="replace", closefd=False)


def _main() -> None:
    parent = int(sys.argv[1])
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    # What a shell starts with & would ignore it, and never save its run. Ray blocks it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.stdout = _in_utf8(sys.stdout)
    sys.stderr = _in_utf8(sys.stderr)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with suppress(KeyboardInterrupt):  # between two jobs nothing is lost
        execute_jobs(sys.stdin, answers)
    # Threads of compilers may hold a process that leaves by itself for minutes.
    os._exit(0)


if __name__ == "__main__":
    _main()
