"""Runs of a published table, put back where a sweep looks for them."""

import json
import math
import re
from pathlib import Path

from ..errors import RunError
from .folder import read_json, write_json, write_text
from .schema import RESULT_COLUMNS
from .table import read_rows

ENDS = ("completed", "stopped_early", "diverged")


def restore_runs(table: Path, outputs: Path) -> tuple[list[str], list[str]]:
    """The ids of the runs of a results.csv that were put under outputs/runs, and of those that were there already, which stay.

    A run that is put back has its result and its dev probes (losses to five digits), no weights: a sweep does not train it again, early
    stop compares with it, a report counts it; it can neither be evaluated again nor exported. RunError if it is no such table.
    """
    rows = {row.get("run_id"): row for row in read_rows(table) if row["status"] in ENDS}
    if wrong := [name for name in rows if not re.fullmatch("[0-9a-f]{12}", name or "")]:
        raise RunError(
            f"{table} has a run with the id '{wrong[0]}': an id is 12 hexadecimal digits"
        )
    there = [name for name in rows if read_json(outputs / "runs" / name / "result.json")]
    new = [name for name in rows if name not in there]
    for name in new:
        put(rows[name], outputs / "runs" / name)
    return new, there


def put(row: dict, folder: Path):
    """One run; its result last, which says that it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    probes = [
        {
            "step": int(tokens // row["batch_tokens"]),
            "tokens": tokens,
            "dev_loss": loss,
            "dev_ppl": math.exp(loss),
        }
        for tokens, loss in row.get("dev_curve") or []
    ]
    write_text(folder / "metrics.jsonl", "".join(f"{json.dumps(probe)}\n" for probe in probes))
    write_json(folder / "result.json", {name: row.get(name) for name in RESULT_COLUMNS})
