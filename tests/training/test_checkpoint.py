"""An interrupted run is the run that was never interrupted; a damaged file costs time and nothing
else.
"""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from paramalloc.config import ROOT, TrainConfig
from paramalloc.errors import InterruptedRunError, RunError
from paramalloc.runs import Run, read_json, read_metrics
from paramalloc.training import Learner, train
from paramalloc.training.checkpoint import list_checkpoints, newest_whole

STEPS = 12
CELL_SCRIPT = Path(__file__).with_name("train_cell.py")
SHORT = {"tokens": STEPS * 1024, "probes": 3, "checkpoint_seconds": 0}


def cell(tiny, outputs, **changed) -> TrainConfig:
    return TrainConfig.from_dict(tiny | SHORT | {"outputs": str(outputs)} | changed)


def state(config, corpus) -> tuple[dict, list[dict], dict]:
    """Final weights, metrics without the speed, and the result without times and dates."""
    folder = Run(config, corpus.fingerprint).folder
    metrics = [
        {name: value for name, value in row.items() if name != "tokens_per_s"}
        for row in read_metrics(folder)
    ]
    same = (
        "dev_loss",
        "test_loss",
        "tokens_trained",
        "steps",
        "status",
        "flagged_at_tokens",
        "run_id",
    )
    return (
        load_file(folder / "checkpoint" / "final" / "model.safetensors"),
        metrics,
        {name: read_json(folder / "result.json")[name] for name in same},
    )


def assert_same(one, other):
    assert one[0].keys() == other[0].keys() and all(
        torch.equal(one[0][name], other[0][name]) for name in one[0]
    )
    assert one[1:] == other[1:]


def stopped_at(monkeypatch, step):
    """From here on a signal arrives in the middle of that step."""
    original = Learner.step
    count = iter(range(1, 10_000))

    def signalled(self, *batch):
        if next(count) == step:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *batch)

    monkeypatch.setattr(Learner, "step", signalled)


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"embedding": "untied"},
        {"embedding": "factorized", "precision": "fp32"},
        {"mlp": "relu2", "precision": "bf16"},
        {"parametrization": "completep", "optimizer": "muon"},
    ],
    ids=str,
)
def test_n_steps_and_n_more_are_2n_steps(kind, tiny, tiny_corpus, tmp_path, monkeypatch):
    """Stopped after each step and continued: weights bit for bit, metrics without a gap or a
    duplicate, the same result.
    """
    whole = cell(tiny, tmp_path / "whole", **kind)
    train(whole, tiny_corpus)
    config = cell(tiny, tmp_path / "parts", checkpoint_seconds=1e6, **kind)
    for step in range(1, STEPS + 1):
        with (
            monkeypatch.context() as patch,
            pytest.raises(
                InterruptedRunError,
                match=rf"interrupted (at|after) step {step}\b.*; the same command goes on",
            ),
        ):
            stopped_at(patch, 1)
            train(config, tiny_corpus)
        assert [
            path.name
            for path in list_checkpoints(Run(config, tiny_corpus.fingerprint).folder / "checkpoint")
        ][-1:] == [f"step-{step:08}"]
    train(config, tiny_corpus)
    assert_same(state(whole, tiny_corpus), state(config, tiny_corpus))


@pytest.fixture
def halfway(tiny, tiny_corpus, tmp_path, monkeypatch):
    """(the whole run's state, the config of one stopped after 7 of 12 steps, its folder)."""
    whole, config = cell(tiny, tmp_path / "whole"), cell(tiny, tmp_path / "half")
    train(whole, tiny_corpus)
    with monkeypatch.context() as patch, pytest.raises(InterruptedRunError):
        stopped_at(patch, 7)
        train(config, tiny_corpus)
    return state(whole, tiny_corpus), config, Run(config, tiny_corpus.fingerprint).folder


def test_two_checkpoints_are_kept_and_the_final_one_stays(halfway, tiny_corpus):
    """The last two on the way; at the end only `final`, whose model.safetensors holds the weights
    alone.
    """
    _, config, folder = halfway
    assert [path.name for path in list_checkpoints(folder / "checkpoint")] == [
        "step-00000006",
        "step-00000007",
    ]
    train(config, tiny_corpus)
    assert [path.name for path in (folder / "checkpoint").iterdir()] == ["final"]
    assert not list(folder.rglob("*.pt")) + list(folder.rglob("*.pkl"))


