"""Select the runs that an analysis is about, whether they are there or not."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pandas as pd

from ..allocation import allocation
from ..config import ROOT, AnalysisConfig, TrainConfig
from ..data import Corpus
from ..disk import split_names
from ..runs import as_frame, load_runs, read_results, run_id, with_flags
from .load import load_sweep
from .spec import Cell, Sweep

FindCorpus = Callable[[Sweep, TrainConfig], Corpus | None]


def select_runs(config: AnalysisConfig) -> pd.DataFrame:
    """One row per run: all runs, those of a results.csv, or those that sweeps joined by `+` expect.

    Absent runs are `missing` or `failed`. A run that two sweeps share is there once.
    """
    source = ROOT / config.runs
    if not config.runs or source.suffix == ".csv":
        results = read_results(source) if config.runs else load_runs(config.output_folder)
        return results[results.dataset == config.dataset] if config.dataset else results
    names = split_names(config.runs, lambda name: (ROOT / name).is_file())
    sweeps = [
        load_sweep(name, profile=config.profile, dataset=config.dataset, outputs=config.outputs)
        for name in names
    ]
    frame = as_frame(with_flags(_expected_rows(sweeps, _named_corpus), config.output_folder))
    return frame if (frame.status != "missing").any() else frame.iloc[:0]


def describe_flags(sweep: Sweep) -> str:
    """How many finished runs of a sweep early stop flags, in a line; empty where none asks for it.

    A run whose baseline has no probe to compare with is counted apart.
    """
    rows = with_flags(_expected_rows([sweep], Sweep.prepared_corpus), sweep.config.output_folder)
    asked = [row for row in rows if row.get("early_stop") == "flag" and row.get("baseline_run")]
    if not asked:
        return ""
    compared = [row for row in asked if row["compared"]]
    flagged = [row for row in compared if row["flagged_at_tokens"]]
    line = f"early stop would have ended {len(flagged)} of the {len(compared)} runs it compared"
    if len(compared) < len(asked):
        line += f"; {len(asked) - len(compared)} have no baseline to compare with yet"
    return line


def _named_corpus(sweep: Sweep, config: TrainConfig) -> Corpus | None:
    """The prepared corpus of a cell; DataError where its text is not there."""
    return sweep.corpora.prepared(config)


def _expected_rows(sweeps: list[Sweep], find_corpus: FindCorpus) -> list[dict[str, Any]]:
    """One row for each run of the sweeps."""
    rows: dict[str, dict[str, Any]] = {}
    for sweep in sweeps:
        for cell in sweep.cells:
            corpus = find_corpus(sweep, cell.config) if cell.config else None
            rows |= _cell_rows(sweep, cell, corpus)
    return list(rows.values())


def _cell_rows(sweep: Sweep, cell: Cell, corpus: Corpus | None) -> dict[str, dict[str, Any]]:
    """One row per run of a cell, by the run's id; without a valid config, one by its name."""
    if cell.config is None:
        return _failed_row(sweep, cell)
    rows: dict[str, dict[str, Any]] = {}
    for stage in sweep.stages(cell, corpus):
        rows |= _stage_rows(sweep, stage, corpus)
    return rows


def _failed_row(sweep: Sweep, cell: Cell) -> dict[str, dict[str, Any]]:
    row = {
        "requested_share": cell.parameters.get("embed_share"),
        "requested_glu": cell.parameters.get("glu"),
        "status": "failed",
    }
    return {f"{sweep.name}/{cell.name}": row}


def _stage_rows(sweep: Sweep, stage: Cell, corpus: Corpus | None) -> dict[str, dict[str, Any]]:
    """The result of each run of a stage, or what is known of a run that has none."""
    if stage.config is None:
        return _failed_row(sweep, stage)
    configs = stage.config.runs()
    runs = stage.runs(corpus)
    if not runs:
        return {run_id(config, ""): _absent_row(config, "missing") for config in configs}
    failed = sweep.logs(stage, runs)
    rows = {}
    for run, config in zip(runs, configs, strict=True):
        status = "failed" if run.id in failed else "missing"
        rows[run.id] = run.result or _absent_row(config, status)
    return rows


def _absent_row(config: TrainConfig, status: str) -> dict[str, Any]:
    """What is known of a run without a result: its shape, and what was requested."""
    shape = allocation(config)
    return asdict(shape.model) | {
        "status": status,
        "requested_share": shape.requested_share,
        "requested_glu": shape.requested_glu,
        "lr": config.lr,
        "seed": config.seed,
    }
