"""One holder at a time, dead ones are replaced, and who lost a lease writes nothing."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from paramalloc.errors import LeaseLostError
from paramalloc.runs import Run, Watch, held_here, hold
from paramalloc.runs import lease as leases
from paramalloc.runs.lease import acquire, newest

HOLD = """
import sys, time
from pathlib import Path
from paramalloc.errors import LeaseLostError
from paramalloc.runs.lease import acquire
lease = acquire(Path(sys.argv[1]) / "lease")
print("held", flush=True)
while True:
    time.sleep(0.01)
    try:
        lease.write(lease.folder / "result.json", "written by the first")
        lease.check()
    except LeaseLostError as error:
        sys.exit(f"lost: {error}")
"""


@pytest.fixture
def first(tmp_path):
    """A process that holds the lease of a run and writes to it all the time."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PARAMALLOC_LEASE_SILENCE": "1"},
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_numbers_only_grow(tmp_path):
    """Each holder has a higher number than all before it, also after a release; of old ones
    nothing heaps up."""
    for number in range(1, 6):
        with hold(tmp_path / "lease") as lease:
            assert int(lease.desk.name) == number == newest(tmp_path / "lease")
            assert lease.folder == tmp_path
    assert [path.name for path in (tmp_path / "lease").iterdir()] == ["000005.released"]


def test_who_comes_second_waits(first, tmp_path):
    """As long as the first lives; it is told who that is. Once the first is killed, the lease is
    free at once."""
    holders = []

    def waiting(holder):
        holders.append(holder["pid"])
        # 1.6 s: longer than the silence after which one without a heartbeat is dead
        if len(holders) == 8:
            first.kill()
            first.wait()

    started = time.monotonic()
    lease = acquire(tmp_path / "lease", waiting)
    assert set(holders) == {first.pid} and 8 <= len(holders) <= 10
    assert time.monotonic() - started < 3
    lease.release()


def test_a_holder_that_comes_back_to_life_writes_nothing(first, tmp_path, monkeypatch):
    """Stopped (SIGSTOP), taken over after a second of silence, continued: it ends, and no file has
    changed. The second holder's heartbeat, which touches a file, rests meanwhile."""
    monkeypatch.setattr(leases, "SILENCE", 1.0)
    first.send_signal(signal.SIGSTOP)
    with hold(tmp_path / "lease") as lease:
        lease.write(tmp_path / "result.json", "written by the second")
        lease.stop.set()
        lease.heart.join()
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        first.send_signal(signal.SIGCONT)
        assert first.wait(5) == 1 and "lost: another process took over" in first.stderr.read()
        assert (tmp_path / "result.json").read_text() == "written by the second"
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def count_up(folder, times):
    for _ in range(times):
        with hold(folder / "lease"):
            path = folder / "count"
            seen = int(path.read_text())
            time.sleep(0.001)
            path.write_text(str(seen + 1))


def test_of_many_processes_one_at_a_time(tmp_path):
    """Six processes that read, wait and write a number 15 times each: no count is lost."""
    (tmp_path / "count").write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=count_up, args=(tmp_path, 15)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert (tmp_path / "count").read_text() == "90"
    assert not any(process.exitcode for process in processes)


def test_the_clock_of_another_host_does_not_matter(tmp_path, monkeypatch):
    """A holder elsewhere lives while its beats are new, whatever their date; without a new one it
    is dead after the silence."""
    monkeypatch.setattr(leases, "SILENCE", 0.5)
    desk = tmp_path / "lease" / "000001"
    desk.mkdir(parents=True)
    (desk / "holder.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "0"}))
    watch = Watch(tmp_path / "lease")
    for beat in (5, 1e9, 2e9, 7):
        os.utime(desk / "holder.json", (beat, beat))
        assert watch.look()[1]["host"] == "elsewhere"
        time.sleep(0.2)
    assert watch.look()[1]
    time.sleep(0.6)
    assert watch.look() == (1, None)


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path):
    """A process id that was given again belongs to a process that started at another time."""
    desk = tmp_path / "lease" / "000001"
    desk.mkdir(parents=True)
    (desk / "holder.json").write_text(json.dumps(leases.myself() | {"started": "1"}))
    assert Watch(tmp_path / "lease").look() == (1, None)


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_an_error_and_no_wait(tmp_path, monkeypatch, number):
    """Only a faster claimant is a reason to try again."""

    def rename(*_):
        raise OSError(number, "no")

    monkeypatch.setattr(leases.os, "rename", rename)
    with pytest.raises(OSError):
        acquire(tmp_path / "lease")


