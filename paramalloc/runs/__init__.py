"""The run folder: what makes a run (its id), what it recorded, and all runs as a table. No torch.

    runs/<run_id>/   config.json   metrics.jsonl   checkpoint/   evaluation.json
                     items.safetensors   lease/ (who writes it)   result.json (last)

schema.py      one table of columns, from which keys, labels, senses and groups derive
identity.py    which parameters tell two runs apart, and the run_id
provenance.py  what is known of a run before training; versions, machine, commit
lease.py       one process at a time writes a run
process.py     which process this is, and whether another one has ended
flags.py       the rule of early stop; which runs it flags, from their curves
reading.py     its files as they are read; damaged ones are named
folder.py      a run's folder, and how it is written
progress.py    how long a stage of measuring still takes
checking.py    what the cells of a results.csv may hold
table.py       all runs as a DataFrame, from folders or from a results.csv
archive.py     the small files of many runs in one zip archive
restore.py     runs of a results.csv or of archives, put back as folders
"""

from .archive import write_archive
from .flags import EarlyStop, as_probes, with_flags
from .folder import (
    Run,
    as_json,
    final_weights,
    find_run,
    held_here,
    write_json,
    write_text,
)
from .identity import identifying_parameters, run_id
from .lease import Lease, Watch, hold
from .progress import TimeLeft, describe_seconds, describe_stage
from .provenance import current_commit, describe_provenance, describe_run, say_commit
from .reading import last_record, read_about, read_json, read_metrics
from .restore import restore_runs, runs_to_restore
from .schema import (
    COLUMNS,
    LIST_COLUMNS,
    MEASURED,
    METRIC_COLUMNS,
    RESULT_COLUMNS,
    TIMED,
    column_names,
    columns,
    data_dictionary,
)
from .table import (
    Note,
    as_csv,
    as_frame,
    baseline_request,
    load_metrics,
    load_runs,
    read_results,
    summarize_results,
)

__all__ = [
    "COLUMNS",
    "LIST_COLUMNS",
    "MEASURED",
    "METRIC_COLUMNS",
    "RESULT_COLUMNS",
    "TIMED",
    "EarlyStop",
    "Lease",
    "Note",
    "Run",
    "TimeLeft",
    "Watch",
    "as_csv",
    "as_frame",
    "as_json",
    "as_probes",
    "baseline_request",
    "column_names",
    "columns",
    "current_commit",
    "data_dictionary",
    "describe_provenance",
    "describe_run",
    "describe_seconds",
    "describe_stage",
    "final_weights",
    "find_run",
    "held_here",
    "hold",
    "identifying_parameters",
    "last_record",
    "load_metrics",
    "load_runs",
    "read_about",
    "read_json",
    "read_metrics",
    "read_results",
    "restore_runs",
    "run_id",
    "runs_to_restore",
    "say_commit",
    "summarize_results",
    "with_flags",
    "write_archive",
    "write_json",
    "write_text",
]
