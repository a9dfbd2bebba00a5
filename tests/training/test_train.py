"""A run learns, is a pure function of its parameters, and stops by the rule."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from paramalloc.allocation import allocation, memory_bytes
from paramalloc.config import TrainConfig
from paramalloc.data import Batches
from paramalloc.errors import OutOfMemoryError
from paramalloc.model import DecoderLM
from paramalloc.runs import (
    RESULT_COLUMNS,
    Run,
    as_csv,
    hold,
    load_metrics,
    load_runs,
    read_metrics,
    restore_runs,
    run_id,
)
from paramalloc.training import Learner, loop, train
from paramalloc.training.compiled import forget_compiled
from paramalloc.training.feed import Feed, spread_windows
from paramalloc.training.optimizer import schedule
from paramalloc.training.trainer import Trainer


def cell(tiny, tmp_path, **values) -> TrainConfig:
    return TrainConfig.from_dict(tiny | {"outputs": str(tmp_path)} | values)


def weights(config, corpus):
    return load_file(
        Run(config, corpus.fingerprint).folder / "checkpoint" / "final" / "model.safetensors"
    )


@pytest.mark.parametrize(
    "kind", [{}, {"embedding": "untied"}, {"embedding": "factorized"}, {"mlp": "relu2"}], ids=str
)
def test_a_run_learns_and_leaves_its_record(kind, tiny, tiny_corpus, tmp_path):
    """Dev loss ends far below the unigram's; result.json holds every key; the weights are the
    ledger's total.
    """
    config = cell(tiny, tmp_path, **kind)
    [result] = train(config, tiny_corpus)
    folder = Run(config, tiny_corpus.fingerprint).folder
    assert result["status"] == "completed" and result["dev_loss"] < result["unigram_loss"] - 0.8
    assert list(json.loads((folder / "result.json").read_text())) == RESULT_COLUMNS
    assert result["smallbench"] is None and result["kv_bytes_per_token"] > 0
    # nothing is timed beside whatever else trains: `paramalloc time` does that
    assert result["speeds"] == "training" and result["decode_ms_per_token"] is None
    assert (
        sum(weight.numel() for weight in weights(config, tiny_corpus).values())
        == result["total_params"]
    )
    assert result["tokens_trained"] == config.steps * config.batch_tokens <= config.tokens
    assert result["epochs"] * len(tiny_corpus.split("train")) == result["tokens_trained"]
    assert result["train_flops"] == result["flops_per_token"] * result["tokens_trained"]
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [result["run_id"]]
    probes = [[row["tokens"], row["dev_loss"]] for row in read_metrics(folder) if "dev_loss" in row]
    assert len(result["dev_curve"]) == config.probes and result["dev_curve"] == [
        [tokens, round(loss, 5)] for tokens, loss in probes
    ]
    for parts in (
        result["dev_by_group"],
        [[n, n * (loss or 0)] for n, loss in result["dev_by_frequency"]],
    ):
        assert sum(nats for _, nats in parts) / sum(n for n, _ in parts) == pytest.approx(
            result["dev_loss"], rel=1e-6
        )
    assert (result["optimizer"], result["warmup"], result["weight_decay"]) == ("adamw", 0.1, 0.1)
    assert load_runs(tmp_path).iloc[0].dev_loss == result["dev_loss"]


def test_a_run_in_a_list_equals_the_run_alone(tiny, tiny_corpus, tmp_path):
    """Nothing is carried over from one run of a cell to the next: the weights agree bit for bit."""
    short = {"tokens": 8192, "probes": 2}
    listed = cell(tiny, tmp_path / "a", lr=[1e-3, 3e-3], seed=[0, 1], **short)
    train(listed, tiny_corpus)
    alone = cell(tiny, tmp_path / "b", lr=3e-3, seed=1, **short)
    train(alone, tiny_corpus)
    first, second = weights(listed.runs()[3], tiny_corpus), weights(alone, tiny_corpus)
    assert first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )
    other = weights(listed.runs()[2], tiny_corpus)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_a_finished_run_is_never_trained_again(tiny, tiny_corpus, tmp_path):
    """The second call returns the same result without a single step."""
    config, records = cell(tiny, tmp_path, tokens=4096, probes=2), []
    first = train(config, tiny_corpus)
    assert train(config, tiny_corpus, records.append) == first and records == []


def test_a_run_put_back_from_a_table_is_a_finished_one(tiny, tiny_corpus, tmp_path):
    """On a machine that has nothing but the results.csv: no step is trained, and others are
    compared with the curve that it kept.
    """
    config, records = cell(tiny, tmp_path / "here", tokens=8192, probes=4), []
    [result] = train(config, tiny_corpus)
    (tmp_path / "results.csv").write_text(as_csv(load_runs(tmp_path / "here")), encoding="utf-8")
    restore_runs(tmp_path / "results.csv", tmp_path / "there")
    there = replace(config, outputs=str(tmp_path / "there"))
    assert train(there, tiny_corpus, records.append) == [result] and records == []
    train(replace(there, seed=1, early_stop="flag", glu=2.0), tiny_corpus)
    train(replace(there, glu=2.0, early_stop="flag", stop_grace=0), tiny_corpus)
    runs = load_runs(tmp_path / "there").set_index(["requested_glu", "seed"])
    assert runs.compared[2.0, 0]
    assert not runs.compared[2.0, 1]  # the baseline of its own seed is not there


def test_where_a_run_is_computed_is_not_what_it_is(tiny):
    """2.66 and 2.660 are one run; so are other devices, outputs and early stops; another seed or
    corpus is not.
    """
    config = TrainConfig.from_dict(tiny)
    same = [
        tiny | change
        for change in (
            {"glu": "2.660"},
            {"compile": "on"},
            {"graph": "on"},
            {"outputs": "elsewhere"},
            {"early_stop": "kill"},
        )
    ]
    other = [tiny | change for change in ({"glu": 2.67}, {"seed": 1}, {"tokens": 41_984})]
    assert {run_id(TrainConfig.from_dict(values), "f") for values in same} == {run_id(config, "f")}
    assert run_id(config, "f") not in {
        run_id(TrainConfig.from_dict(values), "f") for values in other
    } | {run_id(config, "g")}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(
    optimizer, tiny, tiny_corpus, tmp_path, monkeypatch, capsys
):
    """It says `diverged`, at which step, and has no dev loss; that step changed nothing, nor did
    one after it.
    """
    config = cell(tiny, tmp_path, checkpoint_seconds=0, optimizer=optimizer)
    steps, loss, step = [], DecoderLM.loss, Learner.step

    def weigh(learner):
        return [weight.detach().clone() for weight in learner.model.parameters()]

    monkeypatch.setattr(
        Learner,
        "step",
        lambda self, *batch: (step(self, *batch), steps.append(weigh(self)))[0],
    )
    monkeypatch.setattr(
        DecoderLM,
        "loss",
        lambda self, *batch: (
            loss(self, *batch) * (math.nan if len(steps) == 6 and self.training else 1)
        ),
    )
    monkeypatch.setattr(TrainConfig, "log_every", 4)
    [result] = train(config, tiny_corpus)
    assert result["status"] == "diverged" and result["dev_loss"] is None and result["steps"] == 7
    assert (
        all(map(torch.equal, steps[5], steps[6]))
        and all(map(torch.equal, steps[5], steps[7]))
        and len(steps) == 8
    )
    assert not all(map(torch.equal, steps[4], steps[5]))
    assert (
        "the loss or a gradient of step 7 is not finite. The last good checkpoint is"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "error, room, fits",
    [
        (torch.OutOfMemoryError("CUDA out of memory"), 2e9, "batch_tokens 512 should fit"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            3e6,
            "batch_tokens 256 should fit",
        ),
        (MemoryError(), 1e4, "a smaller seq_len or total_params would fit"),
    ],
    ids=["cuda", "cpu", "none"],
)
def test_running_out_of_memory_says_what_would_fit(
    error, room, fits, tiny, tiny_corpus, tmp_path, monkeypatch
):
    """One line instead of a traceback; what would fit is what the ledger predicts for the memory
    that is there.
    """

    def step(*_):
        raise error

    monkeypatch.setattr(Learner, "step", step)
    monkeypatch.setattr(loop, "device_memory", lambda device: room)
    with pytest.raises(OutOfMemoryError, match=f"^out of memory with batch_tokens 1024: {fits}"):
        train(cell(tiny, tmp_path), tiny_corpus)
    shape, asked = (
        allocation(cell(tiny, tmp_path)).model,
        [int(word) for word in fits.split() if word.isdigit()],
    )
    assert all(memory_bytes(shape, 32, tokens)["training"] < 0.8 * room for tokens in asked)


def test_the_schedule_rises_to_one_and_falls_to_nearly_zero():
    """Linear warm-up over the given fraction, then linear decay; never zero, never above one."""
    factors = [schedule(step, 100, 0.1) for step in range(1, 101)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == factors[9] == 1.0
    assert 0 < factors[-1] < 0.02 and factors[9:] == sorted(factors[9:], reverse=True)


def test_bf16_agrees_with_float32(tiny, tiny_corpus, tmp_path):
    """The dev loss after 40 steps in bf16 is that of float32 within 0.03 nats."""
    exact, found = (
        train(cell(tiny, tmp_path, precision=name), tiny_corpus)[0]["dev_loss"]
        for name in ("fp32", "bf16")
    )
    assert found == pytest.approx(exact, abs=0.03) and found != exact


@pytest.mark.slow
def test_a_compiled_bf16_run_follows_eager_float32(tiny, tiny_corpus, tmp_path):
    """The training loss of each of the first 200 steps, and the dev probes in the same graph, agree
    within 0.05 nats.
    """
    steps = {"tokens": 200 * 1024, "probes": 4}
    exact = cell(tiny, tmp_path / "exact", precision="fp32", compile="off", **steps)
    fast = cell(tiny, tmp_path / "fast", precision="bf16", compile="on", **steps)
    curves = []
    for config in (exact, fast):
        [result] = train(config, tiny_corpus)
        curves.append(load_metrics(config.output_folder, result["run_id"]))
    assert (
        len(curves[0]) == 200 and curves[0].train_loss.iloc[-1] < curves[0].train_loss.iloc[0] - 1
    )
    assert (curves[0].train_loss - curves[1].train_loss).abs().max() < 0.05
    assert (curves[0].dev_loss - curves[1].dev_loss).abs().max() < 0.05


@pytest.mark.slow
def test_runs_of_a_shape_share_one_compiled_graph(tiny, tiny_corpus, tmp_path, request):
    """The second run of a list compiles nothing, and equals the run alone bit for bit.

    On one thread: with more, inductor adds up the embedding's gradient atomically, in any order.
    Eager runs do not.
    """
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(1)
    short = {"tokens": 4096, "probes": 2, "compile": "on"}
    listed = cell(tiny, tmp_path / "a", seed=[0, 1], **short)
    forget_compiled()
    started = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    train(listed.runs()[0], tiny_corpus)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"] - started
    assert before == 1, "the probes were not scored through the graph of training"
    train(listed, tiny_corpus)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - started == before
    forget_compiled()
    alone = cell(tiny, tmp_path / "b", seed=1, **short)
    train(alone, tiny_corpus)
    first, second = weights(listed.runs()[1], tiny_corpus), weights(alone, tiny_corpus)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_text_on_the_device_gives_the_same_batches(tiny_corpus):
    """Windows gathered from resident tokens are those cut on the CPU, over the end of the text and
    of an epoch.
    """
    batches = Batches(tiny_corpus.split("train")[:700], 32, 8, seed=3)
    there, here = (
        Feed(batches, torch.device("cpu"), resident=True),
        Feed(batches, torch.device("cpu")),
    )
    for step in range(12):
        for one, other in zip(there(step), here(step), strict=True):
            assert (
                one.dtype == torch.int64
                and torch.equal(one, other)
                and one.is_contiguous()
                and other.is_contiguous()
            )


def test_a_result_names_the_runs_beside_it(tiny, tiny_corpus, tmp_path):
    """Those that this machine held as it began or ended."""
    short = {"tokens": 8192, "probes": 2}
    train(cell(tiny, tmp_path, **short), tiny_corpus)
    another, third = (hold(tmp_path / "runs" / name / "lease") for name in ("another", "third"))
    with another, third:
        train(cell(tiny, tmp_path, seed=1, **short), tiny_corpus)
    beside = load_runs(tmp_path).set_index("seed").beside.to_dict()
    assert beside == {0: "nobody", 1: "another third"}


def test_time_outside_the_steps_is_told(tiny, tiny_corpus, tmp_path):
    """result.json has the share of wall time that was no training step; utilisation only where the
    peak is known.
    """
    [result] = train(cell(tiny, tmp_path, tokens=20_480), tiny_corpus)
    inside = result["tokens_trained"] / result["tokens_per_s"]
    assert result["outside_steps_share"] == pytest.approx(1 - inside / result["wall_s"], abs=1e-6)
    assert 0 < result["outside_steps_share"] < 1 and result["mfu"] is None


def test_a_record_waits_for_the_device_once(tiny, tiny_corpus, tmp_path, monkeypatch):
    """With a probe or without: every look at a tensor's value is a wait on a GPU."""
    waits = []
    per_record = []

    def counted(name):
        look = getattr(torch.Tensor, name)

        def looked(tensor, *arguments):
            waits.append(name)
            return look(tensor, *arguments)

        return looked

    def record(trainer, probing, original=Trainer._record):
        waits.clear()
        original(trainer, probing)
        per_record.append((probing, len(waits)))

    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, counted(name))
    monkeypatch.setattr(Trainer, "_record", record)
    train(cell(tiny, tmp_path), tiny_corpus)
    assert set(per_record) == {(True, 1), (False, 1)}


def test_the_probe_is_whole_windows_from_all_of_the_text():
    """Evenly spread, none twice, in order, the first and the last window among them."""
    probe = spread_windows(torch.arange(1000).numpy(), seq_len=10, count=100)
    windows = probe.reshape(-1, 10)
    assert len(windows) == 10 and windows[0, 0] == 0 and windows[-1, -1] == 999
    assert (windows[:, 0] % 10 == 0).all() and len(set(windows[:, 0].tolist())) == 10
    assert len(spread_windows(torch.arange(25).numpy(), seq_len=10, count=100)) == 20


@pytest.mark.gpu
def test_a_run_on_cuda_agrees_with_the_cpu(tiny, tiny_corpus, tmp_path):
    """The dev loss of a compiled CUDA run is that of the CPU within 0.05 nats."""
    here = train(cell(tiny, tmp_path / "cpu"), tiny_corpus)[0]["dev_loss"]
    there = train(cell(tiny, tmp_path / "cuda", device="cuda"), tiny_corpus)[0]["dev_loss"]
    assert there == pytest.approx(here, abs=0.05)
