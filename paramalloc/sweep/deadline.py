"""When a sweep has to end: which runs may still start, and what is left when it comes."""

import math
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from ..allocation import allocation, flops_per_token
from ..config import TrainConfig
from ..errors import ConfigError
from ..runs import Run, last_record, read_json
from .execution import Execution
from .spec import Cell, Sweep

GOES_ON = "the same command goes on"
COMPARABLE = 4.0  # a finished run tells of those with up to so many times its training FLOPs


def seconds_of(text: str) -> float:
    """The seconds of a duration; ConfigError if it is none.

    >>> seconds_of("90s"), seconds_of("1h30m")
    (90.0, 5400.0)
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text.strip())
    hours, minutes, seconds = [float(part or 0) for part in match.groups()] if match else [0.0] * 3
    total = 3600 * hours + 60 * minutes + seconds
    if not total:
        raise ConfigError(f"--deadline is a time with its unit, as 90s, 10m or 1h30m, not '{text}'")
    return total


def seconds_until(text: str, now: datetime) -> float:
    """The seconds until a clock shows this the next time; ConfigError if none ever does.

    >>> seconds_until("14:30", datetime(2026, 1, 1, 14, 0))
    1800.0
    """
    try:
        at = datetime.strptime(text.strip(), "%H:%M").time()
    except ValueError:
        raise ConfigError(f"--until is a time of the day, as 14:30, not '{text}'") from None
    end = datetime.combine(now.date(), at)
    if end <= now:
        end += timedelta(days=1)
    return end.timestamp() - now.timestamp()


class Finished(NamedTuple):
    """What a finished run took."""

    flops: float
    seconds: float
    threads: int | None


class Deadline:
    """Ends a sweep after so many seconds; without them it never does.

    A run is predicted from finished ones that were trained in the same outputs folder: from the
    nearest in training FLOPs, the slowest of several, with as many threads where there are such.
    `start_s` is added, which a process takes before it trains. What nothing is known of may start.
    """

    def __init__(
        self,
        seconds: float = math.inf,
        threads: int | None = None,
        start_s: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.end = clock() + seconds
        self.threads = threads
        self.start_s = start_s
        self.known: list[Finished] = []
        self.concluded: list[Execution] = []
        self.refused: list[tuple[Execution, float]] = []  # with its seconds, 0 where unknown
        self.cut: list[Execution] = []  # were under way at the deadline
        self.notebooks = 0  # that were still to be executed

    @property
    def is_set(self) -> bool:
        return self.end < math.inf

    @property
    def left_s(self) -> float:
        return self.end - self.clock()

    def learn(self, outputs: Path) -> None:
        """Learn from what was trained in an outputs folder; restored runs are of other machines."""
        for checkpoint in sorted((outputs / "runs").glob("*/checkpoint")):
            self._learn(read_json(checkpoint.parent / "result.json") or {})

    def _learn(self, result: dict[str, Any]) -> None:
        seconds, flops = result.get("wall_s"), result.get("train_flops")
        if result.get("status") == "completed" and seconds and flops:
            self.known.append(Finished(flops, seconds, result.get("threads")))

    def conclude(self, execution: Execution) -> None:
        """Note that an execution has ended, and learn from what it trained."""
        self.concluded.append(execution)
        if execution.process:
            for run in execution.runs:
                self._learn(run.result or {})

    def allows(self, execution: Execution) -> bool:
        """Whether it may start: it is predicted to end in time, or nothing is known of it."""
        if not self.is_set or execution.error or execution.finished:
            return True
        seconds = self.predict(execution) or 0.0
        if self.left_s > seconds:
            return True
        self.refused.append((execution, seconds))
        return False

    def predict(self, execution: Execution) -> float | None:
        """Seconds that the first unfinished run of an execution takes, or None.

        Others of its runs may be cut, and their checkpoints kept.
        """
        configs = execution.stage.valid_config.runs()
        runs = zip(configs, execution.runs, strict=True)
        config, run = next((config, run) for config, run in runs if not run.finished)
        flops = train_flops(config)
        pace = self._seconds_per_flop(flops)
        if pace is None:
            return None
        return self.start_s + flops * pace * _part_left(config, run)

    def _seconds_per_flop(self, flops: float) -> float | None:
        def distance(run: Finished) -> float:
            return abs(math.log(run.flops / flops))

        near = [run for run in self.known if distance(run) <= math.log(COMPARABLE)]
        near = [run for run in near if run.threads == self.threads] or near
        nearest = min(map(distance, near), default=None)
        paces = [run.seconds / run.flops for run in near if distance(run) == nearest]
        return max(paces, default=None)


def train_flops(config: TrainConfig) -> float:
    """Of a whole run, as its result will have them."""
    per_token = flops_per_token(allocation(config).model, config.seq_len)["train"]
    return float(config.steps * config.batch_tokens * per_token)


def _part_left(config: TrainConfig, run: Run) -> float:
    """The part of a run that is still to be trained; one without a checkpoint begins anew."""
    is_saved = (run.folder / "checkpoint").is_dir()
    trained = last_record(run.folder).get("tokens", 0) if is_saved else 0
    return max(0.0, 1 - trained / config.tokens)


# ---- what is left


def describe_left(sweep: Sweep, deadline: Deadline) -> str:
    """How many runs are done and how many are left, in a line; empty where none is left."""
    runs = expected_runs(sweep)
    total, done = len(runs), sum(runs.values())
    cut = {run.id for one in deadline.cut for run in one.runs if _is_kept(run)}
    failed = _failures(deadline.concluded)
    waiting = total - done - len(cut) - failed
    if not cut and not waiting:
        return _describe_notebooks(deadline)
    parts = [f"{done} of {total} runs are done"]
    if failed:
        parts.append(f"{failed} failed")
    if cut:
        parts.append(f"the deadline ended {len(cut)}, whose checkpoints are kept")
    if waiting:
        parts.append(f"{waiting} not begun")
    return f"{', '.join(parts)}; {_describe_next(deadline)}"


def _describe_notebooks(deadline: Deadline) -> str:
    """Of a sweep that has no run left."""
    if not deadline.notebooks:
        return ""
    return f"no run is left, {deadline.notebooks} notebooks not executed; {GOES_ON}"


def _describe_next(deadline: Deadline) -> str:
    """What to do next: a deadline that no run fits needs another one."""
    is_progress = deadline.cut or any(execution.process for execution in deadline.concluded)
    shortest = min((seconds for _, seconds in deadline.refused), default=0.0)
    if is_progress or not shortest:
        return GOES_ON
    return f"no run is predicted to end in time: give a deadline of at least {shortest:,.0f} s"


def _failures(executions: list[Execution]) -> int:
    """How many runs failed, also before their corpus was known, and so their ids."""
    known = {run.id for one in executions for run in one.runs if not run.finished}
    unknown = [
        one.cell.valid_config.runs() for one in executions if one.cell.config and not one.runs
    ]
    return len(known) + sum(map(len, unknown))


def _is_kept(run: Run) -> bool:
    return not run.finished and (run.folder / "checkpoint").is_dir()


def expected_runs(sweep: Sweep) -> dict[str, bool]:
    """Each run that a sweep expects, as far as it is known, and whether it is finished."""
    runs: dict[str, bool] = {}
    for cell in sweep.cells:
        if cell.config is None:
            continue
        corpus = sweep.prepared_corpus(cell.config)
        for stage in sweep.stages(cell, corpus):
            runs |= _stage_runs(stage, corpus)
    return runs


def _stage_runs(stage: Cell, corpus: Any) -> dict[str, bool]:
    """A run without an id, whose corpus or learning rate is not known, has its cell's name."""
    if stage.config is None:
        return {}
    runs = {run.id: run.finished for run in stage.runs(corpus)}
    unknown = {f"{stage.name} {number}": False for number in range(len(stage.config.runs()))}
    return runs or unknown
