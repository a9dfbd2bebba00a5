"""A sweep: the cells that a YAML file in params/ describes, each executed by papermill in a process of its own.

The record is the run folder. A cell whose runs are finished is skipped, so the same command goes on where it stopped.
"""

import itertools
import json
import os
import re
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from .allocator import allocation
from .config import ROOT, AnalysisConfig, ConfigError, TrainConfig, UserError, load_yaml, refuse_unknown
from .data import Corpus, find, prepare
from .engines import Local
from .runs import Run, as_frame, load_runs, read_metrics, read_results, run_id

KEYS = ("notebook", "profile", "axes", "parameters")


@dataclass(frozen=True)
class Cell:
    """One execution of the notebook: its name, what it is given, and what that means (or why it cannot be)."""

    name: str
    parameters: dict
    config: TrainConfig | None
    error: str | None = None

    def runs(self, corpus: Corpus) -> list[Run]:
        return [Run(config, corpus.fingerprint) for config in self.config.runs()]


@dataclass(frozen=True)
class Sweep:
    name: str
    notebook: Path
    cells: list[Cell]

    @property
    def config(self) -> TrainConfig:
        """Any valid cell's: the outputs folder is the same in all of them."""
        valid = [cell.config for cell in self.cells if cell.config]
        if not valid:
            raise ConfigError(f"no cell of sweep {self.name} can be trained: {self.cells[0].error}")
        return valid[0]

    @property
    def folder(self) -> Path:
        return self.config.output_folder / "notebooks" / self.name

    def log(self, cell: Cell, runs: list[Run]) -> Path:
        """Where a failed cell's output is kept; other profiles and datasets have other runs."""
        return self.folder / f"{cell.name}.{runs[0].id}.log"


def load_sweep(source: str, **overrides) -> Sweep:
    """The sweep of a YAML file, or of params/<source>.yaml; overrides (profile, dataset, outputs, smallbench …) that are set win."""
    path = ROOT / source if source.endswith((".yaml", ".yml")) else ROOT / "params" / f"{source}.yaml"
    content = load_yaml(path)
    refuse_unknown(content, KEYS, "key")
    axes, parameters = content.get("axes") or {}, content.get("parameters") or {}
    if not isinstance(parameters, dict) or not isinstance(axes, dict):
        raise ConfigError(f"{path}: axes and parameters must hold names and values")
    for name, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{path}: axis {name} must be a list of values, as in {name}: [1, 2]")
    shared = {"profile": content.get("profile", "auto")} | parameters
    shared |= {name: value for name, value in overrides.items() if value}
    refuse_unknown([*shared, *axes], TrainConfig.names())
    cells = [make_cell(dict(zip(axes, values)), shared) for values in itertools.product(*axes.values())]
    names = Counter(cell.name for cell in cells)
    cells = [replace(cell, name=f"{cell.name}-{n}") if names[cell.name] > 1 else cell for n, cell in enumerate(cells, 1)]
    cells.sort(key=lambda cell: cell.config is None or cell.config != cell.config.baseline())  # the baseline first
    return Sweep(path.stem, ROOT / "notebooks" / f"{content.get('notebook', 'train')}.ipynb", cells)


def make_cell(point: dict, shared: dict) -> Cell:
    name = "_".join(f"{axis}-{value}" for axis, value in point.items()) or "cell"
    name = re.sub(r"[^\w.+-]+", "-", name)[:100]  # it becomes a file's, and a value may be a path
    parameters = shared | point
    try:
        config = TrainConfig.from_dict(parameters)
        allocation(config)
    except UserError as error:
        return Cell(name, parameters, None, str(error))
    return Cell(name, parameters, config)


# ----------------------------------------------------------------- execution


def run_sweep(sweep: Sweep, engine: Local = Local()) -> dict[str, str]:
    """Train every cell that is not finished, as many at a time as `engine` takes; the failed cells with the reason of each.

    The first cell is the baseline that early stop compares with; the others wait for its curve where they overtake it.
    All get the same part of the cores, so that their speeds compare.
    """
    sweep.folder.mkdir(parents=True, exist_ok=True)
    waiting, running, failed, done = list(enumerate(sweep.cells, 1)), [], {}, 0
    budget = sum(cell.config.tokens * len(cell.config.runs()) for cell in sweep.cells if cell.config)
    with tqdm(total=budget, unit="token", unit_scale=True, smoothing=0.02, disable=not sys.stderr.isatty()) as bar:
        try:
            while waiting or running:
                while waiting and len(running) < engine.jobs and (execution := next_one(sweep, waiting, running)):
                    waiting.remove((execution.number, execution.cell))
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
                    except CellError as error:
                        said = failed[execution.cell.name] = str(error)
                    tqdm.write(f"[{execution.number}/{len(sweep.cells)}] {execution.cell.name}: {said}")
                    sys.stdout.flush()
                time.sleep(0.2 if running and not ended else 0)
        finally:
            end(running)
    return failed


def next_one(sweep: Sweep, waiting: list, running: list["Execution"]) -> "Execution | None":
    """The first cell whose runs nobody trains; if others hold all of them, the first, to wait for them; None while this sweep
    itself trains what the first one needs, which will then be found finished."""
    first = Execution(sweep, *waiting[0])
    if any(first.shares_run(other) for other in running):
        return None
    if not first.held_elsewhere():
        return first
    others = (Execution(sweep, *cell) for cell in waiting[1:])
    free = (cell for cell in others if not cell.held_elsewhere() and not any(cell.shares_run(other) for other in running))
    return next(free, first)


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


class CellError(UserError):
    """Why a cell failed; the sweep goes on with the others."""


