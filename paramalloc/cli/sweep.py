"""`paramalloc sweep`: train the cells of a sweep."""

import sys
import time
from collections import defaultdict
from contextlib import closing

from ..config import as_number, cores, cuda_devices, overload
from ..errors import UserError
from ..packages import require
from .machine_end import add_machine_end, make_deadline, make_keeper, print_left
from .options import add_command, add_overrides, named_values, number_option

MAX_JOBS = 8  # that --jobs auto takes
NAMED = 4  # cells that failed for one reason
OVERRIDES = (
    "profile",
    "dataset",
    "outputs",
    "cells",
    "seed",
    "early_stop",
    "smallbench",
    "smallbench_data",
)


def add_sweep(commands) -> None:
    parser = add_command(
        commands,
        "sweep",
        run_sweep,
        "Train the cells of a sweep that are not finished.",
        "It may be interrupted at any time; the same command goes on from there. "
        "Exit status 1 means that some cells failed, 3 that the deadline left some.",
    )
    parser.add_argument(
        "sweep", metavar="SWEEP", help="A YAML file, or the name of one in params/."
    )
    _add_execution(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Train nothing: show what would be trained, and what it would take on this machine.",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="Start a sweep that takes more than an hour without a GPU.",
    )
    parser.add_argument(
        "--commit",
        default="",
        metavar="HASH",
        help="Commit of this code, to be recorded where git is not here to say it.",
    )
    add_machine_end(parser)
    add_recipe(parser)
    add_overrides(parser)


def _add_execution(parser) -> None:
    """Where and how many at a time the cells are executed."""
    parser.add_argument(
        "--jobs",
        default=1,
        metavar="N",
        help="Cells to train at a time, which share the cores (default: 1). "
        f"auto means one per core, at most {MAX_JOBS}; with GPUs, one a GPU.",
    )
    parser.add_argument(
        "--engine",
        choices=("pool", "papermill", "ray"),
        default="pool",
        help="Train in long-lived processes of this machine, in one papermill process a cell, or "
        "in long-lived processes of a Ray cluster, as many as it has room for (default: pool).",
    )
    parser.add_argument(
        "--notebooks",
        choices=("after", "off"),
        default="after",
        help="Whether the notebooks of finished cells are executed after training, here and by "
        "papermill (default: after). They show the runs; the record of a run is its folder.",
    )
    parser.add_argument(
        "--address",
        default="",
        metavar="HOST:PORT",
        help="Ray cluster to join, or auto (default: one that is started on this machine).",
    )
    parser.add_argument(
        "--cpus-per-cell", default=1, metavar="X", help="Cores of a cell on Ray (default: 1)."
    )
    parser.add_argument(
        "--gpus-per-cell",
        metavar="X",
        help="GPUs of a cell on Ray, such as 0.5 (default: 1 where there are any).",
    )


def add_recipe(parser) -> None:
    """Which cells to train, and what replaces a sweep's own values and is no size."""
    parser.add_argument(
        "--cells",
        default="",
        metavar="SHARExGLU[,…]",
        help="Cells to train in place of all of them, by what they request: 0.35x2.66,0.45x4.",
    )
    parser.add_argument(
        "--seed",
        default="",
        metavar="N[,N]",
        help="Seeds to train in place of the sweep's, such as 0 or 0,1.",
    )
    parser.add_argument(
        "--early-stop",
        default="",
        metavar="NAME",
        help="What to do with a cell much worse than the baseline, in place of the sweep's: "
        "kill, flag or off.",
    )
    parser.add_argument(
        "--smallbench",
        default="",
        metavar="NAME",
        help="SmallBench to run in place of the profile's: full, quick or off.",
    )
    parser.add_argument(
        "--smallbench-data",
        default="",
        metavar="FOLDER",
        help="Folder that holds SmallBench's sets, or hub.",
    )


