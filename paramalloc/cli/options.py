"""Arguments that several commands share."""

import argparse
import os
from pathlib import Path

from ..config import ROOT, as_number
from ..disk import split_names

# Arguments that may hold a path to something that is there, several joined by +.
PATHS = ("sweep", "runs", "dataset", "smallbench_data")


def add_command(commands, name: str, run, summary: str, details: str) -> argparse.ArgumentParser:
    """A command that calls `run(arguments)`; `summary` is its line in the list of commands."""
    parser = commands.add_parser(name, help=summary, description=f"{summary} {details}")
    parser.set_defaults(command=run)
    return parser


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """What replaces a sweep's own values, and where its outputs are."""
    parser.add_argument(
        "--profile",
        default="",
        metavar="NAME",
        help="Sizes to use in place of the sweep's: auto, quick, reference or study.",
    )
    parser.add_argument(
        "--dataset",
        default="",
        metavar="NAME",
        help="Corpus to use in place of the sweep's: a known name, a folder or a file.",
    )
    add_outputs(parser)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--outputs",
        default="outputs",
        metavar="FOLDER",
        help="Folder that holds the runs and all else that is written (default: outputs).",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="A run's folder, or its id under --outputs.")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="Print JSON for other programs.")


def named_values(arguments: argparse.Namespace, names) -> dict:
    """The values of some arguments by their names."""
    return {name: getattr(arguments, name) for name in names}


def option_name(name: str) -> str:
    """`seq_len` as it is typed: `--seq-len`."""
    return "--" + name.replace("_", "-")


def number_option(arguments: argparse.Namespace, name: str, kind=float):
    """The number that an option was given, or None; ConfigError names the option."""
    value = getattr(arguments, name)
    return None if value is None else as_number(option_name(name), value, kind)


def find_from_here(arguments: argparse.Namespace) -> None:
    """Make paths absolute that are where the command was typed; others mean the repository."""
    for name in PATHS:
        text = getattr(arguments, name, "")
        if text and Path.cwd() != ROOT:
            names = split_names(text, os.path.exists)
            setattr(arguments, name, "+".join(map(_from_here, names)))


def _from_here(name: str) -> str:
    """A path that is here, made absolute; names of known corpora and sweeps stay names."""
    is_sweep = (ROOT / "params" / f"{name}.yaml").exists()
    if is_sweep or name in ("builtin", "hub") or not os.path.exists(name):
        return name
    from ..data.hub import is_on_hub  # slow, and for what is here alone

    return name if is_on_hub(name) else os.path.abspath(name)
