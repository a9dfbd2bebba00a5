"""Speeds of finished runs, one shape at a time: rounds in random order until they are sure enough.

Runs of one shape share their speeds, whatever their weights: they are measured once.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from ..allocation import peak_flops
from ..config import ModelConfig
from ..errors import RunError
from ..runs import COLUMNS, RESULT_COLUMNS, TIMED, as_json, held_here, hold, read_json

WIDTH = 0.03  # of the 95 % interval of a median, as a part of the median
LONGEST = 5  # times the seconds of a shape, for one whose width is not known by then
# What a speed depends on besides the shape of the model, and is the same in all runs of one.
TIMED_AT = (
    "seq_len",
    "batch_tokens",
    "parametrization",
    "optimizer",
    "precision",
    "device",
    "compiled",
)

Speeds = dict[str, float]  # columns of result.json
Clock = Callable[[], float]


@dataclass
class TimedShape:
    """Finished runs of one shape, and what was measured of it."""

    model: ModelConfig
    recipe: dict[str, Any]  # TIMED_AT
    results: dict[Path, dict[str, Any]] = field(default_factory=dict)  # by the run's folder
    visits: list[Speeds] = field(default_factory=list)
    seconds: float = 0.0  # of all visits

    def __str__(self) -> str:
        return f"{self.model.d_model} x {self.model.n_layers}, d_ff {self.model.d_ff}"

    @property
    def speeds(self) -> Speeds:
        """The median of each speed over the visits."""
        return {name: statistics.median(values) for name, values in self._by_name().items()}

    @property
    def width(self) -> float:
        """The widest interval of a speed, as a part of its median."""
        return max(interval_width(values) for values in self._by_name().values())

    def _by_name(self) -> dict[str, list[float]]:
        return {name: [visit[name] for visit in self.visits] for name in self.visits[0]}


def interval_width(values: list[float]) -> float:
    """The width of the 95 % interval of the values' median, as a part of it.

    Its ends are two of the values, by the binomial distribution (Hoefler & Belli 2015): nothing is
    assumed of how they scatter. Infinite with fewer than 6.

    >>> interval_width([100, 101, 99, 102, 100, 100])
    0.03
    """
    rank = _end_rank(len(values))
    if not rank:
        return math.inf
    ordered = sorted(values)
    return (ordered[-rank] - ordered[rank - 1]) / statistics.median(values)


def _end_rank(count: int) -> int:
    """Which of so many values, from below and from above, ends the interval; 0 for none."""
    tail = 0.0
    rank = 0
    while True:
        tail += math.comb(count, rank) / 2**count  # so many values below the median
        if tail > 0.025:
            return rank
        rank += 1


# ---------------------------------------------------------------- which runs


def group_by_shape(folders: Iterable[Path]) -> list[TimedShape]:
    """The completed runs in these folders, by shape."""
    shapes: dict[Any, TimedShape] = {}
    for folder in folders:
        result = read_json(folder / "result.json")
        if result is None or result["status"] != "completed":
            continue
        values = {name: _value(result, name) for name in COLUMNS}
        model = ModelConfig.from_record(values)
        recipe = {name: values[name] for name in TIMED_AT}
        shape = shapes.setdefault((model, *recipe.values()), TimedShape(model, recipe))
        shape.results[folder] = result
    return list(shapes.values())


def _value(result: Mapping[str, Any], name: str) -> Any:
    """A value of a result; that of older runs where it was not recorded."""
    value = result.get(name)
    return COLUMNS[name].before if value is None else value


def refuse_company(outputs: Path) -> None:
    """RunError while a living process of this machine works on a run of these outputs."""
    for run_id, holder in held_here(outputs / "runs").items():
        raise RunError(
            f"process {holder['pid']} works on run {run_id} on this machine: speeds are measured"
            " alone, so give the command again when it has ended (`paramalloc status` shows it)"
        )


# ---------------------------------------------------------------- rounds


def time_shapes(
    shapes: list[TimedShape],
    visit: Callable[[TimedShape], Speeds],
    limit: float,
    before_round: Callable[[], object],
    on_visit: Callable[[TimedShape, float, bool], object],
    clock: Clock = time.perf_counter,
) -> None:
    """Visit each shape once a round, in random order, until it is sure to WIDTH or `limit` is over.

    `limit`: seconds of a shape's visits; LONGEST times as many for the first ones, up to a width.
    `on_visit(shape, seconds, done)` is called after each visit.
    """
    random = Random(0)
    remaining = list(shapes)
    while remaining:
        before_round()
        random.shuffle(remaining)
        for shape in list(remaining):
            began = clock()
            shape.visits.append(visit(shape))
            seconds = clock() - began
            shape.seconds += seconds
            done = shape.width < WIDTH or _is_over(shape, limit)
            if done:
                remaining.remove(shape)
            on_visit(shape, seconds, done)


def _is_over(shape: TimedShape, limit: float) -> bool:
    if math.isinf(shape.width):
        return shape.seconds >= LONGEST * limit
    return shape.seconds >= limit


# ---------------------------------------------------------------- rows


def known_speeds(shape: TimedShape, device: str, threads: int) -> dict[str, Any] | None:
    """The timed columns of a run of this shape that was timed, on this device if one was."""
    timed = [result for result in shape.results.values() if result.get("speeds") == "alone"]
    here = [result for result in timed if _place(result) == (device, threads)]
    for result in here or timed:
        return {name: result.get(name) for name in TIMED}
    return None


def _place(result: Mapping[str, Any]) -> tuple[Any, Any]:
    return result.get("inference_device"), result.get("speeds_threads")


def share_speeds(shape: TimedShape, columns: dict[str, Any]) -> None:
    """Record what is known of a shape for its runs that were not timed."""
    new = {run: result for run, result in shape.results.items() if result.get("speeds") != "alone"}
    record_speeds(replace(shape, results=new), columns)


def record_speeds(shape: TimedShape, columns: dict[str, Any]) -> None:
    """Write the timed columns into the result of every run of a shape, each under its lease."""
    for folder in shape.results:
        with hold(folder / "lease") as lease:
            result = read_json(folder / "result.json")
            if result is None:  # it is being trained again
                continue
            result |= columns | {"mfu": _utilisation(result, columns)}
            ordered = {name: result.get(name) for name in RESULT_COLUMNS}
            lease.write(folder / "result.json", as_json(ordered))


def _utilisation(result: dict[str, Any], columns: dict[str, Any]) -> float | None:
    """FLOPs per second of training as a part of the device's peak, where that is known."""
    peak = peak_flops(columns["inference_device"])
    flops = result.get("flops_per_token")
    if not peak or not flops:
        return None
    return float(flops * columns["tokens_per_s"] / peak)
