"""`paramalloc time`: measure the speeds of finished runs alone."""

import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from ..config import ROOT, cores
from ..errors import RunError, UserError
from .options import add_command, add_overrides, named_values, number_option

SHAPE_SECONDS = 20  # of a shape, by default
BUSY = 0.5  # load average, as a part of the cores, that is told
RUN_ID = re.compile("[0-9a-f]{4,12}")  # or its beginning


def add_time(commands) -> None:
    parser = add_command(
        commands,
        "time",
        run_time,
        "Measure how fast finished runs train and generate, alone on this machine.",
        "One shape at a time, in random order, again and again until it is sure; the results go "
        "into the runs. Reports take speeds from here alone, because a run trains beside others.",
    )
    parser.add_argument(
        "runs",
        nargs="?",
        default="",
        metavar="SWEEP|RUN",
        help="A sweep, several joined by +, or a run's folder or id (default: all runs).",
    )
    parser.add_argument(
        "--seconds",
        default=SHAPE_SECONDS,
        metavar="X",
        help="Longest time for a shape, which ends earlier once the 95 %% interval of each speed "
        f"is under 3 %% (default: {SHAPE_SECONDS}).",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="Measure also the shapes that were measured on this device before.",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:N (default: auto).",
    )
    add_overrides(parser)


def run_time(arguments) -> None:
    from ..sweep import group_by_shape, known_speeds, record_speeds, refuse_company

    limit = number_option(arguments, "seconds")
    if limit <= 0:
        raise UserError(f"--seconds must be above 0, not {limit:g}")
    folders = _find_folders(arguments)
    shapes = group_by_shape(folders)
    if not shapes:
        raise RunError(_nothing(arguments))
    outputs = folders[0].parents[1]
    refuse_company(outputs)

    from ..sweep.stopwatch import Stopwatch

    # New runs of a shape that was timed before take over what is known of it.
    stopwatch = Stopwatch(arguments.device, shapes)
    todo = []
    for shape in shapes:
        known = known_speeds(shape, stopwatch.name, stopwatch.threads)
        if known and not arguments.again:
            record_speeds(shape, known)
        else:
            todo.append(shape)
    if len(todo) < len(shapes):
        print(
            f"{len(shapes) - len(todo)} of {len(shapes)} shapes were timed on this device before: "
            "--again measures them anew"
        )
    if todo:
        _time_shapes(todo, stopwatch, limit, lambda: refuse_company(outputs))


def _find_folders(arguments) -> list[Path]:
    """The folders of the runs that are meant, whether they have a result or not."""
    from ..config import AnalysisConfig
    from ..runs import find_run
    from ..sweep import select_runs

    named = arguments.runs
    outputs = ROOT / arguments.outputs
    if named.endswith(".csv"):
        raise UserError("a table holds no runs: `paramalloc restore TABLE` puts them back first")
    is_id = RUN_ID.fullmatch(named) and not (ROOT / "params" / f"{named}.yaml").exists()
    if named and (is_id or (Path(named) / "result.json").exists()):
        return [find_run(named, outputs, "result.json")]
    overrides = named_values(arguments, ("runs", "profile", "dataset", "outputs"))
    rows = select_runs(AnalysisConfig.from_dict(overrides))
    return [outputs / "runs" / run_id for run_id in rows.run_id.dropna()]


def _nothing(arguments) -> str:
    """Why there is nothing to measure."""
    runs = Path(arguments.outputs) / "runs"
    whose = f"no run of {arguments.runs}" if arguments.runs else "no run"
    sizes = [f"{name} {value}" for name, value in _overrides(arguments).items() if value]
    under = f" with {' and '.join(sizes)}" if sizes else ""
    return f"{whose} is complete in {runs}{under}: there is nothing to measure"


def _overrides(arguments) -> dict:
    return named_values(arguments, ("profile", "dataset"))


def _time_shapes(shapes: list, stopwatch, limit: float, refuse: Callable[[], object]) -> None:
    """Measure the shapes, with a line for each, and a bar on a terminal."""
    from ..sweep import WIDTH, record_speeds, time_shapes

    print(_announce(shapes, stopwatch, limit))
    bar = tqdm(
        total=limit * len(shapes),
        desc=f"{len(shapes)} shapes",
        bar_format="{desc} {percentage:3.0f} %|{bar}| {elapsed}, at most {remaining} left",
        disable=not sys.stderr.isatty(),
        leave=False,
    )
    unsure = []

    def show(shape, seconds: float, done: bool) -> None:
        if not done:
            bar.update(seconds)
            return
        bar.update(seconds + max(0.0, limit - shape.seconds))
        record_speeds(shape, stopwatch.columns(shape))
        bar.write(_line(shape))
        if shape.width >= WIDTH:
            unsure.append(shape)

    with bar:
        time_shapes(shapes, stopwatch.visit, limit, refuse, show)
    if unsure:
        print(
            f"{len(unsure)} of {len(shapes)} shapes did not come under {100 * WIDTH:.0f} % in "
            f"{limit:g} s each: a quiet machine, or more --seconds with --again, makes them surer"
        )


def _announce(shapes: list, stopwatch, limit: float) -> str:
    """What is measured where, how long it takes at most, and whether the machine was busy."""
    runs = sum(len(shape.results) for shape in shapes)
    line = (
        f"{len(shapes)} shapes of {runs} runs on {stopwatch.name}, {stopwatch.threads} threads: "
        f"at most about {limit * len(shapes) / 60:.1f} minutes"
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY * cores():
        line += (
            f"\nthe machine was busy in the last minute (load {load:.1f}, {cores()} cores): "
            "what still runs makes these speeds too low"
        )
    return line


def _line(shape) -> str:
    speeds = shape.speeds
    width = f"{100 * shape.width:.1f} %" if math.isfinite(shape.width) else "unknown"
    return (
        f"{shape}: training {speeds['tokens_per_s']:,.0f} tokens/s, prompts "
        f"{speeds['prefill_tokens_per_s']:,.0f} tokens/s, decoding "
        f"{speeds['decode_ms_per_token']:.2f} ms a token; 95 % interval {width}, "
        f"{len(shape.visits)} rounds"
    )
