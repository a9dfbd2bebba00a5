"""What is read back from results.csv is what the run folders hold."""

import csv
import io
import json
import re

import pandas as pd
import pytest

from paramalloc.config import AnalysisConfig
from paramalloc.errors import RunError
from paramalloc.runs import (
    RESULT_COLUMNS,
    as_csv,
    as_frame,
    load_runs,
    read_json,
    read_results,
    restore_runs,
)
from paramalloc.sweep import select_runs

NOTHING = dict.fromkeys(RESULT_COLUMNS)
SHAPE = {"d_model": 88, "n_layers": 7, "n_heads": 2, "n_kv_heads": 2, "d_head": 44, "d_ff": 232}
RECIPE = {"vocab_size": 4096, "embedding": "tied", "seq_len": 128, "batch_tokens": 2048}
SIZE = {"total_params": 1_007_336, "embed_share": 0.3578, "glu": 2.64, "tokens": 5_000_000}


def result(run_id: str, **values) -> dict:
    """A finished run; ids are hex digits, so some look like numbers."""
    return (
        NOTHING
        | SHAPE
        | RECIPE
        | SIZE
        | {
            "run_id": run_id,
            "status": "completed",
            "dev_loss": 1 / 3,
            "lr": 3e-3,
            "seed": 0,
            "compiled": False,
            "dataset": 'a, "b"',
            "data_fingerprint": "0123",
            "dev_curve": [[n * 32_768, round(7.123456 - n / 100, 5)] for n in range(1, 41)],
            "dev_by_frequency": [[0, None], *([1234, 0.1 + n / 7] for n in range(9))],
            "dev_by_group": [[9999, 31_234.123456789 / (n + 1)] for n in range(32)],
            "created": "2026-11-23T01:00:00+00:00",
        }
        | values
    )


@pytest.fixture
def outputs(tmp_path):
    """Three runs: one measured in full, one that diverged, one of an all-digit id."""
    results = [
        result("123456789012", d_embed=96),
        result(
            "1e5678901234",
            status="diverged",
            dev_loss=None,
            dev_by_frequency=None,
            dev_by_group=None,
        ),
        result("00ab45678901", dataset="null", compiled=True, smallbench=0.1, tokens=10**6),
    ]
    for values in results:
        folder = tmp_path / "runs" / values["run_id"]
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(values))
    return tmp_path


def test_results_csv_read_back_is_the_frame(outputs):
    """Values, lists, types and what is missing: bit for bit, also an id that looks like a number
    and a dataset called null."""
    frame = load_runs(outputs)
    (outputs / "results.csv").write_text(as_csv(frame), encoding="utf-8")
    again = read_results(outputs / "results.csv")
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert set(again.run_id) == {"123456789012", "1e5678901234", "00ab45678901"}
    assert again.dev_by_frequency.iloc[0][0] == [0, None]
    assert as_csv(again) == as_csv(frame)


@pytest.mark.parametrize(
    "delimiter, decimal, start, end",
    [
        (",", ".", "\ufeff", "\n"),
        (";", ",", "\ufeff", "\r\n"),
        (";", ".", "", "\n"),
        ("\t", ",", "", "\r\n"),
    ],
)
def test_a_table_that_a_spreadsheet_saved_is_the_same(outputs, delimiter, decimal, start, end):
    """Byte-order mark, semicolons or tabs, decimal commas, TRUE, and empty rows at its end."""
    frame = load_runs(outputs)
    rows = list(csv.reader(io.StringIO(as_csv(frame))))
    for row in rows[1:]:
        row[:] = [re.sub(r"^(-?\d+)\.(\d+)$", rf"\1{decimal}\2", cell) for cell in row]
        row[:] = [cell.upper() if cell in ("True", "False") else cell for cell in row]
    text = io.StringIO(start)
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerows([*rows, [""] * len(rows[0])])
    (outputs / "saved.csv").write_bytes(text.getvalue().encode())
    pd.testing.assert_frame_equal(read_results(outputs / "saved.csv"), frame, check_exact=True)


def test_an_analysis_may_be_about_a_csv(outputs):
    """`runs` names it; `dataset` picks from it."""
    frame = load_runs(outputs)
    (outputs / "some.csv").write_text(as_csv(frame), encoding="utf-8")
    runs = {"runs": str(outputs / "some.csv")}
    pd.testing.assert_frame_equal(select_runs(AnalysisConfig.from_dict(runs)), frame)
    of_null = select_runs(AnalysisConfig.from_dict(runs | {"dataset": "null"}))
    assert list(of_null.run_id) == ["00ab45678901"]


def test_a_published_table_of_sixty_runs_is_small(outputs):
    """With 40 probes a run it stays under 300 kB."""
    frame = pd.concat([load_runs(outputs)] * 20)
    assert len(frame) == 60 and len(as_csv(frame).encode()) < 300_000


