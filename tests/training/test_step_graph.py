"""A step that is recorded and replayed is the step itself.

No CUDA here: `Recorder` stands in for a CUDA graph.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recorder import Recorder, Recording

from paramalloc.allocation import allocation
from paramalloc.config import TrainConfig
from paramalloc.errors import ConfigError, InterruptedRunError
from paramalloc.model import DecoderLM
from paramalloc.training import Learner, compiled, learner, recorder, step_graph, train
from paramalloc.training.meter import Meter
from paramalloc.training.step_graph import ORDINARY_STEPS, StepGraph, wants_graph

CPU = torch.device("cpu")
STEPS = 8
RATES = [2.0**-n for n in (10, 9, 8, 7, 6, 7, 8, 9)]  # float32 holds each exactly


@pytest.fixture(autouse=True)
def one_thread():
    """The models are tiny: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    """None in which a recording has failed."""
    monkeypatch.setattr(step_graph, "_failures", [])


class Failing(Recorder):
    """The recording breaks off."""

    def record(self, body):
        with Recording() as recording:
            body()
        recording.undo()
        raise RuntimeError("operation not permitted when stream is capturing")


class Empty(Recorder):
    """A replay does nothing."""

    def record(self, body):
        super().record(body)
        return lambda: None


class Doubled(Recorder):
    """A replay takes the step twice."""

    def record(self, body):
        replay = super().record(body)
        return lambda: (replay(), replay())


class Baked(Recorder):
    """A replay reads the batch of the recording, whatever is copied in afterwards."""

    def record(self, body):
        with Recording() as recording:
            body()
        recording.undo()
        [(x, _)] = [kept for kept in recording.before.values() if kept[0].dtype == torch.int64][:1]
        other = torch.zeros_like(x)
        return lambda: (x.copy_(other), recording.replay())


def make_learner(tiny, recorder=None) -> Learner:
    config = TrainConfig.from_dict(tiny | {"parametrization": "standard", "embed_lr": 8.0})
    torch.manual_seed(0)
    made = Learner(config, DecoderLM(allocation(config).model), CPU, "fp32")
    if recorder:
        made.graph = StepGraph(made, recorder)
    return made


def batches(tiny):
    torch.manual_seed(1)
    shape = (STEPS, 2, 4, tiny["seq_len"])
    return torch.randint(tiny["vocab_size"], shape)


def take(one: Learner, tiny, rates=RATES, poisoned=()) -> list[float]:
    """The losses of all steps; before a poisoned one a gain becomes NaN."""
    losses = []
    for step, (x, y) in enumerate(batches(tiny)):
        if step in poisoned:
            one.model.norm.weight.data[0] = torch.nan
        losses.append(one.step(x, y, rates[step]))
    return losses


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("poisoned", [(), (6,)], ids=["finite", "diverged"])
def test_a_replayed_step_is_an_ordinary_one(poisoned, tiny):
    """Losses, weights, moments and counts agree bit for bit, at rates that change; also after a
    loss that is not finite. All steps but the first are replayed.
    """
    ordinary, recorded = make_learner(tiny), make_learner(tiny, Recorder())
    updates, update = [], recorded.update
    recorded.update = lambda x, y: (updates.append(1), update(x, y))[1]
    assert_equal(take(ordinary, tiny, poisoned=poisoned), take(recorded, tiny, poisoned=poisoned))
    assert_equal(ordinary.state(), recorded.state())
    assert recorded.graph.replay and len(updates) == ORDINARY_STEPS + 2  # recorded, proven
    assert bool(recorded.diverged) == bool(poisoned)
    assert recorded.finite_steps == (poisoned[0] if poisoned else STEPS)


def test_any_rate_is_taken_to_the_precision_of_float32(tiny):
    """A rate is a float32 tensor in a recording: weights end within 1e-5 of those of numbers."""
    rates = [1e-3 / 3 * step for step in range(1, STEPS + 1)]
    ordinary, recorded = make_learner(tiny), make_learner(tiny, Recorder())
    take(ordinary, tiny, rates)
    take(recorded, tiny, rates)
    for one, other in zip(ordinary.state(), recorded.state(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Failing, Empty, Doubled, Baked])
