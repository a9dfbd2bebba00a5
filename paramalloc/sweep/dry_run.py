"""What a sweep would do, and what it would take on this machine: `paramalloc sweep --dry-run`. No torch."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace

import pandas as pd

from ..allocation import allocation, flops_per_token, memory_bytes
from ..config import ROOT, TrainConfig
from ..data import Corpus, find
from ..errors import DataError, UserError
from ..runs import Run
from .engines import cores
from .spec import Cell, Sweep

HOUR = 3600.0
FLOPS_PER_CORE = (
    1e11  # a CPU core's, about; only to tell minutes from days before anything is measured
)
START_S = 6.0  # papermill, its kernel and its imports, on two cores
HELD_OUT = 0.04  # of the training tokens, where a corpus is not prepared yet: dev and test


def rough_seconds(sweep: Sweep) -> float:
    """Training time of what is left to train on this machine's cores, to an order of magnitude."""
    left = [
        run
        for stage in stages(sweep)
        if stage.config
        for run, state in states(stage)
        if state == "run"
    ]
    flops = sum(
        run.tokens * flops_per_token(allocation(run).model, run.seq_len)["train"] for run in left
    )
    return flops / (FLOPS_PER_CORE * cores())


def stages(sweep: Sweep) -> list[Cell]:
    """The executions of all cells; of a tuned one those that are known, and its claim, whose lr may not be."""
    return [
        stage
        for cell in sweep.cells
        for stage in sweep.stages(cell, corpus_of(cell.config) if cell.config else None)
    ]


def states(cell: Cell) -> list[tuple[TrainConfig, str]]:
    """Each run of a cell, and what would be done with it."""
    corpus = corpus_of(cell.config)
    runs = cell.runs(corpus) if corpus else []
    return list(zip(cell.config.runs(), map(state, runs) if runs else itertools.repeat("run")))


def corpus_of(config: TrainConfig) -> Corpus | None:
    """The corpus of a run if it is prepared already; a dataset that is not there fails when its cell is trained."""
    try:
        return find(config.dataset, config.vocab_size, config.output_folder, config.tokens)
    except DataError:
        return None


def state(run: Run) -> str:
    if run.finished:
        return f"skip: {run.result['status'].replace('_', ' ')}"
    if holder := Run.holder(run.folder):
        return f"wait: process {holder['pid']} trains it"
    return "run"


def predict_sweep(sweep: Sweep, jobs: int) -> pd.DataFrame:
    """One row per run: its shape, what would be done, training FLOPs, predicted seconds and memory. A probe of `jobs`
    processes at a time trains a few steps of each cell that has anything to do."""
    rows = [row for stage in stages(sweep) for row in rows_of(stage)]
    todo = [row for row in rows if row["what"] == "run"]
    alike = list(dict.fromkeys(pace(row["config"]) for row in todo))
    found = dict(zip(alike, measured(alike, jobs)))
    for row in todo:
        row["seconds"] = predicted(row["config"], found[pace(row["config"])])
    return pd.DataFrame(
        rows,
        columns=[
            "cell",
            "seed",
            "lr",
            "shape",
            "what",
            "config",
            "train FLOPs",
            "memory",
            "disk",
            "seconds",
        ],
    )


def pace(config: TrainConfig) -> str:
    """A config as the probe reads it, without what no speed depends on."""
    return json.dumps(
        asdict(
            replace(config, lr=None, seed=0, baseline_lr=None, early_stop="off", smallbench="off")
        )
    )


def rows_of(cell: Cell) -> list[dict]:
    if cell.config is None:
        return [{"cell": cell.name, "what": f"cannot be: {cell.error}"}]
    shape = allocation(cell.config)
    total = shape.params["total"]
    return [
        {
            "cell": cell.name,
            "seed": config.seed,
            "lr": config.lr,
            "config": config,
            "what": what,
            "shape": f"{shape.model.d_model} x {shape.model.n_layers}, d_ff {shape.model.d_ff}",
            "train FLOPs": config.steps
            * config.batch_tokens
            * flops_per_token(shape.model, config.seq_len)["train"],
            "memory": memory_bytes(shape.model, config.seq_len, config.batch_tokens)["training"],
            "disk": 4 * total if what == "run" else 0,
        }
        for config, what in states(cell)
    ]


