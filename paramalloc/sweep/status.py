"""What runs where and how far it is, what failed and why: read from the run folders."""

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ..runs import (
    Run,
    as_probes,
    describe_stage,
    last_record,
    read_json,
    read_metrics,
    with_flags,
)
from .dry_run import all_stages, format_seconds
from .execution import last_line
from .spec import Cell, Sweep

STATUS_COLUMNS = [
    "cell",
    "run",
    "state",
    "tokens",
    "of",
    "dev ppl",
    "flagged at",
    "tokens/s",
    "left",
    "where",
]
LOG_LINES = 5  # that are shown of a failed cell
LOG_TAIL = 40  # lines of a log that are searched for the reason

# The first of these that the message of a failure holds says what kind it is.
REASONS = {
    "out of memory": "memory",
    "can't allocate memory": "memory",
    "Kernel died": "killed",
    "DeadKernelError": "killed",
    "was interrupted": "killed",
    "that trained it was lost": "killed",
    "diverged": "diverged",
    "No space left": "infrastructure",
    "Permission denied": "infrastructure",
}
USER_ERRORS = ("ConfigError", "DataError", "InfeasibleError", "RunError")


def status_table(outputs: Path, sweep: Sweep | None = None) -> pd.DataFrame:
    """One row per run: those that a sweep's cells expect, or all runs in the outputs folder."""
    rows: list[dict[str, Any]] = []
    if sweep is None:
        for folder in _run_folders(outputs):
            about = read_json(folder / "config.json") or read_json(folder / "result.json")
            rows.append(_run_row(_run_name(about or {}), folder))
    else:
        for stage in all_stages(sweep):
            rows += _stage_status(sweep, stage)
    return pd.DataFrame(rows, columns=STATUS_COLUMNS)


def _run_folders(outputs: Path) -> list[Path]:
    """Those of all runs; one that was put back from a table has no config.json."""
    records = (outputs / "runs").glob("*/*.json")
    return sorted({path.parent for path in records if path.stem in ("config", "result")})


def _stage_status(sweep: Sweep, stage: Cell) -> list[dict[str, Any]]:
    if stage.config is None:
        reason = "diverged" if "diverged" in (stage.error or "") else "config"
        return [{"cell": stage.name, "state": f"failed ({reason})"}]
    runs = _expected_runs(sweep, stage)
    if not runs:
        return [{"cell": stage.name, "state": "missing"} for _ in stage.config.runs()]
    rows = [_run_row(stage.name, run.folder) for run in runs]
    logs = sweep.logs(stage, runs)
    for row in rows:
        log = logs.get(row["run"])
        if log and row["state"] in ("missing", "interrupted"):
            row["state"] = f"failed ({reason_of(log)})"
    return rows


def _expected_runs(sweep: Sweep, stage: Cell) -> list[Run]:
    return stage.runs(sweep.prepared_corpus(stage.valid_config))


def _run_name(config: dict[str, Any]) -> str:
    share, glu = config.get("requested_share"), config.get("requested_glu")
    shape = f"{config.get('d_model')} x {config.get('n_layers')}"
    if share is None or glu is None:
        return shape
    return f"{share:.0%} x {glu:g}, {shape}"


def _run_row(cell: str, folder: Path) -> dict[str, Any]:
    """The state of one run and how far it is."""
    config = read_json(folder / "config.json") or {}
    result = read_json(folder / "result.json")
    last = last_record(folder)
    probes = read_metrics(folder, "dev_ppl")
    row: dict[str, Any] = {
        "cell": cell,
        "run": folder.name,
        "tokens": last.get("tokens"),
        "of": config.get("tokens"),
        "tokens/s": last.get("tokens_per_s"),
        "dev ppl": probes[-1]["dev_ppl"] if probes else None,
        "flagged at": _flagged_at(result or config, folder, probes),
    }
    if result:
        return row | {
            "state": result["status"].replace("_", " "),
            "tokens": result.get("tokens_trained") or row["tokens"],
            "of": result.get("tokens") or row["of"],
            "dev ppl": result["dev_ppl"] or row["dev ppl"],
            "tokens/s": result["tokens_per_s"],
        }
    holder = Run.holder(folder)
    if not holder:
        return row | {"state": "interrupted" if config else "missing", "where": None}
    row["where"] = f"process {holder['pid']} on {holder['host'].split()[0]}"
    if (folder / "checkpoint" / "final").exists():
        return row | {"state": "measuring"} | _stage_cells(row["where"], Run.noted(folder))
    if row["tokens/s"]:
        row["left"] = (row["of"] - row["tokens"]) / row["tokens/s"]
    return row | {"state": "running"}


