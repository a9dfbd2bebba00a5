"""Runs that come back from a table or an archive are those that went in, and nothing else."""

import json
import os
import stat
import zipfile
from random import Random

import pytest

from paramalloc.cli import main
from paramalloc.errors import DiskError, RunError
from paramalloc.runs import (
    RESULT_COLUMNS,
    as_csv,
    as_json,
    hold,
    load_runs,
    read_json,
    restore_runs,
    runs_to_restore,
    write_archive,
)
from paramalloc.runs import archive as archives
from paramalloc.sweep import status_table

IDS = ["000000000001", "000000000002", "0000000000ab"]
NAMES = ["config.json", "evaluation.json", "items.safetensors", "metrics.jsonl", "result.json"]


def result(run_id, **values):
    """A finished run, of which some columns are whole numbers in one run and empty in another."""
    known = {
        "run_id": run_id,
        "status": "completed",
        "seed": 1,
        "tokens": 4096,
        "tokens_trained": 4096,
        "batch_tokens": 1024,
        "dev_loss": 1 / 3,
        "dev_curve": [[2048, 5.12345], [4096, 4.2]],
        "compiled": False,
        "wall_s": 3.25,
    }
    return dict.fromkeys(RESULT_COLUMNS) | known | values


@pytest.fixture
def outputs(tmp_path):
    """Three finished runs with all files; the last one has more columns than the others."""
    runs = [result(run_id) for run_id in IDS]
    runs[2] |= {"flagged_at_tokens": 2048, "d_embed": 96, "compiled": True, "threads": 2}
    for values in runs:
        folder = tmp_path / "here" / "runs" / values["run_id"]
        folder.mkdir(parents=True)
        records = [{"step": n, "tokens": 1024 * n, "train_loss": 5 / n} for n in range(1, 5)]
        lines = [json.dumps(record) + "\n" for record in records]
        (folder / "config.json").write_text(as_json({"d_model": 8, "n_layers": 2, "tokens": 4096}))
        (folder / "metrics.jsonl").write_text("".join(lines))
        (folder / "evaluation.json").write_text("{}\n")
        (folder / "items.safetensors").write_bytes(b"\0" * 100)
        (folder / "result.json").write_text(as_json(values))
    return tmp_path / "here"


def folders(outputs):
    return sorted((outputs / "runs").iterdir())


def test_an_archive_brings_every_small_file_back(outputs, tmp_path):
    """Byte for byte; weights stay, and so do items that are large; a second time nothing is new."""
    archive, there = tmp_path / "seed-1.zip", tmp_path / "there"
    (folders(outputs)[0] / "checkpoint").mkdir()
    (folders(outputs)[1] / "items.safetensors").write_bytes(os.urandom(archives.LARGEST_ITEMS + 1))
    write_archive(archive, folders(outputs))
    assert restore_runs(archive, there) == (IDS, [], {})
    for run_id in IDS:
        names = [name for name in NAMES if run_id != IDS[1] or name != "items.safetensors"]
        files = [path for path in (there / "runs" / run_id).iterdir() if path.is_file()]
        assert sorted(path.name for path in files) == names
        for path in files:
            assert path.read_bytes() == (outputs / "runs" / run_id / path.name).read_bytes()
    assert restore_runs(tmp_path, there) == ([], IDS, {})  # the folder of archives
    before = archive.read_bytes()
    write_archive(archive, folders(outputs))
    assert archive.read_bytes() == before


def test_a_result_of_a_table_is_the_result_byte_for_byte(outputs, tmp_path):
    """Also whole numbers of a column that other runs leave empty, which pandas makes fractions."""
    (tmp_path / "results.csv").write_text(as_csv(load_runs(outputs)), encoding="utf-8")
    restore_runs(tmp_path / "results.csv", tmp_path / "there")
    for folder in folders(outputs):
        restored = tmp_path / "there" / "runs" / folder.name / "result.json"
        assert restored.read_bytes() == (folder / "result.json").read_bytes()