def test_a_recording_that_fails_or_is_wrong_is_not_used(kind, tiny, capsys):
    """One line says so, and the run is the ordinary one, bit for bit. The next run of the process
    records nothing, whatever `graph` is, and says so too.
    """
    ordinary, recorded = make_learner(tiny), make_learner(tiny, kind())
    assert_equal(take(ordinary, tiny), take(recorded, tiny))
    assert_equal(ordinary.state(), recorded.state())
    assert recorded.graph is None
    [line] = capsys.readouterr().out.splitlines()
    reason = "not permitted" if kind is Failing else "differs from an ordinary one"
    assert line.startswith("graph: the steps of this run are launched one by one")
    assert reason in line
    for graph in ("auto", "on"):
        config = TrainConfig.from_dict(tiny | {"graph": graph})
        assert not wants_graph(config, torch.device("cuda"), "bf16", True)
        assert reason in capsys.readouterr().out


def test_where_memory_does_not_hold_both_the_step_is_an_ordinary_one(tiny, capsys):
    """Memory runs out in the proof, in the middle of an ordinary step: no step is lost, or taken
    twice, and no gradient stays.
    """
    ordinary, recorded = make_learner(tiny), make_learner(tiny, Recorder())
    calls, step = [], recorded.ordinary_step

    def crowded(x, y, lr):
        calls.append(lr)
        if len(calls) == ORDINARY_STEPS + 1:
            recorded.loss(x, y).backward()
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(x, y, lr)

    recorded.ordinary_step = crowded
    assert_equal(take(ordinary, tiny), take(recorded, tiny))
    assert_equal(ordinary.state(), recorded.state())
    assert recorded.graph is None and "OutOfMemoryError" in capsys.readouterr().out


def test_a_probe_that_does_not_fit_beside_the_recording_is_taken_without_it(tiny, capsys):
    """The same nats; steps go on as ordinary ones. Without a recording the error is passed on."""
    ordinary, recorded = make_learner(tiny), make_learner(tiny, Recorder())
    assert_equal(take(ordinary, tiny), take(recorded, tiny))
    probe = recorded._probe

    def crowded(tokens):
        if recorded.graph or not len(tokens):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return probe(tokens)

    recorded._probe = crowded
    tokens = np.arange(64, dtype=np.uint16)
    assert ordinary.probe(tokens) == recorded.probe(tokens)
    assert recorded.graph is None and "memory does not hold a probe" in capsys.readouterr().out
    assert_equal(take(ordinary, tiny), take(recorded, tiny))
    with pytest.raises(torch.OutOfMemoryError):
        recorded.probe(tokens[:0])


@pytest.mark.parametrize("kept, released", [([], 0), ([0, 0], 1), ([0, 8], 0)], ids=str)
def test_the_pool_of_a_failed_recording_is_released_where_torch_keeps_it(
    kept, released, monkeypatch
):
    """Once, where all of it is free and still there: twice would end the process later on. Torch
    hears that the recording is over, and its graph is reset first.
    """
    calls = []

    def refuse(*arguments, **options):
        raise RuntimeError("operation not permitted when stream is capturing")

    def note(name, answer=None):
        return lambda *arguments: calls.append((name, *arguments)) or answer

    graph = SimpleNamespace(reset=note("reset"))
    stand_ins = {"Stream": note("stream"), "stream": note("stream"), "synchronize": note("wait")}
    stand_ins |= {"CUDAGraph": lambda: graph, "graph_pool_handle": lambda: (0, 7), "graph": refuse}
    stand_ins |= {"memory_snapshot": note("kept", [{"active_size": size} for size in kept])}
    stand_ins |= {"current_device": lambda: 3, "empty_cache": note("empty")}
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, note(name), raising=False)

    one = recorder.CudaRecorder(torch.device("cuda"))
    with pytest.raises(RuntimeError, match="not permitted"):
        one.record(lambda: None)
    one.release()
    one.release()
    assert ("_cuda_endAllocateToPool", 3, (0, 7)) in calls
    assert calls.count(("_cuda_releasePool", 3, (0, 7))) == released
    assert calls.count(("reset",)) == 1 and calls.index(("reset",)) < calls.index(("kept", (0, 7)))


