"""`paramalloc time`: measure the speeds of finished runs alone."""

import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
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
        help="Time for a shape, which ends earlier once the 95 %% interval of each speed is under "
        f"3 %%, and later before its sixth round (default: {SHAPE_SECONDS}).",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="Measure also the shapes that were measured before, here or on another device.",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="auto, cpu, cuda or cuda:N (default: auto).",
    )
    add_overrides(parser)


def run_time(arguments) -> None:
    from ..sweep import group_by_shape, refuse_company

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

    stopwatch = Stopwatch(arguments.device)
    todo = shapes if arguments.again else _leave_known(shapes, stopwatch)
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


def _leave_known(shapes: list, stopwatch) -> list:
    """The shapes that nobody timed. New runs of the others take over what is known of them."""
    from ..sweep import known_speeds, share_speeds

    here = (stopwatch.name, stopwatch.threads)
    todo = []
    places = Counter()
    for shape in shapes:
        known = known_speeds(shape, *here)
        if known:
            share_speeds(shape, known)
            places[known["inference_device"], known["speeds_threads"]] += 1
        else:
            todo.append(shape)
    for place, count in places.items():
        where = "this device" if place == here else f"{place[0]}, {place[1]} threads,"
        print(
            f"{count} of {len(shapes)} shapes were timed on {where} before and stay as they are: "
            "--again measures them here"
        )
    return todo


def _time_shapes(shapes: list, stopwatch, limit: float, refuse: Callable[[], object]) -> None:
    """Measure the shapes, with a line for each, and a bar on a terminal."""
    from ..sweep import record_speeds, time_shapes

    print(_announce(shapes, stopwatch, limit))
    bar = tqdm(
        total=limit * len(shapes),
        desc=f"{len(shapes)} shapes",
        bar_format="{desc} {percentage:3.0f} %|{bar}| {elapsed}, about {remaining} left",
        disable=not sys.stderr.isatty(),
        leave=False,
    )
    plain = []

    def show(shape, seconds: float, done: bool) -> None:
        before = min(limit, shape.seconds - seconds)
        bar.update(limit - before if done else min(limit, shape.seconds) - before)
        if done:
            columns = stopwatch.columns(shape)
            record_speeds(shape, columns)
            bar.write(_line(shape))
            if not columns["graphed"]:
                plain.append(shape)

    with bar:
        for batch in stopwatch.batches(shapes):
            for shape in batch:
                refuse()
                stopwatch.prepare(shape)
            time_shapes(batch, stopwatch.visit, limit, refuse, show)
    for line in _doubts(shapes, plain, limit):
        print(line)


def _doubts(shapes: list, plain: list, limit: float) -> Iterator[str]:
    """What makes the speeds less sure, or keeps them from being compared, in a line each."""
    from ..sweep import LONGEST, WIDTH

    unsure = [shape for shape in shapes if shape.width >= WIDTH]
    if unsure:
        yield (
            f"{len(unsure)} of {len(shapes)} shapes did not come under {100 * WIDTH:.0f} % in "
            f"{limit:g} s each: a quiet machine, or more --seconds with --again, makes them surer"
        )
    unknown = [shape for shape in unsure if math.isinf(shape.width)]
    if unknown:
        yield (
            f"{len(unknown)} of them had fewer than six rounds in {LONGEST} times as long: their "
            "interval is unknown"
        )
    if plain and len(plain) < len(shapes):
        runs = " ".join(next(iter(shape.results)).name for shape in plain)
        yield (
            f"the steps of {len(plain)} of {len(shapes)} shapes could not be recorded as one CUDA "
            "graph and were launched one by one, so reports do not compare them with the others: "
            f"`paramalloc time RUN --again` tries each alone ({runs})"
        )


def _announce(shapes: list, stopwatch, limit: float) -> str:
    """What is measured where, how long it takes at most, and whether the machine was busy."""
    runs = sum(len(shape.results) for shape in shapes)
    line = (
        f"{len(shapes)} shapes of {runs} runs on {stopwatch.name}, {stopwatch.threads} threads: "
        f"about {limit * len(shapes) / 60:.1f} minutes or less, more where six rounds take longer"
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
