"""The runs that a sweep expects, whether they are there or not."""

from dataclasses import asdict

import pandas as pd

from ..allocation import allocation
from ..config import ROOT, AnalysisConfig, TrainConfig
from ..data import find
from ..runs import as_frame, load_runs, read_results, run_id
from .spec import Cell, Sweep, load_sweep


def select_runs(config: AnalysisConfig) -> pd.DataFrame:
    """The runs an analysis is about: all of them, those of a results.csv, or those that a sweep expects, or several joined
    by `+`; absent ones are `missing` or `failed`. A run that two sweeps share is there once."""
    source = ROOT / config.runs
    if not config.runs or source.suffix == ".csv":
        results = read_results(source) if config.runs else load_runs(config.output_folder)
        return results[results.dataset == config.dataset] if config.dataset else results
    names = [config.runs] if source.is_file() else config.runs.split("+")
    sweeps = [
        load_sweep(name, profile=config.profile, dataset=config.dataset, outputs=config.outputs)
        for name in names
    ]
    rows = {
        key: row
        for sweep in sweeps
        for cell in sweep.cells
        for key, row in expected(sweep, cell).items()
    }
    frame = as_frame(list(rows.values()))
    return frame if (frame.status != "missing").any() else frame.iloc[:0]


def expected(sweep: Sweep, cell: Cell) -> dict[str, dict]:
    """One row per run of a cell, by what tells the run from others: its result, or what is known of a run that has none."""
    config = cell.config
    if config is None:
        asked = {
            "requested_share": cell.parameters.get("embed_share"),
            "requested_glu": cell.parameters.get("glu"),
        }
        return {f"{sweep.name}/{cell.name}": asked | {"status": "failed"}}
    corpus = find(config.dataset, config.vocab_size, config.output_folder, config.tokens)
    return {
        key: row
        for stage in sweep.stages(cell, corpus)
        for key, row in rows_of(sweep, stage, corpus).items()
    }


def rows_of(sweep: Sweep, stage: Cell, corpus) -> dict[str, dict]:
    if stage.config is None:
        return expected(sweep, stage)
    runs, configs = stage.runs(corpus) if corpus else [], stage.config.runs()
    status = "failed" if runs and sweep.log(stage, runs).exists() else "missing"
    if not runs:
        return {run_id(config, ""): absent(config, status) for config in configs}
    return {run.id: run.result or absent(config, status) for run, config in zip(runs, configs)}


def absent(config: TrainConfig, status: str) -> dict:
    """What is known of a run without a result: its shape, and what was asked for."""
    shape = allocation(config)
    return asdict(shape.model) | {
        "status": status,
        "requested_share": shape.requested_share,
        "requested_glu": shape.requested_glu,
        "lr": config.lr,
        "seed": config.seed,
    }
