"""The run folder: what a run is (its id), what it recorded, and all runs as a table. No torch.

runs/<run_id>/   config.json   metrics.jsonl   checkpoint/   evaluation.json   items.safetensors   result.json (last)
                 lease/ (who writes it, lease.py)
"""

from .columns import (
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
from .folder import (
    Run,
    RunError,
    as_json,
    find_run,
    read_json,
    read_metrics,
    run_id,
    write_json,
    write_text,
)
from .restore import restore
from .table import Note, as_csv, as_frame, load_metrics, load_runs, read_results, summary

__all__ = [name for name in dir() if not name.startswith("_")]
