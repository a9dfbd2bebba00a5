"""What a sweep would do, and what it would take on this machine: `paramalloc sweep --dry-run`."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ..allocation import allocation, flops_per_token, memory_bytes
from ..config import TrainConfig, cores
from ..data import Corpus
from ..runs import Run
from .spec import Cell, Sweep
from .speeds import measure_speeds

HOUR = 3600.0
FLOPS_PER_CORE = 1e11  # about; it tells minutes from days before anything is measured
START_S = 6.0  # seconds of a process and its imports, on two cores
HELD_OUT = 0.04  # dev and test, as a part of the training tokens, before a corpus is prepared
CHECKPOINT_BYTES = 12  # per parameter: the weights and two moments of the optimizer
CHECKPOINTS = 3  # of a run under way at once: two are kept while a third is written
PLAN_COLUMNS = [
    "cell",
    "seed",
    "lr",
    "shape",
    "action",
    "config",
    "train FLOPs",
    "memory",
    "disk",
    "seconds",
]


def rough_seconds(sweep: Sweep) -> float:
    """Training time of what is left to train on this machine's cores, to an order of magnitude."""
    flops = 0.0
    for stage in all_stages(sweep):
        for config in _configs_to_train(sweep, stage):
            model = allocation(config).model
            flops += config.tokens * flops_per_token(model, config.seq_len)["train"]
    return flops / (FLOPS_PER_CORE * cores())


def _configs_to_train(sweep: Sweep, stage: Cell) -> list[TrainConfig]:
    if stage.config is None:
        return []
    return [config for config, action in _actions(sweep, stage) if action == "run"]


def all_stages(sweep: Sweep) -> list[Cell]:
    """The executions of all cells.

    Of a tuned cell those that are known so far, and the last one, whose lr may be open.
    """
    stages = []
    for cell in sweep.cells:
        corpus = sweep.prepared_corpus(cell.config) if cell.config else None
        stages += sweep.stages(cell, corpus)
    return stages


def _actions(sweep: Sweep, stage: Cell) -> list[tuple[TrainConfig, str]]:
    """Each run of a stage, and what would be done with it."""
    config = stage.valid_config
    runs = stage.runs(sweep.prepared_corpus(config))
    if not runs:
        return [(single, "run") for single in config.runs()]
    return list(zip(config.runs(), map(_action, runs), strict=True))


def _action(run: Run) -> str:
    if run.finished:
        result = run.result or {}
        return f"skip: {result['status'].replace('_', ' ')}"
    if holder := Run.holder(run.folder):
        return f"wait: process {holder['pid']} trains it"
    return "run"


def predict_sweep(sweep: Sweep, jobs: int) -> pd.DataFrame:
    """One row per run: its shape, what would be done, training FLOPs, predicted seconds and bytes.

    `jobs` probes at a time train a few steps of each shape that has anything to do.
    """
    rows = [row for stage in all_stages(sweep) for row in _plan_rows(sweep, stage)]
    todo = [row for row in rows if row["action"] == "run"]
    keys = list(dict.fromkeys(_speed_key(row["config"]) for row in todo))
    speeds = dict(zip(keys, measure_speeds(keys, jobs), strict=True))
    for row in todo:
        config = row["config"]
        corpus = sweep.prepared_corpus(config)
        row["seconds"] = predict_seconds(config, corpus, speeds[_speed_key(config)])
    return pd.DataFrame(rows, columns=PLAN_COLUMNS)


def _speed_key(config: TrainConfig) -> str:
    """A config as the probe reads it, without what no speed depends on."""
    same = {"lr": None, "seed": 0, "baseline_lr": None, "early_stop": "off", "smallbench": "off"}
    return json.dumps(asdict(config) | same)


