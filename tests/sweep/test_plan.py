"""A dry run trains nothing and tells what a sweep would do; no study starts by mistake."""

import pytest
import yaml

from paramalloc.cli import main
from paramalloc.config import TrainConfig
from paramalloc.data import prepare
from paramalloc.runs import Run
from paramalloc.sweep import dry_run as plans
from paramalloc.sweep import format_plan, load_sweep, predict_sweep, rough_seconds
from paramalloc.sweep import probe as probes
from paramalloc.sweep.dry_run import predict_seconds


@pytest.fixture
def sweep(tiny, tmp_path):
    """Four cells of two seeds: one run finished, one held, one invalid cell."""
    path = tmp_path / "four.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "axes": {"embed_share": [0.2, 0.25, 0.35, 0.97]},
                "parameters": tiny | {"seed": [0, 1]},
            }
        )
    )
    corpus = prepare(tiny["dataset"], tiny["vocab_size"], tmp_path)
    plan = load_sweep(str(path), outputs=str(tmp_path))
    done = Run(plan.cells[0].config.runs()[0], corpus.fingerprint)
    with done.held():
        done.begin({})
        done.finish({"status": "completed"})
    return path, plan, corpus


def test_what_would_be_done_is_told(sweep, tmp_path):
    """Run, skip and why, wait and for whom, invalid; two probes at a time predict each run."""
    _, plan, corpus = sweep
    held = Run(plan.cells[1].config.runs()[1], corpus.fingerprint)
    with held.held():
        frame = predict_sweep(plan, jobs=2)
    assert list(frame.action.str.split(":").str[0]) == [
        "skip",
        "run",
        "run",
        "wait",
        "run",
        "run",
        "invalid",
    ]
    assert frame[frame.action == "run"].seconds.between(0, 60).all()
    assert frame[frame.action != "run"].seconds.isna().all()
    text = format_plan(frame, 2, tmp_path)
    for words in ("4 of 7 runs to train", "GB that are free", "skip: completed"):
        assert words in text
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(
        {held.id, Run(plan.cells[0].config.runs()[0], corpus.fingerprint).id}
    )


def test_a_large_step_is_predicted_from_a_part_of_it(tiny, monkeypatch):
    """On a CPU no more than STEP_TOKENS tokens are probed, and the time is scaled up."""
    config = TrainConfig.from_dict(tiny | {"batch_tokens": 8192})
    sizes = []
    step = probes.Learner.step
    monkeypatch.setattr(probes, "STEP_TOKENS", 1024)
    monkeypatch.setattr(
        probes.Learner,
        "step",
        lambda self, x, y, lr: (sizes.append(x.numel()), step(self, x, y, lr))[1],
    )
    monkeypatch.setattr(probes, "measure_seconds", lambda device, work: (work(), 2.0)[1])
    assert probes.probe_speed(config)["step_s"] == 16.0
    assert sizes == [1024] * probes.PROBED_STEPS


def test_the_prediction_by_hand(sweep):
    """40 steps, both splits and eight probes of 1,024 tokens."""
    _, plan, corpus = sweep
    config, splits = plan.cells[0].config, corpus.meta["splits"]
    scored = splits["valid"]["tokens"] + splits["test"]["tokens"] + 8 * 1024
    assert predict_seconds(config, corpus, {"step_s": 0.5, "score_s": 1e-3}) == pytest.approx(
        40 * 0.5 + scored * 1e-3
    )


def test_a_study_on_a_laptop_wants_yes(tmp_path, capsys):
    """The 12 cells of 50M tokens are days on a CPU: refused in one line, and nothing is made."""
    assert (
        rough_seconds(load_sweep("grid", profile="study", outputs=str(tmp_path))) > 24 * plans.HOUR
    )
    words = ["--profile", "study", "--dataset", "builtin", "--outputs", str(tmp_path / "o")]
    assert main(["sweep", "grid", *words]) == 2
    message = capsys.readouterr().err
    assert "add --yes to start it" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "o").exists()
    assert rough_seconds(load_sweep("grid", profile="quick", outputs=str(tmp_path))) < plans.HOUR


def test_a_probe_that_fails_is_told_in_one_line(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.executable", "false")
    assert main(["sweep", str(sweep[0]), "--dry-run", "--outputs", str(tmp_path)]) == 2
    assert "the probe failed" in capsys.readouterr().err
