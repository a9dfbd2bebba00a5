"""Finished runs of a table or of archives, put back where a sweep looks for them."""

import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from ..disk import sync
from ..errors import DiskError, RunError
from .archive import FILES, Files, read_archive
from .checking import ENDS, LARGEST_LOSS
from .folder import Run, as_json
from .lease import Holder, Lease, hold
from .reading import may_be, read_json
from .schema import RESULT_COLUMNS
from .table import read_rows


class Restored(NamedTuple):
    """Ids of the runs that were put back, that were there, and that another process holds."""

    new: list[str]
    present: list[str]
    held: dict[str, Holder]


def restore_runs(source: Path, outputs: Path) -> Restored:
    """Put the runs of a results.csv, an archive or a folder of archives under outputs/runs.

    A run of a table has its result and its dev probes (losses to five digits); one of an archive
    its small files. Neither has weights: a sweep does not train it again, early stop compares with
    it, a report counts it; it can neither be evaluated again nor exported. What is there stays,
    but for a run of a table, which an archive completes. A run that another process holds is left
    alone. RunError, before anything is written, if the source is no such file; DiskError.
    """
    records = _read_source(source)
    try:
        return _put_all_back(records, outputs / "runs")
    except OSError as error:
        reason = " ".join(str(error).split())
        raise DiskError(f"cannot restore {source}: {reason}; the same command goes on") from None


def _put_all_back(records: dict[str, Files], runs: Path) -> Restored:
    restored = Restored([], [], {})
    for run_id, files in records.items():
        if _is_there(runs / run_id, files):
            restored.present.append(run_id)
        elif holder := _put_back(runs / run_id, files):
            restored.held[run_id] = holder
        else:
            restored.new.append(run_id)
    if restored.new:
        sync(runs)
    return restored


def runs_to_restore(source: Path, outputs: Path) -> list[str]:
    """Ids of the runs that `restore_runs` would put back; RunError as there."""
    records = _read_source(source)
    return [
        run_id
        for run_id, files in records.items()
        if not _is_there(outputs / "runs" / run_id, files)
    ]


def _is_there(folder: Path, files: Files) -> bool:
    """Whether a run is finished, and has its config if the source has it."""
    if read_json(folder / "result.json") is None:
        return False
    return "config.json" not in files or (folder / "config.json").exists()


class _HeldError(Exception):
    """Another process holds the run."""

    def __init__(self, holder: Holder) -> None:
        super().__init__()
        self.holder = holder


def _put_back(folder: Path, files: Files) -> Holder | None:
    """Write a run's files, the result last; the process that holds the run, if one does."""

    def leave_alone(holder: Holder) -> None:
        if Run.holder(folder):  # else it is silent, and the lease free in a minute
            raise _HeldError(holder)

    try:
        with hold(folder / "lease", leave_alone) as lease:
            if not _is_there(folder, files):
                _write_files(lease, files)
    except _HeldError as error:
        return error.holder
    return None


def _write_files(lease: Lease, files: Files) -> None:
    for name in filter(files.__contains__, FILES):
        made = lease.desk / name
        made.write_bytes(files[name])
        lease.replace(made, lease.folder / name)


# ---- what a source holds


def _read_source(source: Path) -> dict[str, Files]:
    """The files of each run, checked."""
    try:
        return _read_any(source)
    except OSError as error:
        raise RunError(f"cannot read {source}: {error.strerror}") from None


def _read_any(source: Path) -> dict[str, Files]:
    if source.is_dir():
        archives = sorted(source.glob("*.zip"))
        if not archives:
            raise RunError(f"{source} holds no archive of runs (.zip)")
        records = [_read_archive(path) for path in archives]
        return {run_id: files for record in records for run_id, files in record.items()}
    if source.suffix == ".zip" or zipfile.is_zipfile(source):
        return _read_archive(source)
    return _read_table(source)


def _read_table(table: Path) -> dict[str, Files]:
    rows = {row.get("run_id") or "": row for row in read_rows(table) if row["status"] in ENDS}
    for run_id in rows:
        if not run_id:
            raise RunError(f"{table} has a run without an id")
        if not re.fullmatch("[0-9a-f]{12}", run_id):
            raise RunError(
                f"{table} has a run with the id '{run_id}': an id is 12 hexadecimal digits"
            )
    return {run_id: _files_of_row(row, run_id, table) for run_id, row in rows.items()}


def _files_of_row(row: dict[str, Any], run_id: str, table: Path) -> Files:
    result = _checked_result(row, run_id, table)
    probes = [json.dumps(probe) + "\n" for probe in _dev_probes(result)]
    return {
        "metrics.jsonl": "".join(probes).encode(),
        "result.json": as_json(result).encode(),
    }


def _dev_probes(result: dict[str, Any]) -> list[dict[str, Any]]:
    probes = []
    for tokens, loss in result["dev_curve"] or []:
        step = int(tokens // result["batch_tokens"])
        probe = {"step": step, "tokens": tokens, "dev_loss": loss, "dev_ppl": math.exp(loss)}
        probes.append(probe)
    return probes


def _read_archive(path: Path) -> dict[str, Files]:
    if not path.is_file():
        raise RunError(f"there is no file {path}")
    records = read_archive(path)
    for run_id, files in records.items():
        result = _as_object(files.get("result.json", b""), run_id, path)
        _as_object(files.get("config.json", b"{}"), run_id, path)
        for line in files.get("metrics.jsonl", b"").split(b"\n")[:-1]:
            _as_object(line, run_id, path)
        files["result.json"] = as_json(_checked_result(result, run_id, path)).encode()
    return records


def _as_object(text: bytes, run_id: str, source: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise RunError(f"{source}: the record of run {run_id} is damaged")
    return content


# ---- whether it may be believed


def _checked_result(values: dict[str, Any], run_id: str, source: Path) -> dict[str, Any]:
    """A result with every column; RunError names the first whose value cannot be one."""
    result = {name: values.get(name) for name in RESULT_COLUMNS}
    wrong = [name for name, value in result.items() if not may_be(name, value)]
    if result["run_id"] != run_id or result["status"] not in ENDS:
        wrong = ["run_id" if result["run_id"] != run_id else "status"]
    if result["dev_curve"] and not _is_curve(result):
        wrong.append("dev_curve")
    if wrong:
        value = str(result[wrong[0]])[:40]
        raise RunError(f"{source}: run {run_id} cannot have {wrong[0]} {value}")
    return result


def _is_curve(result: dict[str, Any]) -> bool:
    """Whether dev_curve is pairs of tokens and loss, and the batch is known."""
    try:
        pairs = [(tokens, abs(loss)) for tokens, loss in result["dev_curve"]]
        probes = [0 < tokens < math.inf and loss < LARGEST_LOSS for tokens, loss in pairs]
    except (TypeError, ValueError):
        return False
    return all(probes) and bool(result["batch_tokens"])
