"""The run folder: what a run is (its id), what it recorded, and all runs as a table. No torch.

runs/<run_id>/   config.json   metrics.jsonl   checkpoint/   evaluation.json   items.safetensors   result.json (last)
                 lease/ (who writes it, lease.py)
"""

from .folder import Run, as_json, find_run, read_json, read_metrics, run_id, write_json, write_text
from .lease import Lease, Watch, held
from .restore import restore_runs
from .schema import (
    LISTS,
    MEASURED,
    METRIC_COLUMNS,
    OUTSIDE,
    RECIPE,
    RESULT_COLUMNS,
    SHAPE,
    commit,
    describe_run,
    provenance,
)
from .table import Note, as_csv, as_frame, load_metrics, load_runs, read_results, summary

__all__ = [
    "LISTS",
    "Lease",
    "MEASURED",
    "METRIC_COLUMNS",
    "Note",
    "OUTSIDE",
    "RECIPE",
    "RESULT_COLUMNS",
    "Run",
    "SHAPE",
    "Watch",
    "as_csv",
    "as_frame",
    "as_json",
    "commit",
    "describe_run",
    "find_run",
    "held",
    "load_metrics",
    "load_runs",
    "provenance",
    "read_json",
    "read_metrics",
    "read_results",
    "restore_runs",
    "run_id",
    "summary",
    "write_json",
    "write_text",
]
