"""What `paramalloc report` says of a notebook that fails: what failed and where."""

import pytest

from paramalloc.cli.report import _what_failed

FAILED = """\
Executing:  10%|█         | 1/10 [00:01<00:09]
papermill.exceptions.PapermillExecutionError:
---------------------------------------------------------------------------
Exception encountered at "In [9]":
---------------------------------------------------------------------------
\x1b[31m{kind}\x1b[39m                              Traceback (most recent call last)
Cell In[9], line 2
      1 runs = results
----> 2 report.fronts(runs)

File elsewhere.py:12, in fronts(runs)
---> 12 raise {kind}(text)

\x1b[31m{kind}\x1b[39m: {text}
"""


@pytest.mark.parametrize("kind", ["MaxRowsError", "KeyError", "pandas.errors.MergeError"])
def test_an_error_of_the_code_is_told_whole(tmp_path, kind):
    """Its kind, every line of its message, the cell, and where all of it is."""
    log = tmp_path / "new" / "report.log"
    text = "too many rows.\n\nSee the manual\non how to plot."
    message = _what_failed(FAILED.format(kind=kind, text=text), log)
    name = kind.split(".")[-1]
    assert f"{name}: too many rows. See the manual on how to plot." in message
    assert "at `report.fronts(runs)`" in message
    assert "report.log" in message
    assert "Cell In[9]" in log.read_text()


def test_a_users_mistake_is_its_message_alone(tmp_path):
    log = tmp_path / "report.log"
    text = "unknown dataset 'x'"
    assert _what_failed(FAILED.format(kind="DataError", text=text), log) == text
    assert not log.exists()


def test_a_kernel_that_does_not_start_is_told(tmp_path):
    message = _what_failed("warning\nno such kernel: python3\n", tmp_path / "report.log")
    assert message == "the analysis notebook was not executed: no such kernel: python3"
