"""A run that is clearly worse than the baseline is stopped by the rule, at the count it gives."""

import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from paramalloc.config import TrainConfig
from paramalloc.runs import EarlyStop, Run, as_csv, load_runs, restore_runs
from paramalloc.training import early_stop, train, trainer
from paramalloc.training.early_stop import Curve


def cell(tiny, tmp_path, **values) -> TrainConfig:
    return TrainConfig.from_dict(tiny | {"outputs": str(tmp_path)} | values)


def record_baseline(baseline: Run):
    """A baseline that no run comes near: its probes, at perplexity 1."""
    for tokens in range(5_120, 40_961, 5_120):
        baseline.record(tokens=tokens, dev_loss=0.0, dev_ppl=1.0)


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
        record_baseline(baseline)
    train(config, tiny_corpus)
    [run] = load_runs(tmp_path).to_dict("records")
    expected = 10_240 + 20_480  # the first probe after the grace period, then the patience
    assert (run["status"], run["early_stop"]) == (status, mode)
    assert run["compared"] == (mode != "off")
    if mode == "off":
        assert pd.isna(run["flagged_at_tokens"])
    else:
        assert run["flagged_at_tokens"] == expected
    assert run["tokens_trained"] == (expected if mode == "kill" else 40_960)
    assert pd.isna(run["dev_loss"]) == (mode == "kill")


def test_a_run_to_flag_waits_for_nothing_and_is_flagged_once_the_baseline_is_there(
    tiny, tiny_corpus, tmp_path, monkeypatch
):
    """It ends while another process holds a baseline without a probe; its flag comes with the
    baseline's curve, and stays where a table leaves the baseline behind.
    """

    def fail(seconds):
        pytest.fail("a run in flag mode waited for its baseline")

    monkeypatch.setattr(early_stop, "time", SimpleNamespace(sleep=fail))
    config = cell(tiny, tmp_path, glu=2.0, early_stop="flag", stop_patience=20_480, stop_grace=0)
    baseline = Run(config.baseline(), tiny_corpus.fingerprint)
    with baseline.held():
        baseline.begin({})
        [result] = train(config, tiny_corpus)
        [before] = load_runs(tmp_path).to_dict("records")
        record_baseline(baseline)
    assert result["status"] == "completed" and result["baseline_run"] == baseline.id
    assert not before["compared"] and pd.isna(before["flagged_at_tokens"])
    after = load_runs(tmp_path)
    assert list(after.compared) == [True] and list(after.flagged_at_tokens) == [25_600]
    (tmp_path / "results.csv").write_text(as_csv(after), encoding="utf-8")
    restore_runs(tmp_path / "results.csv", tmp_path / "other")
    pd.testing.assert_frame_equal(load_runs(tmp_path / "other"), after)


def test_the_baseline_is_compared_with_nobody(tiny, tiny_corpus, tmp_path):
    [result] = train(cell(tiny, tmp_path, tokens=8192, early_stop="flag"), tiny_corpus)
    assert result["early_stop"] == "flag" and result["compared"] is False
    assert result["baseline_run"] is result["stop_margin"] is None


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


def test_a_baseline_whose_process_was_lost_is_waited_for(tiny, tiny_corpus, tmp_path, monkeypatch):
    """Another one goes on with it in seconds; a run that is not taken up again is given up."""
    baseline = Run(cell(tiny, tmp_path), tiny_corpus.fingerprint)
    curve = Curve(baseline)

    def go_on():
        with baseline.held():
            baseline.begin({})
            baseline.record(tokens=1024, dev_ppl=7.0)

    with baseline.held():
        assert not curve.probes and curve._is_trained()
    threading.Timer(0.7, go_on).start()
    assert curve(1024) == 7.0
    monkeypatch.setattr(early_stop, "RESTART_S", 1.0)
    started = time.monotonic()
    assert curve(2048) is None and time.monotonic() - started < 3
