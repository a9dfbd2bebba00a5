"""The cells of a sweep, executed: what is finished is skipped, what fails is named, and the others go on."""

import math
import os
import re
import sys
import time
from bisect import insort

from tqdm import tqdm

from ..data import prepare
from ..errors import CellError, UserError
from ..runs import Run, read_metrics
from .engines import Local
from .spec import Cell, Sweep, mean_losses


def run_sweep(sweep: Sweep, engine: Local = Local()) -> dict[str, str]:
    """Train every cell that is not finished, as many at a time as `engine` takes; the failed cells with the reason of each.

    The first cell is the baseline that early stop compares with; the others wait for its curve where they overtake it.
    All get the same part of the cores, so that their speeds compare. A cell that takes several stages comes back for each.
    """
    sweep.folder.mkdir(parents=True, exist_ok=True)
    waiting, running, failed, done = list(enumerate(sweep.cells, 1)), [], {}, 0
    budget = sum(cell.budget for cell in sweep.cells)
    with tqdm(
        total=budget, unit="token", unit_scale=True, smoothing=0.02, disable=not sys.stderr.isatty()
    ) as bar:
        try:
            while waiting or running:
                while (
                    waiting
                    and len(running) < engine.jobs
                    and (execution := next_one(sweep, waiting, running))
                ):
                    waiting.remove((execution.number, execution.whole))
                    running.append(execution)
                    execution.start(engine)
                ended = [execution for execution in running if execution.ended()]
                bar.update(done + sum(execution.tokens() for execution in running) - bar.n)
                bar.set_description(", ".join(execution.cell.name for execution in running))
                for execution in ended:
                    running.remove(execution)
                    done += execution.budget
                    try:
                        said = execution.outcome()
                        if execution.cell.name != execution.whole.name:
                            insort(waiting, (execution.number, execution.whole))
                    except CellError as error:
                        said = failed[execution.cell.name] = str(error)
                    tqdm.write(
                        f"[{execution.number}/{len(sweep.cells)}] {execution.cell.name}: {said}"
                    )
                    sys.stdout.flush()
                time.sleep(0.2 if running and not ended else 0)
        finally:
            end(running)
    return failed


def next_one(sweep: Sweep, waiting: list, running: list["Execution"]) -> "Execution | None":
    """The first cell whose runs nobody trains; if others hold all of them, the first, to wait for them. None while all need
    what this sweep itself trains: a run that two cells share, or the baseline's learning rate."""
    pending = [cell for _, cell in waiting] + [execution.whole for execution in running]
    executions = (Execution(sweep, *cell) for cell in waiting)
    free = (
        one
        for one in executions
        if not one.waits(pending) and not any(one.shares_run(other) for other in running)
    )
    first = next(free, None)
    if first is None or not first.held_elsewhere():
        return first
    return next((one for one in free if not one.held_elsewhere()), first)


def end(running: list["Execution"]):
    """No cell outlives an interrupted sweep: each is asked to keep its run and end, and killed after 10 s."""
    processes = [execution.process for execution in running if execution.process]
    for process in processes:
        process.interrupt()
    deadline = time.monotonic() + 10
    for process in processes:
        try:
            process.wait(deadline - time.monotonic())
        except BaseException:  # not in time, or a second Ctrl-C
            process.kill()
    for execution in running:
        execution.output.unlink(missing_ok=True)


class Stages:
    """A callback for `data.prepare`: a line for each stage as it begins."""

    def __init__(self):
        self.seen = set()

    def __call__(self, stage: str, fraction: float):
        if stage not in self.seen:
            self.seen.add(stage)
            print(f"preparing the corpus: {stage} …", flush=True)


class Execution:
    """One cell on its way: papermill in a process of its own, or nothing where all runs are finished or none can be. Of a cell
    that takes several stages it is the first that is not finished."""

    def __init__(self, sweep: Sweep, number: int, cell: Cell):
        self.sweep, self.number, self.whole, self.cell = sweep, number, cell, cell
        self.process, self.runs, self.error = None, [], cell.error
        if not self.error:
            self.prepare()
        self.budget, cell = self.cell.budget, self.cell
        self.log = sweep.log(cell, self.runs) if self.runs else sweep.folder / f"{cell.name}.log"
        self.output = self.log.with_name(f".{self.log.name}.{os.getpid()}")

    def shares_run(self, other: "Execution") -> bool:
        return bool({run.id for run in self.runs} & {run.id for run in other.runs})

    def waits(self, pending: list[Cell]) -> bool:
        """Early stop compares with the baseline at its own learning rate: a tuned cell's claim waits until that is chosen."""
        unknown = (
            self.whole.tuning
            and not self.error
            and self.cell.name == self.whole.name
            and self.cell.config.baseline_lr is None
        )
        return bool(unknown) and self.sweep.baseline_of(self.whole) in pending

    def held_elsewhere(self) -> bool:
        """Whether another sweep trains one of its runs just now."""
        return any(Run.holder(run.folder) for run in self.runs if not run.finished)

    def prepare(self):
        config = self.whole.config
        try:
            corpus = prepare(
                config.dataset, config.vocab_size, config.output_folder, config.tokens, Stages()
            )
        except UserError as error:
            self.error = str(error)
            return
        for self.cell in self.sweep.stages(self.whole, corpus):
            self.error, self.runs = (
                self.cell.error,
                self.cell.runs(corpus) if self.cell.config else [],
            )
            if not all(run.finished for run in self.runs):
                break

    def start(self, engine):
        """Unless all is done already. What papermill prints is kept as a log only if the cell fails."""
        if not self.error and not all(run.finished for run in self.runs):
            target = self.sweep.folder / f"{self.cell.name}.ipynb"
            self.process = engine.start(
                self.sweep.notebook, target, self.cell.parameters, self.output
            )

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def tokens(self) -> int:
        """Tokens trained so far, of all runs of the cell."""
        return sum(
            records[-1]["tokens"]
            for records in (read_metrics(run.folder) for run in self.runs)
            if records
        )

    def outcome(self) -> str:
        """What came out, in a line. CellError says why the cell failed."""
        if self.error:
            raise CellError(self.error)
        if self.process is None:
            return self.summary()
        self.log.unlink(missing_ok=True)
        if self.process.poll() or not all(run.finished for run in self.runs):
            self.output.touch()  # a worker that was lost may not have come that far
            self.output.rename(self.log)
            said = last_line(self.log.read_text(encoding="utf-8", errors="replace"))
            raise CellError(f"{said} (log: {os.path.relpath(self.log)})")
        self.output.unlink(missing_ok=True)
        return self.summary()

    def summary(self) -> str:
        if self.cell.name == self.whole.name:
            return "; ".join(map(summary, self.runs))
        losses = mean_losses(self.cell, self.runs).items()
        return "learning rates " + ", ".join(
            f"{lr:g}: {f'dev loss {loss:.3f}' if math.isfinite(loss) else 'diverged'}"
            for lr, loss in losses
        )


def last_line(text: str) -> str:
    """The message of an error as papermill prints it: its last line, without the name of the exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"^[\w.]+: ", "", lines[-1]) if lines else "papermill ended without a word"


def summary(run: Run) -> str:
    result = run.result
    loss = (
        f"dev loss {result['dev_loss']:.3f}"
        if result["dev_loss"]
        else result["status"].replace("_", " ")
    )
    speed = (
        f"{result['tokens_per_s']:,.0f} tokens/s"
        if result["tokens_per_s"]
        else "speed not measured"
    )
    return f"{loss}, {speed}, {result['wall_s']:.0f} s, run {run.id}"
