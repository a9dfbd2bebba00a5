"""Streams and signals as shells, daemons and old terminals leave them."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from paramalloc.config import ROOT
from paramalloc.runs import load_runs

PARAMALLOC = f"{sys.executable} -m paramalloc"
LONG = "allocate --grid --json"


def shell(line, **environment):
    """What a line of bash, in which `$P` is the command, gives: its exit status and its errors."""
    words = ["bash", "-o", "pipefail", "-c", line]
    environment = os.environ | {"P": PARAMALLOC} | environment
    done = subprocess.run(words, cwd=ROOT, check=False, env=environment, capture_output=True)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    "line",
    [
        f"$P {LONG} | true",
        f"$P {LONG} 2>&1 | head -1",
        f"$P {LONG} >&-",
        f"$P {LONG} <&- >&- 2>&-",
        "$P sweep --help | head -1",
        "timeout 20 $P status --watch --outputs nothing | head -1",
    ],
)
def test_output_that_nobody_reads_ends_in_nothing(line):
    """A reader that has gone, or closed streams: no traceback, status 0."""
    assert shell(line) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(tmp_path):
    """A file on a full disk would be taken for the answer."""
    status, said = shell(f"$P {LONG} > /dev/full")
    assert status == 1 and said.count("\n") == 1 and "No space left" in said
    assert shell("$P allocate --glu abc 2> /dev/full")[0] == 2


@pytest.fixture
def line(tiny, tmp_path):
    """The sweep of one tiny run, as a line of bash."""
    content = {"axes": {"seed": [0]}, "parameters": tiny | {"tokens": 4096, "probes": 2}}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(content))
    return f"$P sweep {tmp_path}/one.yaml --outputs {tmp_path}/o --notebooks off"


@pytest.mark.parametrize("end", [">&- 2>&-", "2>&1 | true"])
def test_a_sweep_that_nobody_reads_trains_to_its_end(line, end, tmp_path):
    status, said = shell(f"{line} {end}")
    assert (status, said) == (0, "") and len(load_runs(tmp_path / "o")) == 1


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_is_not_utf8_shows_question_marks(encoding):
    """The message of a mistake repeats what was typed, whatever it is."""
    status, said = shell("$P report 語…📚", PYTHONIOENCODING=encoding)
    assert status == 2 and said.count("\n") == 1 and "?" in said
    assert shell("$P status --outputs …", PYTHONIOENCODING=encoding) == (0, "")


def test_a_line_of_progress_may_hold_any_character():
    code = "from paramalloc.cli.streams import prepare_streams as p; p(); print('a … b')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
    )
    assert done.stdout == b"a ? b\n"


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_nohup_outlives_the_terminal():
    """SIGHUP is ignored where it was ignored at the start, and ends a command elsewhere."""
    for before, expected in [("nohup ", None), ("", 130)]:
        words = ["bash", "-c", f"exec {before}{PARAMALLOC} status --watch --outputs nothing"]
        command = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert command.stdout.readline()  # it has begun
        command.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + (2 if expected is None else 20)
        while command.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        found = command.poll()
        command.kill()
        command.communicate()
        assert found == expected
