"""A stage says how long it still takes, as soon as that is known."""

from paramalloc.runs import TimeLeft, progress


def test_the_time_left_is_that_of_the_stage(monkeypatch):
    """From its own speed: not known at its beginning, nothing at its end."""
    clock = iter([0.0, 10.0, 20.0, 100.0, 101.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    time_left = TimeLeft()
    assert [time_left("dev", fraction) for fraction in (0.0, 0.25, 1.0)] == [None, 30.0, 0.0]
    assert time_left("blimp", 0.5) is None  # told after its first part
    assert time_left("blimp", 0.75) == 1.0
