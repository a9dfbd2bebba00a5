"""Arguments that several commands share."""

import argparse

from ..config import as_number


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
