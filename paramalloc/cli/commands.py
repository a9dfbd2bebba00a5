"""`paramalloc`: one command line for all commands."""

import argparse
import errno
import sys

from ..errors import UserError
from ..packages import lacks
from .allocate import add_allocate
from .evaluate import add_evaluate
from .export import add_export
from .options import find_from_here
from .pack import add_pack, split_words
from .recommend import add_recommend
from .report import add_report
from .restore import add_restore
from .status import add_status
from .streams import failure, prepare_signals, prepare_streams, reader_has_gone
from .sweep import add_sweep
from .time import add_time

# In the order of the help.
COMMANDS = (
    add_allocate,
    add_sweep,
    add_status,
    add_time,
    add_report,
    add_evaluate,
    add_export,
    add_pack,
    add_restore,
    add_recommend,
)

# What a full disk, rights, and a file in the place of a folder end a command with.
OF_THE_MACHINE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EEXIST,
    errno.EIO,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: done. 1: some cells of a sweep failed. 2: a user's mistake, told in one line on standard
    error. 3: the deadline of a sweep left some runs. 130: interrupted. A command whose output
    nobody reads any more does its work to the end; 1 also means that the output was not written.
    """
    if argv is None:  # typed, so that the streams are ours
        prepare_streams()
    words, further = split_words(sys.argv[1:] if argv is None else argv)
    arguments = build_parser().parse_args(words, argparse.Namespace(further=further))
    find_from_here(arguments)
    prepare_signals()
    status = _run(arguments)
    error = failure()
    if error is None or reader_has_gone():
        return status
    print(f"paramalloc: cannot write standard output: {error.strerror}", file=sys.stderr)
    return status or 1


def _run(arguments: argparse.Namespace) -> int:
    """Run a command; its exit status. What ends it is told in one line."""
    try:
        return arguments.command(arguments) or 0
    except UserError as error:
        print(f"paramalloc: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "paramalloc"):
            raise  # our own mistake
        print(f"paramalloc: {lacks('this command', [package])}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:
            raise  # our own mistake
        place = error.filename or "a file"
        advice = "make room for it, or name another folder with --outputs"
        print(f"paramalloc: {place}: {error.strerror}; {advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "paramalloc: interrupted; what is finished is kept, "
            "and the same command goes on from there",
            file=sys.stderr,
        )
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="paramalloc",
        description="Split a parameter budget of a small language model between embedding, depth, "
        "attention and MLP; train the candidates; report which are efficient.",
        epilog="`paramalloc COMMAND --help` explains the arguments of a command.",
    )
    commands = parser.add_subparsers(title="commands", required=True)
    for add in COMMANDS:
        add(commands)
    commands.metavar = " | ".join(commands.choices)  # what the message about a missing one lists
    return parser
