"""The run folder: what a run is (its id), what it recorded, and all runs as a table. No torch.

runs/<run_id>/   config.json   metrics.jsonl   checkpoint/   evaluation.json   items.safetensors   result.json (last)
                 lease/ (who writes it, lease.py)
"""

from .folder import Run, as_json, find_run, read_json, read_metrics, run_id, write_json, write_text
from .lease import Lease, Watch, hold
from .restore import restore_runs
from .schema import (
    LIST_COLUMNS,
    MEASURED,
    METRIC_COLUMNS,
    OUTSIDE,
    RECIPE,
    RESULT_COLUMNS,
    SHAPE,
    current_commit,
    describe_provenance,
    describe_run,
)
from .table import Note, as_csv, as_frame, load_metrics, load_runs, read_results, summarize_results

__all__ = [
    "LIST_COLUMNS",
    "MEASURED",
    "METRIC_COLUMNS",
    "OUTSIDE",
    "RECIPE",
    "RESULT_COLUMNS",
    "SHAPE",
    "Lease",
    "Note",
    "Run",
    "Watch",
    "as_csv",
    "as_frame",
    "as_json",
    "current_commit",
    "describe_provenance",
    "describe_run",
    "find_run",
    "hold",
    "load_metrics",
    "load_runs",
    "read_json",
    "read_metrics",
    "read_results",
    "restore_runs",
    "run_id",
    "summarize_results",
    "write_json",
    "write_text",
]