def test_after_a_checkpoint_is_loaded_the_step_is_recorded_again(tiny):
    """`load_state_dict` gives an optimizer other tensors, which an old recording would not move."""
    ordinary, recorded = make_learner(tiny), make_learner(tiny, Recorder())
    for one in (ordinary, recorded):
        take(one, tiny)
        [optimizer] = one.optimizers
        optimizer.load_state_dict(optimizer.state_dict())
    assert_equal(take(ordinary, tiny), take(recorded, tiny))
    assert_equal(ordinary.state(), recorded.state())
    assert recorded.graph.replay


def test_a_released_learner_goes_on_with_ordinary_steps(tiny):
    """A run that has ended holds no recording, and can still be trained."""
    ordinary, recorded = make_learner(tiny), make_learner(tiny, Recorder())
    for one in (ordinary, recorded):
        take(one, tiny)
        one.release()
    assert recorded.graph is None
    assert_equal(take(ordinary, tiny), take(recorded, tiny))


@pytest.mark.parametrize(
    "values, device, precision, wanted",
    [
        ({}, "cuda", "bf16", True),
        ({"graph": "off"}, "cuda", "bf16", False),
        ({"compile": "off"}, "cuda", "bf16", False),
        ({"compile": "off", "graph": "on"}, "cuda", "fp32", True),
        ({"optimizer": "muon"}, "cuda", "bf16", False),
        ({}, "cuda", "fp16", False),
        ({}, "cuda", "fp32", False),
        ({}, "cpu", "bf16", False),
        ({"graph": "on"}, "cpu", "bf16", "only a CUDA device records steps, and this is the CPU"),
        ({"graph": "on", "optimizer": "muon"}, "cuda", "bf16", "muon waits for the device"),
        ({"graph": "on"}, "cuda", "fp16", "float16 waits for the device"),
    ],
    ids=str,
)
def test_steps_are_recorded_where_they_can_be(values, device, precision, wanted, tiny):
    """Alone with CUDA, bfloat16, AdamW and a compiled loss; where `on` cannot be it says why."""
    config = TrainConfig.from_dict(tiny | values)
    arguments = (torch.device(device), precision, config.compile != "off")
    if isinstance(wanted, bool):
        assert wants_graph(config, *arguments) == wanted
        return
    with pytest.raises(ConfigError, match=f"^graph is on, but {wanted}.*: use graph auto or off$"):
        wants_graph(config, *arguments)


def test_a_graph_that_cannot_be_is_refused_before_anything_is_written(tiny, tiny_corpus, tmp_path):
    """The run's folder holds no config."""
    config = TrainConfig.from_dict(tiny | {"graph": True, "outputs": str(tmp_path)})
    with pytest.raises(ConfigError, match="graph is on"):
        train(config, tiny_corpus)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("first", [True, False], ids=["graph first", "graph second"])
def test_a_run_goes_on_with_a_graph_or_without(first, tiny, tiny_corpus, tmp_path, monkeypatch):
    """Whether steps are recorded is not what a run is: its checkpoint is taken up either way, and
    leads to the same losses.
    """
    graphs = []

    def with_graph(wanted):
        monkeypatch.setattr(learner, "wants_graph", lambda *arguments: wanted)
        monkeypatch.setattr(learner, "CudaRecorder", lambda device: Recorder())

    def stop(record):
        if record["tokens"] == 8 * 1024:
            raise InterruptedRunError("enough")

    release = StepGraph.release
    monkeypatch.setattr(StepGraph, "release", lambda self: (graphs.append(1), release(self)))
    values = {"tokens": 12 * 1024, "probes": 3, "checkpoint_seconds": 0, "precision": "fp32"}
    config = TrainConfig.from_dict(tiny | values | {"outputs": str(tmp_path / "a")})
    with_graph(first)
    with pytest.raises(InterruptedRunError):
        train(config, tiny_corpus, stop)
    with_graph(not first)
    [found] = train(config, tiny_corpus)
    with_graph(False)
    [expected] = train(replace(config, outputs=str(tmp_path / "b")), tiny_corpus)
    assert found["dev_loss"] == pytest.approx(expected["dev_loss"], abs=1e-4)
    assert found["run_id"] == expected["run_id"] and found["steps"] == 12
    assert len(graphs) == (not first)  # released at the end of the run, where it has one


