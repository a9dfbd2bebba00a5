"""Options of a sweep on a machine that ends: when it does, and where finished runs are kept."""

import time
from datetime import datetime
from pathlib import Path

from ..config import cores
from .options import number_option

LEFT = 3  # the exit status of a sweep that its deadline ended


def add_machine_end(parser) -> None:
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument(
        "--deadline",
        default="",
        metavar="TIME",
        help="End after this time, as 90s, 10m or 1h30m: no run is begun that is not predicted to "
        "end before, those under way are kept, and the command ends at most 15 s later. A corpus "
        "that is not prepared yet is prepared whole.",
    )
    ends.add_argument(
        "--until", default="", metavar="HH:MM", help="End when the clock shows this, likewise."
    )
    parser.add_argument(
        "--table",
        metavar="PATH",
        help="After every finished run write all runs in the outputs folder to this results.csv. "
        "`paramalloc restore PATH` puts them back.",
    )
    parser.add_argument(
        "--archive",
        metavar="FOLDER",
        help="After every finished run write the small files of all runs to this folder, one "
        "archive for each seed. `paramalloc restore FOLDER` puts them back.",
    )


def make_deadline(arguments, plan, jobs: int, began: float):
    """The Deadline of the arguments, for a command that began at `began`.

    It knows what was trained before.
    """
    from ..sweep import START_S, Deadline, seconds_of, seconds_until

    if arguments.deadline:
        seconds = seconds_of(arguments.deadline) + began - time.time()
    elif arguments.until:
        seconds = seconds_until(arguments.until, datetime.now())
    else:
        return Deadline()
    threads = cores() // jobs
    if arguments.engine == "ray":
        threads = int(number_option(arguments, "cpus_per_cell"))
    start_s = START_S if arguments.engine == "papermill" else 0.0  # else a process lives on
    deadline = Deadline(seconds, threads=max(1, threads), start_s=start_s)
    deadline.learn(plan.config.output_folder)
    return deadline


def make_keeper(arguments, plan):
    """The Keeper of the arguments; relative paths start where the command was typed."""
    from ..sweep import Keeper

    places = {name: getattr(arguments, name) for name in ("table", "archive")}
    given = {name: Path(place) for name, place in places.items() if place}
    return Keeper(plan.config.output_folder, **given)


def print_left(plan, deadline) -> int:
    """Say what the deadline left; the exit status that says it, or 0."""
    from ..sweep import describe_left

    left = describe_left(plan, deadline) if deadline.is_set else ""
    if left:
        print(f"{plan.name}: {left}")
    return LEFT if left else 0
