"""Plan one execution of a cell: which stage comes next, its notebook, log and outcome."""

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CellError, UserError
from ..runs import Run, last_record
from .engines import Engine, Process, Task
from .spec import Cell, Numbered, Sweep, losses_by_lr


@dataclass(eq=False)
class Execution:
    """One cell on its way: a process, or none where there is nothing left to train.

    `stage` is the stage of the cell that is executed. A `view` only executes the notebook of a cell
    whose runs are finished.
    """

    sweep: Sweep
    number: int
    cell: Cell
    stage: Cell
    runs: list[Run] = field(default_factory=list)
    error: str | None = None
    process: Process | None = None
    view: bool = False

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.sweep.folder / f"{self.stage.name}.ipynb"

    @property
    def log(self) -> Path:
        """Where the output is kept if the cell fails."""
        if self.runs:
            return self.sweep.log(self.stage, self.runs)
        return self.sweep.folder / f"{self.stage.name}.log"

    @property
    def output(self) -> Path:
        """Where the output is written to."""
        return self.log.with_name(f".{self.log.name}.{os.getpid()}")

    @property
    def is_last(self) -> bool:
        """Whether this is the cell's last stage."""
        return self.stage.name == self.cell.name

    @property
    def finished(self) -> bool:
        return all(run.finished for run in self.runs)

    def shares_run(self, other: "Execution") -> bool:
        return bool({run.id for run in self.runs} & {run.id for run in other.runs})

    def waits(self, pending: list[Cell]) -> bool:
        """Whether it needs the baseline's own learning rate, which is not chosen yet.

        Early stop of a tuned cell's last stage compares with the baseline at that rate.
        """
        if not self.cell.tuning or self.error or not self.is_last:
            return False
        if self.stage.valid_config.baseline_lr is not None:
            return False
        return self.sweep.baseline_of(self.cell) in pending

    def follows(self, not_begun: list[Cell]) -> bool:
        """Whether `kill` would compare it with a run that has not begun, so has no curve."""
        config = self.stage.config
        if config is None or config.early_stop != "kill":
            return False
        runs = set(config.runs())
        baselines = {single.baseline() for single in runs} - runs
        return any(
            cell.config and not baselines.isdisjoint(cell.config.runs()) for cell in not_begun
        )

    def held_elsewhere(self) -> bool:
        """Whether another sweep trains one of its runs just now."""
        return any(Run.holder(run.folder) for run in self.runs if not run.finished)

    def start(self, engine: Engine, waiting: list[Numbered]) -> None:
        """Start the process, unless all is done already or the cell is invalid."""
        if self.view or not (self.error or self.finished):
            folders = tuple(run.folder for run in self.runs)
            task = Task(self.stage, self.sweep.notebook, self._target, self.output, folders)
            self.process = engine.start(task, waiting)

    @property
    def _target(self) -> Path:
        """Where the notebook is executed: a view gets its name when it is whole."""
        if self.view:
            return self.notebook.with_name(f".{self.notebook.stem}.{os.getpid()}.ipynb")
        return self.notebook

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def tokens(self) -> int:
        """Tokens trained so far, of all runs of the cell."""
        return sum(last_record(run.folder).get("tokens", 0) for run in self.runs)

    def outcome(self) -> str:
        """What came out, in a line. CellError says why the cell failed.

        What papermill printed is kept as a log only if the cell failed.
        """
        if self.error:
            raise CellError(self.error)
        if self.process is None:
            return self.summary()
        self.log.unlink(missing_ok=True)
        if self.process.poll() or not self.finished:
            self.output.touch()  # a worker that was lost may not have come that far
            self.output.rename(self.log)
            message = last_line(self.log.read_text(encoding="utf-8", errors="replace"))
            raise CellError(f"{message} (log: {os.path.relpath(self.log)})")
        self.output.unlink(missing_ok=True)
        if self.view:
            os.replace(self._target, self.notebook)
            return os.path.relpath(self.notebook)
        return self.summary()

    def discard(self) -> None:
        """Remove what an execution that was ended has left: its run goes on, the rest does not."""
        self.output.unlink(missing_ok=True)
        if self.view:
            self._target.unlink(missing_ok=True)

    def summary(self) -> str:
        """The results of the runs, or the loss of each learning rate that was tried."""
        if self.is_last:
            return "; ".join(_describe_run(run) for run in self.runs)
        losses = losses_by_lr(self.stage, self.runs)
        return "learning rates " + ", ".join(
            f"{lr:g}: {_describe_loss(loss)}" for lr, loss in losses.items()
        )


def plan_execution(sweep: Sweep, number: int, cell: Cell) -> Execution:
    """Prepare the cell's corpus and find its first stage that is not finished.

    Where all are finished it is the last; that of an invalid cell has an error.
    """
    if cell.error:
        return Execution(sweep, number, cell, cell, error=cell.error)
    try:
        corpus = sweep.corpora.prepare(cell.valid_config)
    except UserError as error:
        return Execution(sweep, number, cell, cell, error=str(error))
    for stage in sweep.stages(cell, corpus):
        runs = stage.runs(corpus)
        execution = Execution(sweep, number, cell, stage, runs, stage.error)
        if not execution.finished:
            break
    return execution


def plan_view(sweep: Sweep, number: int, cell: Cell) -> Execution:
    """The execution of a finished cell's notebook, which shows what was trained elsewhere."""
    execution = plan_execution(sweep, number, cell)
    finished = bool(execution.runs) and execution.is_last and execution.finished
    execution.view = finished and _is_outdated(execution)
    return execution


def _is_outdated(execution: Execution) -> bool:
    """Whether the executed notebook is missing, or older than the records of its runs.

    Of a run that a table gave back there is nothing to show but its row.
    """
    folders = [run.folder for run in execution.runs]
    if not all((folder / "config.json").exists() for folder in folders):
        return False
    if not execution.notebook.exists():
        return True
    executed = execution.notebook.stat().st_mtime
    return any((folder / "metrics.jsonl").stat().st_mtime > executed for folder in folders)


def last_line(text: str) -> str:
    """The message of an error that papermill printed, without the name of the exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it ended without a message"
    return re.sub(r"^[\w.]+: ", "", lines[-1])


def _describe_run(run: Run) -> str:
    result = run.result
    assert result is not None, "only finished runs are described"
    loss = result["status"].replace("_", " ")
    if result["dev_loss"]:
        loss = f"dev loss {result['dev_loss']:.3f}"
    speed = "speed not measured"
    if result["tokens_per_s"]:
        speed = f"{result['tokens_per_s']:,.0f} tokens/s"
    seconds = "time not known"  # of a row that was put back without it
    if result["wall_s"] is not None:
        seconds = f"{result['wall_s']:.0f} s"
    return f"{loss}, {speed}, {seconds}, run {run.id}"


def _describe_loss(loss: float) -> str:
    return f"dev loss {loss:.3f}" if math.isfinite(loss) else "diverged"
