"""Schedule the cells of a sweep: skip finished ones, name failures, end all on an interrupt."""

import sys
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from ..errors import CellError
from .deadline import Deadline
from .engines import Engine, Papermill
from .execution import Execution, plan_execution, plan_view
from .keeper import Keeper
from .spec import Cell, Numbered, Sweep

POLL_S = 0.2  # seconds between two looks at the cells under way
GRACE_S = 10  # seconds that an interrupted cell has to keep its run


def execute_sweep(
    sweep: Sweep,
    engine: Engine | None = None,
    deadline: Deadline | None = None,
    keeper: Keeper | None = None,
) -> dict[str, str]:
    """Train every cell that is not finished, as many at a time as `engine` takes (default: one).

    Returns the failed cells with the reason of each. Under `kill` a cell begins after the baseline
    that it compares with, and waits for its curve where it overtakes it. A cell of several stages
    comes back for each.

    At the `deadline` those under way are asked to keep their runs; it then knows what is left. The
    `keeper` is called whenever runs may have been finished.
    """
    keeper = keeper or Keeper(sweep.config.output_folder)
    sweep.folder.mkdir(parents=True, exist_ok=True)
    waiting = list(enumerate(sweep.cells, 1))
    schedule = Schedule(sweep, engine or Papermill(), waiting, deadline or Deadline())
    return _run_schedule(schedule, keeper)


def execute_views(sweep: Sweep, engine: Engine, deadline: Deadline | None = None) -> dict[str, str]:
    """Execute the notebooks of the cells that are finished and have no notebook that shows it.

    Returns the failed ones with the reason of each.
    """
    executions = [plan_view(sweep, *numbered) for numbered in enumerate(sweep.cells, 1)]
    waiting = [(view.number, view.cell) for view in executions if view.view]
    schedule = Schedule(sweep, engine, waiting, deadline or Deadline(), plan_view)
    failures = _run_schedule(schedule, Keeper(sweep.config.output_folder))
    schedule.deadline.notebooks = len(schedule.waiting) + len(schedule.running)
    return failures


def _run_schedule(schedule: "Schedule", keeper: Keeper) -> dict[str, str]:
    """Execute all that waits; returns what failed."""
    with _progress_bar(schedule.waiting) as bar:
        try:
            while schedule.goes_on():
                schedule.start_waiting()
                if schedule.is_stuck():
                    break
                schedule.show(bar)
                if not _conclude_ended(schedule, keeper):
                    time.sleep(POLL_S)
            _conclude_ended(schedule, keeper)  # what ended just before the deadline
        finally:
            schedule.deadline.cut += schedule.running
            _end(schedule.running)
            keeper.keep()
    return schedule.failed


def _conclude_ended(schedule: "Schedule", keeper: Keeper) -> bool:
    """Conclude what has ended and print how; whether anything has."""
    ended = [execution for execution in schedule.running if execution.ended()]
    for execution in ended:
        message = schedule.conclude(execution)
        place = f"[{execution.number}/{len(schedule.sweep.cells)}]"
        tqdm.write(f"{place} {execution.stage.title}: {message}")
        sys.stdout.flush()
        if execution.process:
            keeper.keep()
    return bool(ended)


def _progress_bar(waiting: list[Numbered]) -> Any:
    """A bar over the tokens of all cells, on a terminal only."""
    return tqdm(
        total=sum(cell.budget for _, cell in waiting),
        unit="token",
        unit_scale=True,
        smoothing=0.02,
        disable=not sys.stderr.isatty(),
    )


@dataclass
class Schedule:
    """Which cells of a sweep wait (with their numbers from 1), run, or have failed."""

    sweep: Sweep
    engine: Engine
    waiting: list[Numbered]
    deadline: Deadline
    plan: Callable[[Sweep, int, Cell], Execution] = plan_execution
    running: list[Execution] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    tokens: int = 0  # the budgets of what has ended

    def goes_on(self) -> bool:
        """Whether anything is left that the deadline allows."""
        return bool(self.waiting or self.running) and self.deadline.left_s > 0

    def is_stuck(self) -> bool:
        """Whether what waits needs what the deadline left out, and not only a worker."""
        return not self.running and bool(self.engine.ready(self.waiting))

    def start_waiting(self) -> None:
        """Start what can be started, as long as the engine has room."""
        while self.waiting and len(self.running) < self.engine.jobs:
            execution = self.next_execution()
            if execution is None:
                return
            self.waiting.remove((execution.number, execution.cell))
            if not self.deadline.allows(execution):
                continue
            self.running.append(execution)
            execution.start(self.engine, self.waiting)

    def next_execution(self) -> Execution | None:
        """The first cell whose runs nobody trains.

        If other sweeps hold all of them, the first, to wait for them. None while all need what this
        sweep itself trains: a run that two cells share, or the baseline's learning rate.
        """
        not_begun = [cell for _, cell in self.waiting]
        not_begun += [execution.cell for execution, _ in self.deadline.refused]
        under_way = [execution.cell for execution in self.running]
        ready = self.engine.ready(self.waiting)
        executions = (self.plan(self.sweep, *numbered) for numbered in ready)
        unblocked = (
            execution
            for execution in executions
            if not self._is_blocked(execution, not_begun, under_way)
        )
        first = next(unblocked, None)
        if first is None or not first.held_elsewhere():
            return first
        return next((execution for execution in unblocked if not execution.held_elsewhere()), first)

    def _is_blocked(
        self, execution: Execution, not_begun: list[Cell], under_way: list[Cell]
    ) -> bool:
        if execution.follows(not_begun) or execution.waits(not_begun + under_way):
            return True
        return any(execution.shares_run(other) for other in self.running)

    def show(self, bar: Any) -> None:
        """Move the bar to the tokens trained so far, and name the cells under way."""
        tokens = self.tokens + sum(execution.tokens() for execution in self.running)
        bar.update(tokens - bar.n)
        bar.set_description(", ".join(execution.stage.title for execution in self.running))

    def conclude(self, execution: Execution) -> str:
        """Take an execution that has ended off the schedule; a line that says how it ended."""
        self.running.remove(execution)
        self.deadline.conclude(execution)
        self.tokens += execution.stage.budget
        try:
            message = execution.outcome()
        except CellError as error:
            message = str(error)
            is_told = message in self.failed.values()
            self.failed[execution.stage.title] = message
            return "failed for the same reason" if is_told else message
        if not execution.is_last:
            insort(self.waiting, (execution.number, execution.cell))
        return message


def _end(running: list[Execution]) -> None:
    """No cell outlives an interrupted sweep: each is asked to keep its run, then killed."""
    processes = [execution.process for execution in running if execution.process]
    for process in processes:
        process.interrupt()
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(deadline - time.monotonic())
        except BaseException:  # not in time, or a second Ctrl-C
            process.kill()
    for execution in running:
        execution.discard()