def test_an_archive_completes_what_a_table_put_back(outputs, tmp_path):
    """A table has no config and no training losses."""
    (tmp_path / "results.csv").write_text(as_csv(load_runs(outputs)), encoding="utf-8")
    write_archive(tmp_path / "seed-1.zip", folders(outputs)[:2])
    restore_runs(tmp_path / "results.csv", tmp_path / "there")
    assert restore_runs(tmp_path / "seed-1.zip", tmp_path / "there").new == IDS[:2]
    assert (tmp_path / "there" / "runs" / IDS[0] / "config.json").exists()
    assert restore_runs(tmp_path / "results.csv", tmp_path / "there").present == IDS


def test_a_run_that_a_process_trains_is_left_alone(outputs, tmp_path):
    """Its record belongs to the process that holds it; the others come back."""
    write_archive(tmp_path / "seed-1.zip", folders(outputs))
    taken = tmp_path / "there" / "runs" / IDS[1]
    with hold(taken / "lease"):
        restored = restore_runs(tmp_path / "seed-1.zip", tmp_path / "there")
        assert [path.name for path in taken.iterdir()] == ["lease"]
    assert restored.new == [IDS[0], IDS[2]]
    assert restored.held[IDS[1]]["pid"] == os.getpid()
    assert restore_runs(tmp_path / "seed-1.zip", tmp_path / "there").new == [IDS[1]]


GOOD = {
    "runs/000000000001/config.json": "{}",
    "runs/000000000001/result.json": as_json(result(IDS[0])),
}


@pytest.mark.parametrize(
    "members, message",
    [
        ({"../oh": "x"}, "holds '../oh', which is no file of a run"),
        ({"/etc/oh": "x"}, "no file of a run"),
        ({"runs/000000000001/../../oh": "x"}, "no file of a run"),
        ({"runs/000000000001/checkpoint/oh": "x"}, "no file of a run"),
        ({"runs/00000000000g/result.json": "x"}, "no file of a run"),
        ({"runs/000000000002/config.json": "{}"}, "record of run 000000000002 is damaged"),
        ({"runs/000000000001/metrics.jsonl": "5\n"}, "record of run 000000000001 is damaged"),
        ({"runs/000000000001/config.json": "[" * 10**5}, "record of run 000000000001 is damaged"),
        ({"runs/000000000002/result.json": as_json(result(IDS[0]))}, "cannot have run_id"),
        ({"runs/000000000001/result.json": as_json({"run_id": IDS[0]})}, "cannot have status None"),
    ],
)
def test_a_hostile_archive_is_refused_whole(tmp_path, members, message):
    """One line that names what is wrong, and nothing is written."""
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for name, text in (GOOD | members).items():
            archive.writestr(name, text)
    refused(tmp_path / "bad.zip", message)


def refused(source, message):
    with pytest.raises(RunError, match=message) as error:
        restore_runs(source, source.parent / "there")
    assert "\n" not in str(error.value)
    assert not (source.parent / "there").exists()


def test_links_copies_bombs_and_damage_in_an_archive_are_refused(tmp_path, monkeypatch):
    """No member leads elsewhere, hides another, fills the memory, or has changed since."""
    path = tmp_path / "bad.zip"
    link = zipfile.ZipInfo("runs/000000000001/metrics.jsonl")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(path, "no file of a run")

    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("runs/000000000001/config.json", "{}")
        archive.writestr("runs/000000000001/config.json", "[]")
    refused(path, "holds runs/000000000001/config.json twice")

    monkeypatch.setattr(archives, "LARGEST_ARCHIVE", 2**20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("runs/000000000001/metrics.jsonl", bytes(2**20 + 1))
    refused(path, "bytes, unpacked")

    with zipfile.ZipFile(path, "w") as archive:
        for name, text in GOOD.items():
            archive.writestr(name, text)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"completed", b"complated"))
    refused(path, "is damaged, or no archive of runs")
    path.write_bytes(whole[:-30])
    refused(path, "is damaged, or no archive of runs")


