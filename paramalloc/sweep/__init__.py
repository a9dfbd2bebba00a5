"""A sweep: the cells that a YAML file in params/ describes, each executed by papermill in a process of its own.

The record is the run folder. A cell whose runs are finished is skipped, so the same command goes on where it stopped.
"""

from .dry_run import HOUR, predict_sweep, rough_seconds
from .engines import OnRay, papermill
from .execution import last_line, run_sweep
from .selection import select_runs
from .spec import Cell, Sweep, load_sweep, papermill_words
from .status import failures, table

__all__ = [
    "Cell",
    "HOUR",
    "OnRay",
    "Sweep",
    "predict_sweep",
    "failures",
    "last_line",
    "load_sweep",
    "papermill",
    "papermill_words",
    "rough_seconds",
    "run_sweep",
    "select_runs",
    "table",
]