@pytest.mark.parametrize(
    "column, cell, why",
    [
        *(
            (name, "", "it is blank")
            for name in ("seq_len", "batch_tokens", "tokens", "vocab_size")
        ),
        *((name, "  ", "it is blank") for name in ("seed", "dataset", "status", "dev_loss")),
        ("dev_loss", "-3", "it must be above 0, not -3"),
        ("dev_loss", "0", "it must be above 0, not 0"),
        ("dev_loss", "1e300", "it must be at most 700 nats per token"),
        ("dev_loss", "1e999", "Infinity is not a number"),
        ("dev_loss", "nan", "'nan' is not a number; leave it blank if unknown"),
        ("dev_loss", "5,1,2", "'5,1,2' is not a number"),
        ("d_model", "88.5", "88.5 is not a whole number"),
        ("embed_share", "35", "it must be below 1"),
        ("requested_share", "35", "it must be below 1"),
        ("glu", "1e300", "it must be at most 1e+18"),
        ("seed", "-1", "it must be between 0 and"),
        ("vocab_size", "1", "it must be between 257 and 65536"),
        ("embedding", "tide", "it must be one of tied"),
        ("status", "done", "it must be one of completed"),
        ("dev_curve", "[1", "is not a list of pairs of numbers"),
        ("dev_curve", "[1]", "is not a list of pairs of numbers"),
    ],
)
def test_a_cell_that_cannot_be_is_named_by_its_row_and_column(outputs, column, cell, why):
    """As a spreadsheet counts, with a byte-order mark and an empty row before it."""
    frame = load_runs(outputs)
    header, *rows = csv.reader(io.StringIO(as_csv(frame)))
    at = next(i for i, row in enumerate(rows) if "completed" in row)
    rows[at][header.index(column)] = cell
    text = io.StringIO()
    csv.writer(text).writerows([header, [], [""] * len(header), *rows])
    table = outputs / "edited.csv"
    table.write_text("\ufeff" + text.getvalue(), encoding="utf-8")
    with pytest.raises(RunError) as error:
        read_results(table)
    said = str(error.value)
    assert f"edited.csv: row {at + 4}, column {column}: " in said and why in said
    assert "\n" not in said


def test_what_a_run_without_a_result_leaves_blank_is_read(outputs):
    """A cell that failed, or that a sweep still expects, has hardly a value."""
    rows = load_runs(outputs).to_dict("records")
    rows += [
        NOTHING | {"status": status, "requested_share": 0.35} for status in ("failed", "missing")
    ]
    table = outputs / "open.csv"
    table.write_text(as_csv(as_frame(rows)), encoding="utf-8")
    assert list(read_results(table).status)[-2:] == ["failed", "missing"]


def test_a_row_longer_than_the_header_is_named(outputs):
    """A comma too many: the row with it."""
    lines = as_csv(load_runs(outputs)).splitlines()
    (outputs / "long.csv").write_text("\n".join([*lines[:2], lines[2] + ",7", lines[3]]))
    with pytest.raises(RunError, match=r"long\.csv: row 3 has"):
        read_results(outputs / "long.csv")


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "there is no file"),
        ("", "not a results.csv"),
        ("a,b\n1,2\n", "not a results.csv"),
        ("status,dev_loss\n,\n", "holds no run"),
    ],
)
def test_what_is_no_results_csv_is_refused(tmp_path, text, message):
    path = tmp_path / "x.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RunError, match=message) as error:
        read_results(path)
    assert "\n" not in str(error.value)


def test_a_table_puts_its_runs_back(outputs, tmp_path_factory):
    """On another machine: the same frame and table again, every probe of the curve; a second time
    nothing, and what is there stays."""
    frame = load_runs(outputs)
    other = tmp_path_factory.mktemp("other")
    (outputs / "results.csv").write_text(as_csv(frame.assign(batch_tokens=2048)), encoding="utf-8")
    mine = other / "runs" / "00ab45678901"
    mine.mkdir(parents=True)
    (mine / "result.json").write_text(json.dumps(result("00ab45678901", dev_loss=0.25)))
    assert restore_runs(outputs / "results.csv", other)[:2] == (
        ["123456789012", "1e5678901234"],
        ["00ab45678901"],
    )
    assert restore_runs(outputs / "results.csv", other)[0] == []
    assert read_json(mine / "result.json")["dev_loss"] == 0.25
    lines = (other / "runs" / "123456789012" / "metrics.jsonl").read_text().splitlines()
    probes = [json.loads(line) for line in lines]
    curve = [[probe["tokens"], probe["dev_loss"]] for probe in probes]
    assert curve == result("123456789012")["dev_curve"]
    (mine / "result.json").unlink()
    restore_runs(outputs / "results.csv", other)
    pd.testing.assert_frame_equal(
        load_runs(other), frame.assign(batch_tokens=2048), check_exact=True
    )


def test_an_id_that_is_none_writes_nothing(outputs):
    """A table whose id would lead out of the folder of runs is refused whole."""
    bad = load_runs(outputs).assign(run_id=["123456789013", "../../oh", "1e5678901235"])
    (outputs / "results.csv").write_text(as_csv(bad), encoding="utf-8")
    with pytest.raises(RunError, match="an id is 12 hexadecimal digits"):
        restore_runs(outputs / "results.csv", outputs / "new")
    unnamed = bad.assign(run_id=["123456789013", None, "1e5678901235"])
    (outputs / "results.csv").write_text(as_csv(unnamed), encoding="utf-8")
    with pytest.raises(RunError, match="has a run without an id"):
        restore_runs(outputs / "results.csv", outputs / "new")
    assert not (outputs / "new").exists()
