"""The pool: long-lived processes of this machine that train the runs of a sweep."""

import os

from ..config import cores
from .crew import Crew
from .spec import Cell
from .worker import LocalWorker, worker_environment


class Pool(Crew):
    """`jobs` processes of this machine, each with its part of the cores and GPUs."""

    def __init__(self, jobs: int, cells: list[Cell], gpus: int = 0) -> None:
        workers = [LocalWorker(_environment(number, jobs, gpus)) for number in range(jobs)]
        super().__init__(workers, cells)


def _environment(number: int, jobs: int, gpus: int) -> dict[str, str]:
    """What a process gets of the machine: its part of the cores, and one of several GPUs."""
    environment = worker_environment(cores() // jobs if jobs > 1 else None)
    if gpus > 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % gpus]
    return environment
