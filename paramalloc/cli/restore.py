"""`paramalloc restore`: put the runs of a results.csv or of archives back."""

from pathlib import Path

from ..config import ROOT
from .options import add_command, add_outputs


def add_restore(commands) -> None:
    parser = add_command(
        commands,
        "restore",
        run_restore,
        "Put finished runs back, so that sweeps do not train them again.",
        "A results.csv restores results and dev curves, an archive of `sweep --archive` all small "
        "files. Weights are in neither.",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="PATH",
        help="A results.csv, an archive, or a folder of archives.",
    )
    add_outputs(parser)


def run_restore(arguments) -> None:
    from ..runs import restore_runs

    for name in arguments.sources:
        source = Path(name)
        if not source.exists():
            source = ROOT / name
        new, present, held = restore_runs(source, ROOT / arguments.outputs)
        print(f"{name}: {len(new)} runs put back, {len(present)} were there; no weights")
        for run_id, holder in held.items():
            process = f"process {holder['pid']} on {holder['host'].split()[0]}"
            print(f"left alone: run {run_id}, which {process} holds")
