"""Runs of a published table, put back where a sweep looks for them."""

import json
import math
import re
from pathlib import Path
from typing import Any

from ..errors import RunError
from .folder import read_json, write_json, write_text
from .schema import RESULT_COLUMNS
from .table import read_rows

ENDS = ("completed", "stopped_early", "diverged")


def restore_runs(table: Path, outputs: Path) -> tuple[list[str], list[str]]:
    """Put the runs of a results.csv under outputs/runs: (ids put back, ids that were there).

    A restored run has its result and its dev probes (losses to five digits), but no weights. A
    sweep does not train it again, early stop compares with it, a report counts it; it can neither
    be evaluated again nor exported. RunError if the file is no such table.
    """
    rows = {row.get("run_id") or "": row for row in read_rows(table) if row["status"] in ENDS}
    for run_id in rows:
        if not run_id:
            raise RunError(f"{table} has a run without an id")
        if not re.fullmatch("[0-9a-f]{12}", run_id):
            raise RunError(
                f"{table} has a run with the id '{run_id}': an id is 12 hexadecimal digits"
            )
    folders = {run_id: outputs / "runs" / run_id for run_id in rows}
    there = [run_id for run_id in rows if read_json(folders[run_id] / "result.json")]
    new = [run_id for run_id in rows if run_id not in there]
    for run_id in new:
        _restore_run(rows[run_id], folders[run_id])
    return new, there


def _restore_run(row: dict[str, Any], folder: Path) -> None:
    """Write one run's folder; its result comes last, which says that the folder is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(probe)}\n" for probe in _dev_probes(row)]
    write_text(folder / "metrics.jsonl", "".join(lines))
    write_json(folder / "result.json", {name: row.get(name) for name in RESULT_COLUMNS})


def _dev_probes(row: dict[str, Any]) -> list[dict[str, Any]]:
    probes = []
    for tokens, loss in row.get("dev_curve") or []:
        step = int(tokens // row["batch_tokens"])
        probe = {"step": step, "tokens": tokens, "dev_loss": loss, "dev_ppl": math.exp(loss)}
        probes.append(probe)
    return probes
