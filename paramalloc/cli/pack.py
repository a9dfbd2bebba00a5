"""`paramalloc pack`: one archive with all that a sweep needs on another machine."""

import argparse
import sys
from pathlib import Path

from ..errors import UserError
from .options import add_command, add_overrides, named_values, option_name
from .sweep import OVERRIDES, add_recipe, add_sweep

SUFFIXES = (".tar.gz", ".tgz")
LARGE_BYTES = 60e6  # bytes, beyond which it is said: some machines take no more
NAMED_THERE = ("profile", "outputs", "smallbench_data")  # overrides that run.sh names by itself


def add_pack(commands) -> None:
    parser = add_command(
        commands,
        "pack",
        run_pack,
        "Pack all that a sweep needs on a machine without a network.",
        "The archive holds the code, the prepared corpora, SmallBench's sets and run.sh, which "
        "trains the sweep there. What follows -- is given to `paramalloc sweep` there, as in "
        "`-- --jobs 4`.",
    )
    parser.add_argument(
        "sweep", metavar="SWEEP", help="A YAML file, or the name of one in params/."
    )
    parser.add_argument("file", metavar="FILE", help="The archive to write, a .tar.gz.")
    add_recipe(parser)
    add_overrides(parser)


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Our own words and what follows `--`, which argparse would take for ours."""
    if words[:1] != ["pack"] or "--" not in words:
        return words, []
    place = words.index("--")
    return words[:place], words[place + 1 :]


def run_pack(arguments) -> None:
    from ..pack import pack_sweep

    file = Path(arguments.file)
    if not file.name.endswith(SUFFIXES):
        raise UserError(f"FILE must end in {' or '.join(SUFFIXES)}, not {file.name}")
    overrides = named_values(arguments, OVERRIDES)
    words = ["--jobs", "auto", "--notebooks", "off", "--yes"]
    for name, value in overrides.items():
        if value and name not in NAMED_THERE:
            words += [option_name(name), value]
    words += arguments.further
    _check(arguments.sweep, words)
    pack = pack_sweep(arguments.sweep, words, _stages_printer(), **overrides)
    size = pack.write(file)
    _describe(pack, file, size)


def _check(sweep: str, words: list[str]) -> None:
    """What `paramalloc sweep` would refuse there is refused here, as argparse does."""
    parser = argparse.ArgumentParser(prog="paramalloc")
    add_sweep(parser.add_subparsers())
    parser.parse_args(["sweep", sweep, *words])


def _stages_printer():
    """A callback that prints each stage once."""
    stages = set()

    def show(stage: str, fraction: float) -> None:
        if stage not in stages:
            stages.add(stage)
            print(f"{stage} …", flush=True)

    return show


def _describe(pack, file: Path, size: int) -> None:
    sweep = pack.sweep
    cells = [cell for cell in sweep.cells if cell.config]
    runs = sum(len(cell.valid_config.runs()) for cell in cells)
    print(
        f"wrote {file}: {size / 1e6:.1f} MB; {sweep.name} with {len(cells)} cells, profile "
        f"{sweep.config.profile}, {runs} runs, of which {pack.finished} are finished"
    )
    for cell in sweep.cells:
        if cell.error:
            print(f"paramalloc: {cell.name} cannot be trained: {cell.error}", file=sys.stderr)
    for name, reason in pack.missing.items():
        print(f"paramalloc: without {name}: {reason}", file=sys.stderr)
    if size > LARGE_BYTES:
        print(
            f"paramalloc: {file} is larger than the {LARGE_BYTES / 1e6:.0f} MB that some machines "
            "take: a smaller dataset or vocabulary would fit",
            file=sys.stderr,
        )
