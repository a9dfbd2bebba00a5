"""A sweep: the cells that a YAML file in params/ describes, each executed by papermill in a process of its own.

The record is the run folder. A cell whose runs are finished is skipped, so the same command goes on where it stopped.
"""

from .cells import Cell, Sweep, load_sweep, papermill_words
from .execution import last_line, run_sweep
from .results import select_runs

__all__ = [
    "Cell",
    "Sweep",
    "last_line",
    "load_sweep",
    "papermill_words",
    "run_sweep",
    "select_runs",
]
