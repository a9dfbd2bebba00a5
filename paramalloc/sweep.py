"""A sweep: the cells that a YAML file in params/ describes, each executed by papermill in a process of its own.

The record is the run folder. A cell whose runs are finished is skipped, so the same command goes on where it stopped.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from .allocator import allocation
from .config import ROOT, AnalysisConfig, ConfigError, TrainConfig, UserError, load_yaml, refuse_unknown
from .data import Corpus, find, prepare
from .runs import RESULT_COLUMNS, Run, load_runs, read_metrics

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
        """Any valid cell's: dataset, vocabulary and outputs are the same in all of them."""
        valid = [cell.config for cell in self.cells if cell.config]
        if not valid:
            raise ConfigError(f"no cell of sweep {self.name} can be trained: {self.cells[0].error}")
        return valid[0]

    @property
    def folder(self) -> Path:
        return self.config.output_folder / "notebooks" / self.name


def load_sweep(source: str, **overrides) -> Sweep:
    """The sweep of a YAML file, or of params/<source>.yaml; overrides (profile, dataset, outputs) that are set win."""
    path = ROOT / source if source.endswith((".yaml", ".yml")) else ROOT / "params" / f"{source}.yaml"
    content = load_yaml(path)
    refuse_unknown(content, KEYS, "key")
    shared = content.get("parameters", {}) | {"profile": content.get("profile", "auto")}
    shared |= {name: value for name, value in overrides.items() if value}
    axes = content.get("axes", {})
    refuse_unknown([*shared, *axes], TrainConfig.names())
    cells = [make_cell(dict(zip(axes, values)), shared) for values in itertools.product(*axes.values())]
    cells.sort(key=lambda cell: cell.config is None or cell.config != cell.config.baseline())  # the baseline first
    return Sweep(path.stem, ROOT / "notebooks" / f"{content.get('notebook', 'train')}.ipynb", cells)


def make_cell(point: dict, shared: dict) -> Cell:
    name = "_".join(f"{axis}-{value}" for axis, value in point.items()) or "cell"
    parameters = shared | point
    try:
        config = TrainConfig.from_dict(parameters)
        allocation(config)
    except UserError as error:
        return Cell(name, parameters, None, str(error))
    return Cell(name, parameters, config)


# ----------------------------------------------------------------- execution


def run_sweep(sweep: Sweep) -> dict[str, str]:
    """Train every cell that is not finished; the failed cells with the reason of each."""
    corpus = prepare(sweep.config.dataset, sweep.config.vocab_size, sweep.config.output_folder, sweep.config.tokens)
    sweep.folder.mkdir(parents=True, exist_ok=True)
    failed = {}
    budget = sum(cell.config.tokens * len(cell.config.runs()) for cell in sweep.cells if cell.config)
    with tqdm(total=budget, unit="token", unit_scale=True, smoothing=0.02, disable=not sys.stderr.isatty()) as bar:
        for number, cell in enumerate(sweep.cells, 1):
            bar.set_description(cell.name)
            error = cell.error or run_cell(sweep, cell, corpus, bar)
            say = f"[{number}/{len(sweep.cells)}] {cell.name}: "
            if error:
                failed[cell.name] = error
            tqdm.write(say + (f"FAILED, {error}" if error else summary(cell, corpus)))
    return failed


def run_cell(sweep: Sweep, cell: Cell, corpus: Corpus, bar: tqdm) -> str | None:
    """Execute one cell, unless its runs are finished; why it failed, or None."""
    runs = cell.runs(corpus)
    before = bar.n
    if not all(run.finished for run in runs):
        notebook, log = sweep.folder / f"{cell.name}.ipynb", sweep.folder / f"{cell.name}.log"
        with open(log, "w", encoding="utf-8") as output:
            process = subprocess.Popen(papermill(sweep.notebook, notebook, cell.parameters), cwd=ROOT,
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            watch(process, runs, bar)
        if process.returncode or not all(run.finished for run in runs):
            return f"{last_line(log)} (log: {os.path.relpath(log)})"
        log.unlink()
    bar.update(before + cell.config.tokens * len(runs) - bar.n)
    return None


def papermill(source: Path, target: Path, parameters: dict) -> list[str]:
    """The command that executes a notebook; JSON is YAML, so names and values arrive with their types."""
    return [sys.executable, "-m", "papermill", str(source), str(target), "-k", "python3", "--no-progress-bar",
            "-y", json.dumps(parameters)]


def watch(process: subprocess.Popen, runs: list[Run], bar: tqdm):
    """Move the bar by what the runs record, until the process ends; it does not outlive an interrupted sweep."""
    before = bar.n
    try:
        while process.poll() is None:
            done = [read_metrics(run.folder) for run in runs]
            last = [records[-1] for records in done if records]
            bar.update(before + sum(record["tokens"] for record in last) - bar.n)
            dev = [record["dev_ppl"] for records in done for record in records if "dev_ppl" in record]
            bar.set_postfix_str(f"dev ppl {dev[-1]:.1f}" if dev else "")
            time.sleep(0.5)
    except BaseException:
        process.terminate()
        process.wait()
        raise


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "papermill ended without a word"


def summary(cell: Cell, corpus: Corpus) -> str:
    parts = []
    for run in cell.runs(corpus):
        result = run.result
        loss = f"dev loss {result['dev_loss']:.3f}" if result["dev_loss"] else result["status"].replace("_", " ")
        speed = f"{result['tokens_per_s']:,.0f} tokens/s" if result["tokens_per_s"] else "speed not measured"
        parts.append(f"{loss}, {speed}, {result['wall_s']:.0f} s, run {run.id}")
    return "; ".join(parts)


# ------------------------------------------------------------------- results


def select_runs(config: AnalysisConfig) -> pd.DataFrame:
    """The runs an analysis is about: all of them, or those a sweep expects, absent ones as `missing` or `failed`."""
    results = load_runs(config.output_folder)
    if not config.runs:
        return results[results.dataset == config.dataset] if config.dataset else results
    sweep = load_sweep(config.runs, profile=config.profile, dataset=config.dataset, outputs=config.outputs)
    corpus = find(sweep.config.dataset, sweep.config.vocab_size, sweep.config.output_folder, sweep.config.tokens)
    rows = [row for cell in sweep.cells for row in expected(sweep, cell, corpus)]
    frame = pd.DataFrame(rows, columns=RESULT_COLUMNS)
    return frame if (frame.status != "missing").any() else frame.iloc[:0]


def expected(sweep: Sweep, cell: Cell, corpus: Corpus | None) -> list[dict]:
    """One row per run of a cell: its result, or what is known of a run that has none."""
    status = "failed" if cell.error or (sweep.folder / f"{cell.name}.log").exists() else "missing"
    absent = {"status": status, "requested_share": cell.parameters.get("embed_share"),
              "requested_glu": cell.parameters.get("glu")}
    if cell.config is None:
        return [absent]
    runs = zip(cell.runs(corpus), cell.config.runs()) if corpus else ((None, config) for config in cell.config.runs())
    return [(run and run.result) or absent | {"lr": config.lr, "seed": config.seed} for run, config in runs]