class Stages:
    """A callback for `data.prepare`: a line for each stage as it begins."""

    def __init__(self):
        self.seen = set()

    def __call__(self, stage: str, fraction: float):
        if stage not in self.seen:
            self.seen.add(stage)
            print(f"preparing the corpus: {stage} …", flush=True)


class Execution:
    """One cell on its way: papermill in a process of its own, or nothing where all runs are finished or none can be."""

    def __init__(self, sweep: Sweep, number: int, cell: Cell):
        self.sweep, self.number, self.cell = sweep, number, cell
        self.process, self.runs, self.error = None, [], cell.error
        self.budget = cell.config.tokens * len(cell.config.runs()) if cell.config else 0
        if not self.error:
            self.prepare()
        self.log = sweep.log(cell, self.runs) if self.runs else sweep.folder / f"{cell.name}.log"
        self.output = self.log.with_name(f".{self.log.name}.{os.getpid()}")

    def shares_run(self, other: "Execution") -> bool:
        return bool({run.id for run in self.runs} & {run.id for run in other.runs})

    def held_elsewhere(self) -> bool:
        """Whether another sweep trains one of its runs just now."""
        return any(Run.holder(run.folder) for run in self.runs if not run.finished)

    def prepare(self):
        config = self.cell.config
        try:
            corpus = prepare(config.dataset, config.vocab_size, config.output_folder, config.tokens, Stages())
        except UserError as error:
            self.error = str(error)
        else:
            self.runs = self.cell.runs(corpus)

    def start(self, engine):
        """Unless all is done already. What papermill prints is kept as a log only if the cell fails."""
        if not self.error and not all(run.finished for run in self.runs):
            target = self.sweep.folder / f"{self.cell.name}.ipynb"
            parameters = self.cell.parameters | {"profile": self.cell.config.profile}  # auto is what it is here, wherever it runs
            self.process = engine.start(self.sweep.notebook, target, parameters, self.output)

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def tokens(self) -> int:
        """Tokens trained so far, of all runs of the cell."""
        return sum(records[-1]["tokens"] for records in (read_metrics(run.folder) for run in self.runs) if records)

    def outcome(self) -> str:
        """What came out, in a line. CellError says why the cell failed."""
        if self.error:
            raise CellError(self.error)
        if self.process is None:
            return "; ".join(map(summary, self.runs))
        self.log.unlink(missing_ok=True)
        if self.process.poll() or not all(run.finished for run in self.runs):
            self.output.touch()  # a worker that was lost may not have come that far
            self.output.rename(self.log)
            said = last_line(self.log.read_text(encoding="utf-8", errors="replace"))
            raise CellError(f"{said} (log: {os.path.relpath(self.log)})")
        self.output.unlink(missing_ok=True)
        return "; ".join(map(summary, self.runs))


def papermill_words(sweep: Sweep, cell: Cell) -> list[str]:
    """What a user types after `papermill` to execute one cell alone."""
    path = lambda name: os.path.relpath(name)
    given = [word for name, value in cell.parameters.items() for word in ("-p", name, json.dumps(value) if isinstance(value, list) else str(value))]
    return [path(sweep.notebook), path(sweep.folder / f"{cell.name}.ipynb"), *given]


def last_line(text: str) -> str:
    """The message of an error as papermill prints it: its last line, without the name of the exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"^[\w.]+: ", "", lines[-1]) if lines else "papermill ended without a word"


def summary(run: Run) -> str:
    result = run.result
    loss = f"dev loss {result['dev_loss']:.3f}" if result["dev_loss"] else result["status"].replace("_", " ")
    speed = f"{result['tokens_per_s']:,.0f} tokens/s" if result["tokens_per_s"] else "speed not measured"
    return f"{loss}, {speed}, {result['wall_s']:.0f} s, run {run.id}"


# ------------------------------------------------------------------- results


def select_runs(config: AnalysisConfig) -> pd.DataFrame:
    """The runs an analysis is about: all of them, those of a results.csv, or those that a sweep expects, or several joined
    by `+`; absent ones are `missing` or `failed`. A run that two sweeps share is there once."""
    source = ROOT / config.runs
    if not config.runs or source.suffix == ".csv":
        results = read_results(source) if config.runs else load_runs(config.output_folder)
        return results[results.dataset == config.dataset] if config.dataset else results
    names = [config.runs] if source.is_file() else config.runs.split("+")
    sweeps = [load_sweep(name, profile=config.profile, dataset=config.dataset, outputs=config.outputs) for name in names]
    rows = {key: row for sweep in sweeps for cell in sweep.cells for key, row in expected(sweep, cell).items()}
    frame = as_frame(list(rows.values()))
    return frame if (frame.status != "missing").any() else frame.iloc[:0]


def expected(sweep: Sweep, cell: Cell) -> dict[str, dict]:
    """One row per run of a cell, by what tells the run from others: its result, or what is known of a run that has none."""
    config = cell.config
    if config is None:
        asked = {"requested_share": cell.parameters.get("embed_share"), "requested_glu": cell.parameters.get("glu")}
        return {f"{sweep.name}/{cell.name}": asked | {"status": "failed"}}
    corpus = find(config.dataset, config.vocab_size, config.output_folder, config.tokens)
    runs = cell.runs(corpus) if corpus else []
    status = "failed" if runs and sweep.log(cell, runs).exists() else "missing"
    found = {run.id: run.result or absent(config, status) for run, config in zip(runs, config.runs())}
    return found or {run_id(one, ""): absent(one, status) for one in config.runs()}


def absent(config: TrainConfig, status: str) -> dict:
    """What is known of a run without a result: its shape, and what was asked for."""
    shape = allocation(config)
    return asdict(shape.model) | {"status": status, "requested_share": shape.requested_share, "requested_glu": shape.requested_glu,
                                  "lr": config.lr, "seed": config.seed}