@pytest.mark.parametrize(
    "column, value",
    [
        ("dev_loss", '"low"'),
        ("dev_loss", "1e999"),
        ("seed", "0.5"),
        ("wall_s", "[1]"),
        ("dev_curve", "5"),
        ("dev_curve", "[[1024]]"),
        ("dev_curve", '[["a", 1]]'),
        ("dev_curve", "[[1024, 1e9]]"),
        ("dev_by_frequency", "[[1, 1e999]]"),
        ("compiled", "3"),
    ],
)
def test_a_value_that_cannot_be_is_refused(outputs, tmp_path, column, value):
    """The line names table, row or run, and column; nothing is written."""
    frame = load_runs(outputs).astype({column: object})
    frame.loc[1, column] = value
    (tmp_path / "bad.csv").write_text(as_csv(frame), encoding="utf-8")
    place = f"row 3, column {column}: |run 000000000002 cannot have {column}"
    refused(tmp_path / "bad.csv", rf"bad\.csv: ({place})")


def test_random_damage_ends_in_one_line(outputs, tmp_path):
    """Of a table and of an archive, 200 each: bits flipped, bytes lost or doubled."""
    (tmp_path / "whole.csv").write_text(as_csv(load_runs(outputs)), encoding="utf-8")
    write_archive(tmp_path / "whole.zip", folders(outputs))
    random = Random(3)
    for suffix in [".csv", ".zip"] * 200:
        content = bytearray((tmp_path / f"whole{suffix}").read_bytes())
        place = random.randrange(len(content))
        content[place] ^= 1 << random.randrange(8)
        place = random.randrange(len(content))
        content[place : place + random.choice([0, 1, 1000])] = b"9" * random.choice([0, 1, 100])
        bad = tmp_path / f"bad{suffix}"
        bad.write_bytes(content)
        try:
            runs_to_restore(bad, tmp_path / "there")
        except RunError as error:
            assert "\n" not in str(error)


def test_a_disk_that_cannot_be_written_is_one_line(outputs, tmp_path):
    write_archive(tmp_path / "seed-1.zip", folders(outputs))
    (tmp_path / "there").write_text("")
    with pytest.raises(DiskError, match="the same command goes on"):
        restore_runs(tmp_path / "seed-1.zip", tmp_path / "there")


def test_the_longest_curve_is_read_again(outputs, tmp_path):
    """10,000 probes, as many as a run may have."""
    path = folders(outputs)[0] / "result.json"
    curve = [[1024 * n, 5.12345] for n in range(1, 10_001)]
    path.write_text(as_json(result(IDS[0], dev_curve=curve)))
    (tmp_path / "results.csv").write_text(as_csv(load_runs(outputs)), encoding="utf-8")
    restore_runs(tmp_path / "results.csv", tmp_path / "there")
    assert read_json(tmp_path / "there" / "runs" / IDS[0] / "result.json")["dev_curve"] == curve


def test_what_was_put_back_is_seen_by_status(outputs, tmp_path, capsys):
    """`restore` says how much came back, and status shows it, with the shape of its name."""
    there = tmp_path / "there"
    (tmp_path / "results.csv").write_text(as_csv(load_runs(outputs)), encoding="utf-8")
    assert main(["restore", str(tmp_path / "results.csv"), "--outputs", str(there)]) == 0
    assert "3 runs put back, 0 were there" in capsys.readouterr().out
    rows = status_table(there)
    assert list(rows.run) == IDS
    assert set(rows.state) == {"completed"}
    assert set(rows.of) == {4096}
    assert main(["restore", str(tmp_path), "--outputs", str(there)]) == 2
    assert "holds no archive of runs" in capsys.readouterr().err