def run_sweep(arguments) -> int:
    began = time.time()  # before seconds of imports
    from ..runs import say_commit
    from ..sweep import describe_flags, load_sweep

    if arguments.commit:
        say_commit(arguments.commit)
    plan = load_sweep(arguments.sweep, **named_values(arguments, OVERRIDES))
    gpus = 0 if plan.config.device == "cpu" else cuda_devices()
    jobs = _jobs(arguments.jobs, gpus)
    if arguments.dry_run:
        _print_plan(plan, jobs)
        return 0
    _require_papermill(arguments)
    deadline = make_deadline(arguments, plan, jobs, began)
    keeper = make_keeper(arguments, plan)
    if not arguments.yes and not gpus:
        _refuse_long(plan, deadline)
    print(
        f"{plan.name}: {len(plan.cells)} cells, profile {plan.config.profile}, "
        f"{plan.config.tokens:,} tokens a run"
    )
    if not gpus and arguments.engine != "ray" and (note := overload(jobs)):
        print(f"paramalloc: {note}", file=sys.stderr)
    keeper.begin()
    failures = _execute(plan, arguments, jobs, gpus, deadline, keeper)
    if flags := describe_flags(plan):
        print(flags)
    _print_failures(failures)
    return print_left(plan, deadline) or (1 if failures else 0)


def _print_failures(failures: dict[str, str]) -> None:
    """A reason that several cells share is told once."""
    cells = defaultdict(list)
    for name, reason in failures.items():
        cells[reason].append(name)
    for reason, names in cells.items():
        some = "; ".join(names[:NAMED])
        others = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        print(f"failed: {some}{others}: {reason}", file=sys.stderr)


def _jobs(text, gpus: int) -> int:
    if text == "auto":
        return gpus or min(MAX_JOBS, cores())
    jobs = as_number("--jobs", text, int)
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1 or auto, not {jobs}")
    return jobs


def _print_plan(plan, jobs: int) -> None:
    from ..sweep import format_plan, predict_sweep

    print(format_plan(predict_sweep(plan, jobs), jobs, plan.config.output_folder))


def _refuse_long(plan, deadline) -> None:
    """A study that was started on a laptop by mistake would run for weeks."""
    from ..sweep import HOUR, rough_seconds

    seconds = rough_seconds(plan)
    if min(seconds, deadline.left_s) > HOUR:
        raise UserError(
            f"sweep {plan.name} takes about {seconds / HOUR:,.0f} hours on this machine's CPU: "
            "add --yes to start it, or --dry-run to see what it would take"
        )


def _require_papermill(arguments) -> None:
    """UserError before anything is trained where notebooks cannot be executed."""
    if arguments.engine == "papermill":
        require("--engine papermill", "papermill", "ipykernel", instead="; or --engine pool")
    elif arguments.notebooks == "after":
        require("--notebooks after", "papermill", "ipykernel", instead="; or --notebooks off")


def _execute(plan, arguments, jobs: int, gpus: int, deadline, keeper) -> dict[str, str]:
    """Train the cells, then execute the notebooks that show them; the failures."""
    from ..sweep import Papermill, execute_sweep, execute_views

    if arguments.engine == "papermill":
        return execute_sweep(plan, Papermill(jobs), deadline, keeper)
    runs = plan.by_run()
    with closing(_crew(arguments, jobs, gpus, runs)) as engine:
        failures = execute_sweep(runs, engine, deadline, keeper)
    if arguments.notebooks == "after":
        failures |= execute_views(plan, Papermill(jobs), deadline)
    return failures


def _crew(arguments, jobs: int, gpus: int, runs):
    """The workers that train these runs."""
    from ..sweep import OnRay, Pool

    if arguments.engine == "ray":
        cpus = number_option(arguments, "cpus_per_cell")
        share = number_option(arguments, "gpus_per_cell")
        return OnRay.connect(runs.unfinished, arguments.address, cpus, share)
    if ":" in runs.config.device:
        gpus = 1  # the config says which
    return Pool(jobs, runs.unfinished, gpus)
