"""`paramalloc status`: what runs where, how far it is, and what failed."""

import time

from ..config import ROOT
from .options import add_command, add_overrides, named_values
from .streams import reader_has_gone

CLEAR = "\033[2J\033[H"  # the terminal, and go to its first line
EVERY_S = 2


def add_status(commands) -> None:
    parser = add_command(
        commands,
        "status",
        run_status,
        "Show what runs where and how far it is, what failed and why.",
        "For a failed cell it prints the last lines of its log and the command that repeats it.",
    )
    parser.add_argument(
        "sweep",
        nargs="?",
        default="",
        metavar="SWEEP",
        help="A sweep: a YAML file, or the name of one in params/ (default: all runs).",
    )
    parser.add_argument(
        "--watch", action="store_true", help=f"Show it every {EVERY_S} seconds, until Ctrl-C."
    )
    add_overrides(parser)


def run_status(arguments) -> None:
    from ..sweep import describe_failures, format_status, load_sweep, status_table

    overrides = named_values(arguments, ("profile", "dataset", "outputs"))
    while True:
        plan = load_sweep(arguments.sweep, **overrides) if arguments.sweep else None
        text = format_status(status_table(ROOT / arguments.outputs, plan))
        failures = describe_failures(plan) if plan else []
        print(CLEAR * arguments.watch + text, *failures, sep="\n", flush=True)
        if not arguments.watch or reader_has_gone():
            return
        time.sleep(EVERY_S)
