"""What a measurement keeps of a part that fails, and what it leaves alone."""

import pytest

from paramalloc.errors import RunError
from paramalloc.evaluation import measurement
from paramalloc.runs import TIMED


def fail(error):
    raise error


def test_a_part_that_fails_is_named():
    """No column is filled; that a run is interrupted is no failure of a part."""
    measured = measurement._attempt("smallbench", fail, RuntimeError("no such kernel"))
    assert measured.columns == {}
    assert measured.failed == {"smallbench": "RuntimeError: no such kernel"}
    with pytest.raises(RunError):
        measurement._attempt("smallbench", fail, RunError("interrupted"))


@pytest.mark.parametrize("speeds", [None, "training", "alone"])
def test_speeds_outlast_an_evaluation(speeds):
    """`paramalloc time` alone writes them. What is measured is renewed."""
    timed = dict.fromkeys(TIMED, 5.0) | {"speeds": speeds}
    again = measurement._replace_measured(
        timed | {"dev_loss": 3.0}, {"dev_loss": 2.0, "weight_bytes": 7}
    )
    assert again["dev_loss"] == 2.0
    assert {name: again[name] for name in TIMED} == timed