def test_steps_before_a_recording_are_no_training_time(tiny, tiny_corpus, tmp_path, monkeypatch):
    """In a run that goes on, too: no stretch that is counted holds a step that was taken to warm up
    or to make the recording. Here each step is a stretch.
    """
    counted, lap = [], Meter.lap

    def watch(meter, step, end):
        if meter.mark:
            counted.append((meter.mark[1], step))
        lap(meter, step, end)

    def stop(record):
        if record["tokens"] == 8 * 1024:
            raise InterruptedRunError("enough")

    monkeypatch.setattr(Meter, "lap", watch)
    monkeypatch.setattr(TrainConfig, "log_every", 1)
    monkeypatch.setattr(learner, "wants_graph", lambda *arguments: True)
    monkeypatch.setattr(learner, "CudaRecorder", lambda device: Recorder())
    values = {"tokens": 16 * 1024, "checkpoint_seconds": 0, "precision": "fp32"}
    config = TrainConfig.from_dict(tiny | values | {"outputs": str(tmp_path)})
    with pytest.raises(InterruptedRunError):
        train(config, tiny_corpus, stop)
    train(config, tiny_corpus)
    warm = ORDINARY_STEPS + 1  # the last of them makes the recording
    stretches = [*range(warm, 8), *range(7 + warm, 16)]  # the checkpoint is of step 7
    assert counted == [(step, step + 1) for step in stretches]


def test_compiled_graphs_of_several_shapes_are_kept(tiny, monkeypatch):
    """Shapes that return reset nothing, one more than `KEPT_SHAPES` does. Torch may hold all."""
    resets = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append(1))
    monkeypatch.setattr(torch, "compile", lambda loss, dynamic: loss)
    monkeypatch.setattr(compiled, "_kept", set())
    model = make_learner(tiny).model
    for _ in range(2):
        for seq_len in range(compiled.KEPT_SHAPES):
            compiled.compile_loss(model, seq_len)
    assert not resets
    compiled.compile_loss(model, compiled.KEPT_SHAPES)
    assert resets == [1]
    assert torch._dynamo.config.recompile_limit >= compiled.KEPT_SHAPES


def test_a_shape_that_returns_is_not_compiled_again(tiny, monkeypatch):
    """Seed after seed over two shapes, trained and probed: two graphs in all."""
    compile_it = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **how: compile_it(f, backend="eager", **how))
    compiled.forget_compiled()
    counters = torch._dynamo.utils.counters["stats"]
    started = counters["unique_graphs"]
    for seed in (0, 1):
        for glu in (1.0, 2.0):
            values = {"seed": seed, "glu": glu, "compile": "on"}
            config = TrainConfig.from_dict(tiny | values)
            one = Learner(config, DecoderLM(allocation(config).model), CPU, "fp32")
            shape = (2, config.batch_tokens // config.seq_len, config.seq_len)
            one.step(*torch.randint(config.vocab_size, shape), 1e-3)
            one.probe(np.zeros(config.batch_tokens, dtype=np.uint16))
    assert counters["unique_graphs"] - started == 2
    compiled.forget_compiled()


@pytest.mark.gpu
def test_a_recorded_run_on_cuda_agrees_with_an_ordinary_one(tiny, tiny_corpus, tmp_path, capsys):
    """The dev loss of a run whose steps are one CUDA graph is that of single launches within 0.01
    nats, and nothing fell back.
    """
    found = {}
    for graph in ("on", "off"):
        values = {"device": "cuda", "graph": graph, "outputs": str(tmp_path / graph)}
        config = TrainConfig.from_dict(tiny | values)
        [result] = train(config, tiny_corpus)
        found[graph] = result["dev_loss"]
    assert "one by one" not in capsys.readouterr().out
    assert found["on"] == pytest.approx(found["off"], abs=0.01)
