"""The command line, thin: `paramalloc allocate | sweep | report`."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from .allocator import allocate
from .config import ROOT, UserError, as_number


def main(argv: list[str] | None = None) -> int:
    """Run one command. A user's mistake is one line on standard error and exit status 2."""
    arguments = parser().parse_args(argv)
    for name in ("SIGTERM", "SIGHUP"):  # they end like Ctrl-C: children first
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        return arguments.command(arguments) or 0
    except UserError as error:
        print(f"paramalloc: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("paramalloc: interrupted; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="paramalloc", description="Split a parameter budget, train the cells, report.")
    commands = top.add_subparsers(required=True, metavar="allocate | sweep | report")

    allocate = commands.add_parser("allocate", help="the shape for a budget, and where its parameters are")
    allocate.add_argument("--total-params", default="10_000_000", help="parameters in all (10e6 and 10_000_000 are the same)")
    allocate.add_argument("--embed-share", default="0.35", help="share of the embedding in all parameters")
    allocate.add_argument("--glu", default="2.66", help="d_ff / d_model")
    allocate.add_argument("--vocab-size", default="16_000")
    allocate.set_defaults(command=run_allocate)

    sweep = commands.add_parser("sweep", help="train the cells of a sweep that are not finished")
    sweep.add_argument("sweep", help="a YAML file, or the name of one in params/")
    report = commands.add_parser("report", help="execute the analysis notebook; write RESULTS.md and report.html")
    report.add_argument("sweep", nargs="?", default="", help="a sweep; without it, all runs")
    report.add_argument("--name", default="", help="folder under outputs/reports (default: the sweep's name, or all)")
    for command, run in ((sweep, run_sweep), (report, run_report)):
        command.add_argument("--profile", default="", help="replaces the sweep's profile: auto, quick or study")
        command.add_argument("--dataset", default="", help="replaces the sweep's dataset: a name, a folder or a file")
        command.add_argument("--outputs", default="outputs", help="folder of everything that is written")
        command.set_defaults(command=run)
    return top


def run_allocate(arguments):
    print(allocate(as_number("--total-params", arguments.total_params, int), as_number("--embed-share", arguments.embed_share),
                   as_number("--glu", arguments.glu), as_number("--vocab-size", arguments.vocab_size, int)))


def run_sweep(arguments) -> int:
    from . import sweep

    plan = sweep.load_sweep(arguments.sweep, profile=arguments.profile, dataset=arguments.dataset, outputs=arguments.outputs)
    print(f"{plan.name}: {len(plan.cells)} cells, profile {plan.config.profile}, {plan.config.tokens:,} tokens a run")
    failed = sweep.run_sweep(plan)
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def run_report(arguments):
    from .report import write_html
    from .sweep import last_line, papermill

    name = arguments.name or (Path(arguments.sweep).stem if arguments.sweep else "all")
    folder = ROOT / arguments.outputs / "reports" / name
    parameters = {"runs": arguments.sweep, "dataset": arguments.dataset, "profile": arguments.profile,
                  "name": name, "outputs": arguments.outputs}
    with tempfile.TemporaryDirectory() as scratch:
        notebook = Path(scratch) / "analysis.ipynb"
        done = subprocess.run(papermill(ROOT / "notebooks" / "analysis.ipynb", notebook, parameters), cwd=ROOT,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise UserError(last_line(done.stderr))
        page = write_html(notebook, folder / "report.html")
    results = folder / "RESULTS.md"
    print(f"wrote {os.path.relpath(page)}" + (f" and {os.path.relpath(results)}" if results.exists() else "; there are no runs yet"))
