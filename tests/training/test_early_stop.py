"""A run that is clearly worse than the baseline is stopped by the rule, at the count it gives."""

import threading
import time

import pytest

from paramalloc.config import TrainConfig
from paramalloc.runs import Run
from paramalloc.training import train, trainer
from paramalloc.training.early_stop import Curve, EarlyStop


def cell(tiny, tmp_path, **values) -> TrainConfig:
    return TrainConfig.from_dict(tiny | {"outputs": str(tmp_path)} | values)


def test_early_stop_needs_an_unbroken_stretch_of_patience():
    """It fires when every probe of `patience` tokens in a row is worse by the margin, and not a
    probe earlier.
    """
    stop = EarlyStop(
        dict.fromkeys(range(0, 1000, 10), 10.0).get, margin=0.5, patience=40, grace=100
    )
    assert not any(stop(tokens, 99.0) for tokens in range(0, 100, 10))  # grace
    assert not any(stop(tokens, 10.5) for tokens in range(100, 140, 10))  # 30 tokens of it
    assert not stop(140, 10.4)  # the stretch breaks
    assert [stop(tokens, 10.6) for tokens in range(150, 200, 10)] == [False] * 4 + [
        True
    ] and stop.fired == 190


def test_early_stop_compares_at_equal_tokens_only():
    """A count that the baseline has no probe for says nothing, and a rule that never met one has
    compared nothing.
    """
    stop = EarlyStop({}.get, margin=0.5, patience=10, grace=0)
    assert not any(stop(tokens, 1e9) for tokens in range(0, 1000, 10)) and not stop.compared
    once = EarlyStop({500: 10.0}.get, margin=0.5, patience=10, grace=0)
    assert not any(once(tokens, 1e9) for tokens in range(0, 1000, 10)) and once.compared


@pytest.mark.parametrize(
    "mode, status", [("kill", "stopped_early"), ("flag", "completed"), ("off", "completed")]
)
def test_a_run_far_above_the_baseline_is_stopped_at_the_count_the_rule_gives(
    tiny, tiny_corpus, tmp_path, mode, status
):
    """`kill` ends it there, `flag` marks that count and trains on, `off` does neither."""
    config = cell(tiny, tmp_path, glu=2.0, early_stop=mode, stop_patience=20_480, stop_grace=10_000)
    baseline = Run(config.baseline(), tiny_corpus.fingerprint)
    with baseline.held():
        baseline.begin({})
        for tokens in range(5_120, 40_961, 5_120):
            baseline.record(tokens=tokens, dev_loss=0.0, dev_ppl=1.0)
    [result] = train(config, tiny_corpus)
    expected = 10_240 + 20_480  # the first probe after the grace period, then the patience
    assert result["status"] == status and result["flagged_at_tokens"] == (
        None if mode == "off" else expected
    )
    assert result["tokens_trained"] == (expected if mode == "kill" else 40_960)
    assert (result["dev_loss"] is None) == (mode == "kill")


def test_a_killed_run_is_trained_in_full_by_who_wants_it_whole(tiny, tiny_corpus, tmp_path):
    """stopped_early counts as finished only under `kill`."""
    config = cell(tiny, tmp_path, early_stop="kill")
    run = Run(config, tiny_corpus.fingerprint)
    with run.held():
        run.begin({})
        run.finish({"status": "stopped_early"})
    assert (
        run.finished
        and not Run(cell(tiny, tmp_path, early_stop="off"), tiny_corpus.fingerprint).finished
    )


def test_a_probe_that_the_baseline_lacks_does_not_interrupt_the_stretch():
    """Worse, nothing to compare with, worse: it fires where it would with the missing probe."""
    known = dict.fromkeys(range(0, 1000, 10), 10.0)
    gap = EarlyStop(
        {n: value for n, value in known.items() if n != 120}.get, margin=0.5, patience=40, grace=100
    )
    whole = EarlyStop(known.get, margin=0.5, patience=40, grace=100)
    assert [gap(n, 11.0) for n in range(0, 200, 10)] == [whole(n, 11.0) for n in range(0, 200, 10)]
    assert gap.fired == whole.fired == 140


def test_waiting_for_the_baseline_is_no_training_time(tiny, tiny_corpus, tmp_path, monkeypatch):
    """Speed counts the steps alone, though every probe waits for a second."""
    short = {"tokens": 8192, "probes": 4}
    monkeypatch.setattr(
        trainer,
        "make_early_stop",
        lambda *_: EarlyStop(lambda tokens: time.sleep(1.0), 0.5, 1, 0),
    )
    [waited] = train(cell(tiny, tmp_path, **short), tiny_corpus)
    counted = waited["tokens_trained"] / waited["tokens_per_s"]
    assert waited["wall_s"] > 4 and counted < waited["wall_s"] - 4


def test_a_cell_waits_for_the_baselines_curve_where_it_overtakes_it(tiny, tiny_corpus, tmp_path):
    """A probe is waited for while somebody holds the baseline, and not when it has ended, or was
    never there.
    """
    baseline = Run(cell(tiny, tmp_path), tiny_corpus.fingerprint)
    curve = Curve(baseline)
    assert curve(1024) is None
    with baseline.held():
        baseline.begin({})
        later = threading.Timer(0.7, lambda: baseline.record(tokens=1024, dev_ppl=7.0))
        later.start()
        assert curve(1024) == 7.0
        baseline.finish({"status": "completed"})
    started = time.monotonic()
    assert curve(2048) is None and time.monotonic() - started < 0.4
