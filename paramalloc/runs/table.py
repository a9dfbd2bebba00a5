"""All runs as a table, from their folders or from a results.csv."""

import csv
import json
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from ..config import TrainConfig
from ..errors import RunError
from .checking import blank_column, check_cell, parse_cell
from .flags import with_flags
from .reading import read_json, read_metrics
from .schema import METRIC_COLUMNS, RESULT_COLUMNS

LONGEST_CELL = 2**24  # characters: a curve of 10,000 probes has 300,000, and csv's limit is 131,072
csv.field_size_limit(LONGEST_CELL)

SUMMARY = [
    "status",
    "lr",
    "seed",
    "tokens_trained",
    "dev_loss",
    "dev_ppl",
    "dev_bpb",
    "test_ppl",
    "unigram_loss",
    "smallbench",
    "tokens_per_s",
    "wall_s",
    "precision",
    "device",
    "threads",
    "compiled",
]


class Note(str):
    """Text that a notebook shows as Markdown and a terminal as it stands."""

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return str(self)


def load_runs(outputs: Path) -> pd.DataFrame:
    """One row per finished run under outputs/runs, a column per key of result.json.

    Flags of early stop are computed now, from the curves.
    """
    paths = sorted((Path(outputs) / "runs").glob("*/result.json"))
    results = [read_json(path) for path in paths]
    return as_frame(with_flags(filter(None, results), Path(outputs)))


def as_frame(results: list[dict[str, Any]]) -> pd.DataFrame:
    """Results as rows; what is missing is NaN, also in a column that nobody measured."""
    frame = pd.DataFrame(results, columns=RESULT_COLUMNS)
    return frame.where(frame.notna(), np.nan).infer_objects()


def as_csv(runs: pd.DataFrame) -> str:
    """The text of results.csv: a row per run, numbers in full, lists as JSON, missing as empty.

    Columns at the end that no run has are left out: they are younger than all runs of the table. So
    a new column leaves older tables as they are, byte for byte.
    """
    recorded = runs.columns[runs.notna().any()]
    if len(recorded):
        runs = runs.loc[:, : recorded[-1]]
    return str(runs.map(_as_cell).to_csv(index=False))


def _as_cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, list) else value


def read_results(path: Path) -> pd.DataFrame:
    """The runs of a results.csv as `load_runs` gives them, bit for bit.

    RunError if there is no such file, it is no such table, or a run that ended leaves a column
    blank that every such run has (`checking.REQUIRED`).
    """
    rows = _read_numbered(path)
    for number, row in rows.items():
        blank = blank_column(row)
        if blank:
            place = f"{path}: row {number}, column {blank}"
            raise RunError(f"{place}: it is blank, and every run that ended has one")
    return as_frame(with_flags(rows.values()))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a results.csv as the dicts that result.json holds; RunError as `read_results`."""
    return list(_read_numbered(path).values())


def _read_numbered(path: Path) -> dict[int, dict[str, Any]]:
    """The rows of a results.csv by their number, as a spreadsheet counts; empty ones are left out.

    A cell that cannot be what it says is named by its row and column (`checking`).
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(_read_cells(file))
    except FileNotFoundError:
        raise RunError(f"there is no file {path}") from None
    except (UnicodeError, csv.Error):
        lines = []
    if len(lines) < 2 or "status" not in lines[0]:
        raise RunError(f"{path} is not a results.csv of this project")
    header = [name.strip() for name in lines[0]]
    rows = {}
    for number, cells in enumerate(lines[1:], 2):
        if any(cell.strip() for cell in cells):
            rows[number] = _parse_row(header, cells, f"{path}: row {number}")
    if not rows:
        raise RunError(f"{path} holds no run")
    return rows


def _read_cells(file: TextIO) -> Iterable[list[str]]:
    """The rows of a table, whether commas part its cells or what a spreadsheet took for them."""
    delimiter = max(",;\t", key=file.readline().count)
    file.seek(0)
    return csv.reader(file, delimiter=delimiter)


def _parse_row(header: list[str], cells: list[str], place: str) -> dict[str, Any]:
    """The values by column; RunError names the first cell that is wrong."""
    if len(cells) > len(header) and any(cells[len(header) :]):
        raise RunError(f"{place} has {len(cells)} cells, and the header {len(header)}")
    row = {}
    for name, cell in zip_longest(header, cells[: len(header)], fillvalue=""):
        try:
            row[name] = parse_cell(name, cell)
            check_cell(name, row[name])
        except RunError as error:
            raise RunError(f"{place}, column {name}: {error}") from None
    if not row["status"]:
        raise RunError(f"{place}, column status: it is blank")
    return row


def baseline_request(runs: pd.DataFrame) -> tuple[float, float]:
    """(requested_share, requested_glu) of the baseline that these runs' early stop compared with.

    The most frequent one of the runs that recorded both; on a tie the config's default, or else the
    lowest share, then the lowest expansion. Where no run recorded it (older tables, cells that
    never ran), it is the config's default.

    >>> baseline_request(pd.DataFrame({"baseline_share": [0.25], "baseline_glu": [4.0]}))
    (0.25, 4.0)
    """
    default = (TrainConfig.baseline_share, TrainConfig.baseline_glu)
    recorded = runs.reindex(columns=["baseline_share", "baseline_glu"]).astype(float).dropna()
    if recorded.empty:
        return default
    counts = recorded.value_counts()
    most_frequent = counts.index[counts == counts.max()].tolist()
    share, glu = default if default in most_frequent else min(most_frequent)
    return float(share), float(glu)


def load_metrics(outputs: Path, run_id: str) -> pd.DataFrame:
    """All records of one run: columns tokens, train_loss, dev_loss and more."""
    return pd.DataFrame(read_metrics(Path(outputs) / "runs" / run_id), columns=METRIC_COLUMNS)


def summarize_results(results: list[dict[str, Any]]) -> pd.DataFrame:
    """What a reader looks for first, a column per run."""
    shown = {}
    for result in results:
        shown[result["run_id"]] = {name: _as_text(result.get(name)) for name in SUMMARY}
    return pd.DataFrame(shown)


def _as_text(value: object) -> object:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if type(value) is int:  # a bool stays a bool
        return f"{value:,}"
    return value