def _stage_cells(where: str, stage: dict[str, Any]) -> dict[str, Any]:
    """What is measured of a run, and how long that stage still takes."""
    if not stage:
        return {}
    words = describe_stage(stage["stage"], stage["fraction"], None)
    return {"where": f"{where}: {words}", "left": stage["time_left_s"]}


def _flagged_at(record: dict[str, Any], folder: Path, probes: list[dict[str, Any]]) -> float | None:
    """Tokens at which early stop would have ended a run, or did, as far as it has come."""
    curve = {"dev_curve": as_probes(probes)}
    [row] = with_flags([curve | record], folder.parents[1])
    return row.get("flagged_at_tokens")


def reason_of(log: Path) -> str:
    """config, memory, diverged, infrastructure or killed, from the last lines of a failed cell."""
    tail = "\n".join(_read_log(log).splitlines()[-LOG_TAIL:])
    for words, reason in REASONS.items():
        if words in tail:
            return reason
    return "config" if any(kind in tail for kind in USER_ERRORS) else "infrastructure"


def _read_log(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def describe_failures(sweep: Sweep) -> list[str]:
    """For each failed cell: why, the last lines of its log, and the command that runs it again."""
    failures = []
    for stage in all_stages(sweep):
        if stage.config is None:
            failures.append(f"{stage.name}: {stage.error}")
            continue
        runs = _expected_runs(sweep, stage)
        logs = sweep.logs(stage, runs) if runs else {}
        for log in dict.fromkeys(logs.values()):
            failures.append(_describe_failure(sweep, stage, log))
    return failures


def _describe_failure(sweep: Sweep, stage: Cell, log: Path) -> str:
    text = _read_log(log)
    lines = [line for line in text.splitlines() if line.strip()]
    command = shlex.join(["papermill", *papermill_words(sweep, stage)])
    return "\n".join(
        [
            f"{stage.name}: {last_line(text)}",
            *(f"    {line}" for line in lines[-LOG_LINES:]),
            f"  again: {command}",
        ]
    )


def papermill_words(sweep: Sweep, cell: Cell) -> list[str]:
    """What a user types after `papermill` to execute one cell alone."""
    target = sweep.folder / f"{cell.name}.ipynb"
    words = [os.path.relpath(sweep.notebook), os.path.relpath(target)]
    for name, value in cell.parameters.items():
        if value is not None:
            # -r is text as it is: -p would read a folder called 2024 as a number.
            option = "-r" if isinstance(value, str) else "-p"
            words += [option, name, json.dumps(value) if isinstance(value, list) else str(value)]
    return words


def format_status(frame: pd.DataFrame) -> str:
    """The table of `status_table` as text; what is not known is left empty.

    The column of flags is there where one is.
    """
    if frame.empty:
        return "no runs yet"
    formats = {
        "tokens": _number_format(",.0f"),
        "of": _number_format(",.0f"),
        "dev ppl": _number_format(",.1f"),
        "flagged at": _number_format(",.0f"),
        "tokens/s": _number_format(",.0f"),
        "left": format_seconds,
    }
    if frame["flagged at"].isna().all():
        frame = frame.drop(columns="flagged at")
        del formats["flagged at"]
    columns = {name: frame[name].map(to_text) for name, to_text in formats.items()}
    text = frame.assign(**columns).astype(object).fillna("").to_string(index=False)
    counts = [f"{count} {state}" for state, count in frame.state.value_counts().items()]
    return f"{text}\n{', '.join(counts)}"


def _number_format(form: str) -> Callable[[float], str]:
    def to_text(value: float) -> str:
        return "" if pd.isna(value) else format(value, form)

    return to_text
