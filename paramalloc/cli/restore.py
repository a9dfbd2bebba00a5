"""`paramalloc restore`: put the runs of a results.csv back."""

from ..config import ROOT
from .options import add_command, add_outputs


def add_restore(commands) -> None:
    parser = add_command(
        commands,
        "restore",
        run_restore,
        "Put the runs of a results.csv back, so that sweeps do not train them again.",
        "Restores results and dev curves; weights are not in a results.csv.",
    )
    parser.add_argument("table", metavar="TABLE", help="A results.csv.")
    add_outputs(parser)


def run_restore(arguments) -> None:
    from ..runs import restore_runs

    new, present = restore_runs(ROOT / arguments.table, ROOT / arguments.outputs)
    print(
        f"{len(new)} runs put back, {len(present)} were there: results and dev curves, no weights"
    )