def test_a_former_holder_removes_nothing(tmp_path):
    """What it wanted to put away before it lost the lease stays."""
    (tmp_path / "result.json").write_text("of the second")
    with hold(tmp_path / "lease") as lease:
        pass
    with pytest.raises(LeaseLostError):
        lease.discard(tmp_path / "result.json")
    assert (tmp_path / "result.json").read_text() == "of the second"


def test_what_fails_for_another_reason_is_not_called_lost(tmp_path):
    with hold(tmp_path / "lease") as lease, pytest.raises(FileNotFoundError):
        lease.write(tmp_path / "no" / "such" / "folder.json", "x")
    with pytest.raises(LeaseLostError):
        lease.write(tmp_path / "late.json", "x")
    assert not (tmp_path / "late.json").exists()


@pytest.mark.parametrize(
    "name",
    ["desktop.ini", ".DS_Store", "Thumbs.db", "000001 (conflict)/holder.json", "١٢.released", "-5"],
)
def test_what_others_put_beside_a_lease_is_left_alone(tmp_path, name):
    """Nobody holds the run because of it, the lease is taken and released, the file stays."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("[synced]")
    assert Watch(tmp_path).look() == (0, None)
    with hold(tmp_path) as lease:
        assert lease.desk.name == "000001"
    with hold(tmp_path):
        assert newest(tmp_path) == 2
    assert (tmp_path / name).read_text() == "[synced]"


@pytest.mark.parametrize(
    "record", ["5", "[]", "{}", "null", "", '{"host": "x", "pid', "\xff", "[" * 10_000]
)
def test_a_damaged_record_holds_nothing(tmp_path, record):
    (tmp_path / "000001").mkdir()
    (tmp_path / "000001" / "holder.json").write_bytes(record.encode("latin-1"))
    assert Watch(tmp_path).look() == (1, None)
    with hold(tmp_path) as lease:
        assert lease.desk.name == "000002"


@pytest.mark.parametrize("changed", [{"pid": "x"}, {"pid": -1}, {"pid": 2**40}, {"host": 5}])
def test_a_record_of_no_process_holds_nothing(tmp_path, changed):
    (tmp_path / "000001").mkdir()
    record = json.dumps(leases.myself() | changed)
    (tmp_path / "000001" / "holder.json").write_text(record)
    assert Watch(tmp_path).look() == (1, None)


def test_a_file_in_the_place_of_a_lease_is_passed_over(tmp_path):
    (tmp_path / "000001").touch()
    with hold(tmp_path) as lease:
        assert lease.desk.name == "000002"


# ---- who else


def test_a_run_knows_which_others_this_machine_holds(tmp_path):
    """Those that a living process holds, but not itself, nor those that are released; one of
    another machine does not slow this one down.
    """
    run = object.__new__(Run)
    run.id, run.folder = "a", tmp_path / "a"
    assert run.beside() == set()
    with hold(tmp_path / "a" / "lease"), hold(tmp_path / "b" / "lease") as lease:
        with hold(tmp_path / "c" / "lease"):
            assert run.beside() == {"b", "c"}
        assert run.beside() == {"b"}
        assert held_here(tmp_path)["b"]["pid"] == os.getpid()
        path = lease.desk / "holder.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "elsewhere"}))
        assert run.beside() == set()