def measured(configs: list[str], jobs: int) -> list[dict]:
    """The mean of what `jobs` probes measure that run side by side, as cells would."""
    if not configs:
        return []
    threads = {} if jobs == 1 else {"OMP_NUM_THREADS": str(max(1, cores() // jobs))}
    command = [sys.executable, "-m", "paramalloc.sweep.probe"]
    probes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | threads,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(jobs)
    ]
    try:
        for probe in probes:
            with suppress(BrokenPipeError):  # one that ended already says why below
                probe.stdin.write(f"[{','.join(configs)}]")
                probe.stdin.close()
            probe.stdin = None
        said = [probe.communicate() for probe in probes]
    finally:
        for probe in probes:
            probe.kill()  # of an interrupted dry run nothing goes on; one that has ended does not notice
    if failed := [error for probe, (_, error) in zip(probes, said) if probe.returncode]:
        raise UserError(
            f"the probe failed: {(failed[0].strip().splitlines() or ['it said nothing'])[-1]}"
        )
    found = [[json.loads(line) for line in out.splitlines()] for out, _ in said]
    return [
        {name: sum(one[name] for one in same) / jobs for name in same[0]} for same in zip(*found)
    ]


def predicted(config: TrainConfig, probe: dict) -> float:
    """Seconds of a run: start, steps, probes, and both splits in full."""
    corpus = corpus_of(config)
    splits = corpus.meta["splits"] if corpus else None
    held_out = (
        splits["valid"]["tokens"] + splits["test"]["tokens"] if splits else HELD_OUT * config.tokens
    )
    return (
        START_S
        + config.steps * probe["step_s"]
        + (held_out + config.probes * config.probe_tokens) * probe["score_s"]
    )


def shown(frame: pd.DataFrame, jobs: int, folder) -> str:
    """The table and its sums as text. A learning rate that is not chosen yet is "tuned"; what it will be costs the same."""
    number = lambda value, unit, size: "" if pd.isna(value) else f"{value / size:,.3g} {unit}"
    text = frame.drop(columns=["config", "disk"]).assign(
        lr=frame["lr"].astype(object).where(frame["lr"].notna() | frame["config"].isna(), "tuned"),
        **{
            "train FLOPs": frame["train FLOPs"].map(lambda value: number(value, "T", 1e12)),
            "memory": frame["memory"].map(lambda value: number(value, "GB", 1e9)),
            "seconds": frame["seconds"].map(clock),
        },
    )
    todo = frame[frame.what == "run"]
    at_once = (
        3 * 12 * (todo["disk"] / 4).nlargest(jobs).sum()
    )  # of each run under way two checkpoints and one in the making
    free = shutil.disk_usage(next(path for path in [folder, *folder.parents] if path.exists())).free
    disk = todo["disk"].sum() + at_once
    first = [
        "tuned: only the first round of learning rates is predicted; more follow where the best lies on the edge of the grid"
    ]
    return "\n".join(
        [
            text.astype(object)
            .fillna("")
            .rename(columns={"seconds": "predicted"})
            .to_string(index=False),
            f"{len(todo)} of {len(frame)} runs to train, {todo['train FLOPs'].sum() / 1e12:,.0f} TFLOP; "
            f"predicted {clock(todo['seconds'].sum() / min(jobs, max(1, len(todo))))} with {jobs} at a time, without SmallBench and an early stop",
            f"disk: {disk / 1e9:,.2f} GB of {free / 1e9:,.0f} GB that are free"
            + (": NOT ENOUGH" if disk > free else ""),
            *first * bool((todo["lr"].isna()).any()),
        ]
    )


def clock(seconds: float) -> str:
    if pd.isna(seconds):
        return ""
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02}:{int(seconds) % 60:02}"
