"""A sweep: the cells that a YAML file in params/ describes, and what executes them.

The record is the run folder. A cell whose runs are finished is skipped, so the same command goes on
where it stopped.

- `spec`: a sweep, its cells, and the executions that each of them takes
- `corpora`: the corpora of a sweep, each looked for once
- `load`: read a sweep from its YAML file
- `tune`: which learning rates to try next
- `engines`: what executes a cell, and papermill processes of this machine that do
- `crew`: workers that train many runs each: who trains what, and lost runs
- `worker`: a worker of this machine
- `pool_worker`: its process (a program)
- `pool`: a crew of this machine
- `ray_engine`: a crew of a Ray cluster
- `papermill_process`: papermill that ends with its parent (a program)
- `execution`: one cell on its way
- `deadline`: when a sweep has to end, and what is left then
- `keeper`: finished runs kept outside of the outputs folder
- `schedule`: all cells of a sweep, so many at a time
- `dry_run`: what a sweep would do, and what it would take
- `speeds`: probes side by side
- `probe`: seconds of a training step (a program; with torch, as `stopwatch` and `pool_worker`)
- `timing`: speeds of finished runs, one shape at a time, in rounds
- `stopwatch`: a shape's speeds on this machine
- `status`: what runs, how far it is, what failed and why
- `selection`: the runs that an analysis is about
"""

from .deadline import Deadline, describe_left, seconds_of, seconds_until
from .dry_run import HOUR, START_S, format_plan, predict_sweep, rough_seconds
from .engines import Engine, Papermill, Process, papermill_command
from .execution import last_line
from .keeper import Keeper
from .load import load_sweep, sweep_file
from .pool import Pool
from .ray_engine import OnRay
from .schedule import execute_sweep, execute_views
from .selection import describe_flags, select_runs
from .spec import Cell, Sweep
from .status import describe_failures, format_status, papermill_words, status_table
from .timing import (
    LONGEST,
    WIDTH,
    group_by_shape,
    known_speeds,
    record_speeds,
    refuse_company,
    share_speeds,
    time_shapes,
)

__all__ = [
    "HOUR",
    "LONGEST",
    "START_S",
    "WIDTH",
    "Cell",
    "Deadline",
    "Engine",
    "Keeper",
    "OnRay",
    "Papermill",
    "Pool",
    "Process",
    "Sweep",
    "describe_failures",
    "describe_flags",
    "describe_left",
    "execute_sweep",
    "execute_views",
    "format_plan",
    "format_status",
    "group_by_shape",
    "known_speeds",
    "last_line",
    "load_sweep",
    "papermill_command",
    "papermill_words",
    "predict_sweep",
    "record_speeds",
    "refuse_company",
    "rough_seconds",
    "seconds_of",
    "seconds_until",
    "select_runs",
    "share_speeds",
    "status_table",
    "sweep_file",
    "time_shapes",
]
