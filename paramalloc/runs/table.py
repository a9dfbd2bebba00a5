"""All runs as a table, from their folders or from a results.csv."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import RunError
from .folder import read_json, read_metrics
from .schema import METRIC_COLUMNS, RESULT_COLUMNS, TEXT_COLUMNS


class Note(str):
    """Text that a notebook shows as Markdown and a terminal as it stands."""

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return str(self)


def load_runs(outputs: Path) -> pd.DataFrame:
    """One row per finished run under outputs/runs, the keys of result.json as columns; missing is NaN."""
    found = (read_json(path) for path in sorted((Path(outputs) / "runs").glob("*/result.json")))
    return as_frame([result for result in found if result])


def as_frame(results: list[dict]) -> pd.DataFrame:
    """Results as rows; what is missing is NaN, also in a column that nobody measured."""
    frame = pd.DataFrame(results, columns=RESULT_COLUMNS)
    return frame.where(frame.notna(), np.nan).infer_objects()


def as_csv(runs: pd.DataFrame) -> str:
    """The text of results.csv: a row per run, numbers in full, lists as JSON, what is missing empty."""
    return runs.map(lambda value: json.dumps(value) if isinstance(value, list) else value).to_csv(
        index=False
    )


def read_results(path: Path) -> pd.DataFrame:
    """The runs of a results.csv as `load_runs` gives them, bit for bit. RunError if it is not there or no such table."""
    return as_frame(read_rows(path))


def read_rows(path: Path) -> list[dict]:
    """The rows of a results.csv as the dicts that result.json holds."""
    value = lambda name, cell: (
        None if not cell else cell if name in TEXT_COLUMNS else json.loads(cell.lower())
    )  # pandas writes True
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [
                {name: value(name, cell) for name, cell in row.items()}
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        raise RunError(f"there is no file {path}") from None
    except (ValueError, AttributeError, csv.Error):
        rows = []
    if not all(row.get("status") for row in rows or [{}]):
        raise RunError(f"{path} is not a results.csv of this project")
    return rows


def load_metrics(outputs: Path, run_id: str) -> pd.DataFrame:
    """All records of one run: columns tokens, train_loss, dev_loss and more."""
    return pd.DataFrame(read_metrics(Path(outputs) / "runs" / run_id), columns=METRIC_COLUMNS)


def summarize_results(results: list[dict]) -> pd.DataFrame:
    """What a reader looks for first, a column per run."""
    rows = [
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
        "decode_ms_per_token",
        "decode_ms_per_token_32",
        "wall_s",
        "precision",
        "device",
        "threads",
        "compiled",
    ]
    show = lambda value: (
        f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if type(value) is int
        else value
    )
    return pd.DataFrame(
        {result["run_id"]: {row: show(result.get(row)) for row in rows} for result in results}
    )