def test_a_checkpoint_cut_at_any_of_50_offsets(halfway, tiny_corpus, capsys):
    """Each file of the newest checkpoint, cut anywhere: it is named, the one before is used, the
    run ends the same.
    """
    whole, config, folder = halfway
    original = folder.with_name("original")
    shutil.copytree(folder, original)
    files = sorted(path.name for path in (folder / "checkpoint" / "step-00000007").iterdir())
    for cut in range(50):
        shutil.rmtree(folder)
        shutil.copytree(original, folder)
        path = folder / "checkpoint" / "step-00000007" / files[cut % len(files)]
        size = path.stat().st_size
        with open(path, "r+b") as file:
            file.truncate(size * cut // 50)
        assert newest_whole(folder / "checkpoint").name == "step-00000006"
        assert "step-00000007 is damaged" in capsys.readouterr().out
    train(config, tiny_corpus)
    assert_same(whole, state(config, tiny_corpus))


def test_without_any_checkpoint_it_begins_again(halfway, tiny_corpus):
    whole, config, folder = halfway
    for path in list_checkpoints(folder / "checkpoint"):
        (path / "model.safetensors").write_bytes(b"")
    train(config, tiny_corpus)
    assert_same(whole, state(config, tiny_corpus))


def test_metrics_cut_in_the_middle_of_a_line(halfway, tiny_corpus):
    """The record goes on from the checkpoint's own copy, whatever became of the file."""
    whole, config, folder = halfway
    content = (folder / "metrics.jsonl").read_bytes()
    (folder / "metrics.jsonl").write_bytes(content[:-9])
    train(config, tiny_corpus)
    assert_same(whole, state(config, tiny_corpus))


def test_a_deleted_result_is_measured_again_and_not_trained(halfway, tiny_corpus, monkeypatch):
    """The final checkpoint says that training is complete; so does one whose measuring was
    interrupted.
    """
    whole, config, folder = halfway
    train(config, tiny_corpus)
    before = read_json(folder / "result.json")
    (folder / "result.json").unlink()
    monkeypatch.setattr(Learner, "step", None)
    [again] = train(config, tiny_corpus)
    assert_same(whole, state(config, tiny_corpus))
    assert (
        again["tokens_per_s"] == before["tokens_per_s"]
        and again["wall_s"] > before["tokens_trained"] / before["tokens_per_s"]
    )


STAGES = [
    "perplexity of dev",
    "perplexity of test",
    "SmallBench, blimp",
    "SmallBench, piqa",
    "SmallBench, n-gram models of the training text",
]


@pytest.mark.parametrize("lost", [False, True], ids=["raised", "lost"])
def test_a_signal_while_measuring_ends_at_once(
    lost, tiny, tiny_corpus, small_sets, tmp_path, monkeypatch
):
    """In any stage, also where a library swallows the error. The final weights stay, and the same
    command measures again without training.
    """
    values = {"smallbench": "full", "smallbench_data": str(small_sets)}
    seen = []

    def stop_in(stage):
        def told(record):
            seen.append(record.get("stage"))
            if seen[-1] == stage:
                with suppress(InterruptedRunError if lost else ()):
                    signal.raise_signal(signal.SIGINT)

        return told

    whole = cell(tiny, tmp_path / "whole", **values)
    train(whole, tiny_corpus)
    config = cell(tiny, tmp_path, **values)
    folder = Run(config, tiny_corpus.fingerprint).folder
    for stage in STAGES[: 3 if lost else None]:
        with pytest.raises(InterruptedRunError, match="the same command goes on"):
            train(config, tiny_corpus, stop_in(stage))
        assert seen[-1] == stage
        assert newest_whole(folder / "checkpoint").name == "final"
        assert not (folder / "result.json").exists()
        assert not list((folder / "lease").glob("*/"))
        monkeypatch.setattr(Learner, "step", None)
    train(config, tiny_corpus)
    assert_same(state(whole, tiny_corpus), state(config, tiny_corpus))
    expected = read_json(Run(whole, tiny_corpus.fingerprint).folder / "evaluation.json")
    assert read_json(folder / "evaluation.json")["smallbench"] == expected["smallbench"]


def test_a_failed_measurement_loses_nothing(tiny, tiny_corpus, tmp_path, monkeypatch, capsys):
    """The run is complete, what failed is missing, and evaluation.json says why."""

    def broken(*_, **__):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("paramalloc.evaluation.measurement.generate", broken)
    config = cell(tiny, tmp_path)
    [result] = train(config, tiny_corpus)
    assert result["status"] == "completed" and result["dev_loss"]
    failed = read_json(Run(config, tiny_corpus.fingerprint).folder / "evaluation.json")["failed"]
    assert (
        failed == {"sample": "RuntimeError: no such kernel"}
        and "sample could not be measured" in capsys.readouterr().out
    )


def test_a_run_does_not_go_on_as_another_one(halfway, tiny_corpus):
    """A folder whose record says other parameters, text, recipe or precision is refused, and the
    difference is named.
    """
    _, config, folder = halfway
    kept = json.loads((folder / "config.json").read_text())
    for change, words in (
        (kept | {"precision": "fp16"}, "precision was fp16 and is"),
        (kept | {"data_fingerprint": "f"}, "data_fingerprint was f and is"),
        (
            kept | {"parameters": kept["parameters"] | {"grad_clip": 2.0}},
            "grad_clip was 2.0 and is 1.0",
        ),
        (
            kept | {"parameters": kept["parameters"] | {"d_model": 96}},
            "d_model was 96 and is None",
        ),
        (kept | {"recipe": 0}, "recipe was 0 and is"),
    ):
        (folder / "config.json").write_text(json.dumps(change))
        with pytest.raises(RunError, match=words):
            train(config, tiny_corpus)


def test_the_same_text_by_another_path_is_the_same_run(halfway, tiny_corpus):
    """A corpus is what its fingerprint says; how its folder was named does not matter."""
    whole, config, _ = halfway
    other = replace(
        config, dataset=str(Path(config.dataset).parent / "." / Path(config.dataset).name) + "/"
    )
    train(other, tiny_corpus)
    assert_same(whole, state(config, tiny_corpus))


def test_a_record_that_is_torn_is_read_up_to_there(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "tokens": 8}\n{"step": 2, "tokens": 8}\n{"st{"step": 3}\n{"step": 4}\n'
    )
    assert read_metrics(tmp_path) == [{"step": 1, "tokens": 8}, {"step": 2, "tokens": 8}]


def test_a_run_that_was_stopped_stays_stopped(tiny, tiny_corpus, tmp_path, monkeypatch):
    """Early stop fired and was kept, and the process died before it said so: the next one says so,
    at the same count.
    """
    config = cell(
        tiny, tmp_path, baseline_glu=4.0, early_stop="kill", stop_patience=1, stop_grace=0
    )
    baseline = Run(config.baseline(), tiny_corpus.fingerprint)
    with baseline.held():
        baseline.begin({})
        for tokens in range(1024, STEPS * 1024 + 1, 1024):
            baseline.record(tokens=tokens, dev_loss=0.0, dev_ppl=1.0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(config, tiny_corpus)
    monkeypatch.setattr(Learner, "step", None)
    [result] = train(config, tiny_corpus)
    assert (
        result["status"] == "stopped_early"
        and result["tokens_trained"] == result["flagged_at_tokens"] == 8 * 1024
    )


def test_a_stopped_run_goes_on_from_where_it_was_stopped(tiny, tiny_corpus, tmp_path, monkeypatch):
    """Killed by early stop, then asked for in full: only the rest is trained, and it is the run
    never killed.
    """
    whole = cell(tiny, tmp_path / "whole")
    train(whole, tiny_corpus)
    killed = cell(
        tiny,
        tmp_path / "killed",
        glu=2.66,
        baseline_glu=4.0,
        early_stop="kill",
        stop_patience=1,
        stop_grace=0,
    )
    baseline = Run(killed.baseline(), tiny_corpus.fingerprint)
    with baseline.held():
        baseline.begin({})
        for tokens in range(1024, STEPS * 1024 + 1, 1024):
            baseline.record(tokens=tokens, dev_loss=0.0, dev_ppl=1.0)
    [result] = train(killed, tiny_corpus)
    assert result["status"] == "stopped_early" and result["tokens_trained"] == 8 * 1024
    steps, step = [], Learner.step
    monkeypatch.setattr(Learner, "step", lambda self, *batch: steps.append(1) or step(self, *batch))
    train(cell(tiny, tmp_path / "killed"), tiny_corpus)
    assert len(steps) == STEPS - 8
    assert_same(state(whole, tiny_corpus), state(killed, tiny_corpus))


def test_a_terminated_process_keeps_its_run(tiny, tiny_corpus, tmp_path):
    """SIGTERM to a training process: a checkpoint, one line that says so, a non-zero exit; then it
    goes on.
    """
    config = cell(tiny, tmp_path, tokens=400 * 1024, checkpoint_seconds=1e6)
    values = json.dumps(
        tiny | SHORT | {"outputs": str(tmp_path), "tokens": 400 * 1024, "checkpoint_seconds": 1e6}
    )
    process = subprocess.Popen(
        [sys.executable, CELL_SCRIPT, values, str(tiny_corpus.folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("at")
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1 and "InterruptedRunError: run" in error.splitlines()[-1]
    folder = Run(config, tiny_corpus.fingerprint).folder
    assert (
        len(list_checkpoints(folder / "checkpoint")) == 1 and not (folder / "result.json").exists()
    )
    assert [path.name for path in (folder / "lease").iterdir()] == ["000001.released"]
