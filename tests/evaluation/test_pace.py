"""Progress on a GPU is of its work, not of what was launched: here with a device of paper."""

import pytest
import torch

from paramalloc.evaluation import pace
from paramalloc.evaluation.pace import AHEAD, Pace


@pytest.fixture
def events(monkeypatch):
    """What happens, in order: a batch is given (+n), is waited for (-n), a fraction is told."""
    events = []
    monkeypatch.setattr(pace, "wait_for", lambda moment: events.append(-moment))
    monkeypatch.setattr(pace, "stamp", lambda _: events.append(len(events) + 1) or len(events))
    return events


def test_nothing_is_told_before_it_is_done(events):
    """Each fraction right after its batch was waited for, and in the end all."""
    gpu = Pace(torch.device("cuda"), lambda fraction: events.append(f"{fraction:.2f}"))
    for number in range(1, 21):
        gpu(number / 20)
    gpu.end()
    given = [event for event in events if isinstance(event, int) and event > 0]
    told = [n for n, event in enumerate(events) if isinstance(event, str)]
    assert [events[n] for n in told] == [f"{number / 20:.2f}" for number in range(1, 21)]
    assert [-events[n - 1] for n in told] == given


def test_a_gpu_is_always_a_few_batches_behind(events):
    """It neither idles nor is given all at once, whether somebody watches or not."""
    gpu = Pace(torch.device("cuda"), None)
    waiting = []
    for number in range(1, 21):
        gpu(number / 20)
        waiting.append(sum(1 if event > 0 else -1 for event in events))
    assert waiting == [*range(1, AHEAD + 1), *[AHEAD] * (20 - AHEAD)]
    gpu.end()
    assert sum(1 if event > 0 else -1 for event in events) == 0


def test_a_cpu_is_told_of_at_once():
    told = []
    cpu = Pace(torch.device("cpu"), told.append)
    for fraction in (0.5, 1.0):
        cpu(fraction)
        assert told[-1] == fraction