def _plan_rows(sweep: Sweep, stage: Cell) -> list[dict[str, Any]]:
    if stage.config is None:
        return [{"cell": stage.name, "action": f"invalid: {stage.error}"}]
    model = allocation(stage.config).model
    total = allocation(stage.config).params["total"]
    rows = []
    for config, action in _actions(sweep, stage):
        tokens = config.steps * config.batch_tokens
        memory = memory_bytes(model, config.seq_len, config.batch_tokens)
        row = {
            "cell": stage.name,
            "seed": config.seed,
            "lr": config.lr,
            "config": config,
            "action": action,
            "shape": f"{model.d_model} x {model.n_layers}, d_ff {model.d_ff}",
            "train FLOPs": tokens * flops_per_token(model, config.seq_len)["train"],
            "memory": memory["training"],
            "disk": 4 * total if action == "run" else 0,
        }
        rows.append(row)
    return rows


def predict_seconds(config: TrainConfig, corpus: Corpus | None, speed: dict[str, float]) -> float:
    """Seconds of a run: steps, probes, and both held-out splits in full."""
    held_out = HELD_OUT * config.tokens
    if corpus:
        splits = corpus.meta["splits"]
        held_out = splits["valid"]["tokens"] + splits["test"]["tokens"]
    scored = held_out + config.probes * config.probe_tokens
    return float(config.steps * speed["step_s"] + scored * speed["score_s"])


def format_plan(plan: pd.DataFrame, jobs: int, folder: Path) -> str:
    """The table of `predict_sweep` and its sums, as text; `folder` is where outputs are written.

    A learning rate that is not chosen yet is "tuned"; whichever it will be costs the same.
    """
    todo = plan[plan["action"] == "run"]
    lines = [_format_rows(plan), _format_time(plan, todo, jobs), _format_disk(todo, jobs, folder)]
    if todo["lr"].isna().any():
        lines.append(
            "tuned: only the first round of learning rates is predicted; "
            "more follow where the best lies on the edge of the grid"
        )
    return "\n".join(lines)


def _format_rows(plan: pd.DataFrame) -> str:
    lr = plan["lr"].astype(object)
    is_known = plan["lr"].notna() | plan["config"].isna()
    columns = {
        "lr": lr.where(is_known, "tuned"),
        "train FLOPs": plan["train FLOPs"].map(lambda flops: _scaled(flops, 1e12, "T")),
        "memory": plan["memory"].map(lambda size: _scaled(size, 1e9, "GB")),
        "seconds": plan["seconds"].map(format_seconds),
    }
    text = plan.drop(columns=["config", "disk"]).assign(**columns).astype(object).fillna("")
    return str(text.rename(columns={"seconds": "predicted"}).to_string(index=False))


def _format_time(plan: pd.DataFrame, todo: pd.DataFrame, jobs: int) -> str:
    flops = todo["train FLOPs"].sum() / 1e12
    seconds = START_S + todo["seconds"].sum() / min(jobs, max(1, len(todo)))
    return (
        f"{len(todo)} of {len(plan)} runs to train, {flops:,.0f} TFLOP; "
        f"predicted {format_seconds(seconds)} with {jobs} at a time, "
        "without SmallBench and an early stop"
    )


def _format_disk(todo: pd.DataFrame, jobs: int, folder: Path) -> str:
    """The weights that stay, and the checkpoints of the largest runs that may be under way."""
    parameters = todo["disk"] / 4
    under_way = CHECKPOINTS * CHECKPOINT_BYTES * parameters.nlargest(jobs).sum()
    needed = todo["disk"].sum() + under_way
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    free = shutil.disk_usage(existing).free
    warning = ": NOT ENOUGH" if needed > free else ""
    return f"disk: {needed / 1e9:,.2f} GB of {free / 1e9:,.0f} GB that are free{warning}"


def _scaled(value: float, size: float, unit: str) -> str:
    return "" if pd.isna(value) else f"{value / size:,.3g} {unit}"


def format_seconds(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03; empty where the number is missing."""
    if pd.isna(seconds):
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
