"""`paramalloc time`: every shape in every round, until it is sure; only its columns change."""

import json
import math

import pytest
import torch

from paramalloc.allocation import memory_bytes
from paramalloc.cli import main
from paramalloc.config import ROOT, ModelConfig
from paramalloc.errors import RunError
from paramalloc.runs import TIMED, hold, read_json
from paramalloc.sweep import WIDTH, time_shapes
from paramalloc.sweep import stopwatch as stopwatch_module
from paramalloc.sweep.stopwatch import Stopwatch, train_config
from paramalloc.sweep.timing import TimedShape, interval_width

TABLE = ROOT / "outputs" / "reference" / "quick" / "results.csv"


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize("count, low, high", [(6, 1, 6), (9, 2, 8), (10, 2, 9), (20, 6, 15)])
def test_the_interval_of_a_median_is_the_textbook_s(count, low, high):
    """The ranks of Hahn & Meeker's table, also of values that come in another order."""
    values = [1000.0 + rank for rank in range(1, count + 1)]
    median = (values[(count - 1) // 2] + values[count // 2]) / 2
    assert interval_width(values[::-1]) == pytest.approx((high - low) / median)


def test_five_values_say_nothing():
    assert interval_width([1.0] * 5) == math.inf


class FakeTime:
    """Shapes 0 to 3 whose visits take a second each; the last one's speed never settles."""

    def __init__(self):
        self.now = 0.0
        self.rounds = []
        self.done = {}
        self.shapes = [TimedShape(number, {}) for number in range(4)]

    def visit(self, shape):
        self.now += 1.0
        self.rounds[-1].append(shape.model)
        noise = 0.2 if shape.model == 3 else 0.001 * shape.model
        return {"tokens_per_s": 100.0 + 100 * noise * (-1) ** len(self.rounds), "steady": 1.0}

    def note(self, shape, seconds, done):
        assert seconds == 1.0
        if done:
            self.done[shape.model] = shape

    def run(self, limit):
        time_shapes(
            self.shapes,
            self.visit,
            limit,
            lambda: self.rounds.append([]),
            self.note,
            clock=lambda: self.now,
        )
        return self


def test_a_shape_is_visited_until_it_is_sure_or_its_time_is_over():
    """Six rounds for those that agree, and all seconds for the one that does not."""
    ended = FakeTime().run(limit=10)
    assert {number: len(shape.visits) for number, shape in ended.done.items()} == {
        0: 6,
        1: 6,
        2: 6,
        3: 10,
    }
    assert all((shape.width < WIDTH) == (number < 3) for number, shape in ended.done.items())
    assert ended.done[2].speeds == {"tokens_per_s": 100.0, "steady": 1.0}


def test_every_round_covers_all_that_are_open_in_another_order():
    """And the order is the same again."""
    rounds = FakeTime().run(limit=10).rounds
    assert [sorted(each) for each in rounds] == [[0, 1, 2, 3]] * 6 + [[3]] * 4
    assert len({tuple(each) for each in rounds[:6]}) > 2
    assert FakeTime().run(limit=10).rounds == rounds


@pytest.mark.parametrize("limit, visits", [(0.1, 1), (0.5, 3), (1.5, 6), (6.5, 7)])
def test_a_short_limit_leaves_a_shape_its_six_rounds(limit, visits):
    """Until it is over five times; the shape that never settles has no more than its width takes,
    and a round at least.
    """
    shape = FakeTime().run(limit).shapes[3]
    assert len(shape.visits) == visits
    assert math.isinf(shape.width) == (visits < 6)


# ---------------------------------------------------------------- a shape

RECIPE = {
    "seq_len": 32,
    "batch_tokens": 64,
    "parametrization": "completep",
    "optimizer": "adamw",
    "precision": "fp32",
    "device": "cpu",
    "compiled": False,
}


def tiny_shape(**recipe):
    model = ModelConfig(
        vocab_size=300, d_model=16, n_layers=1, n_heads=2, n_kv_heads=2, d_head=8, d_ff=32
    )
    return TimedShape(model, RECIPE | recipe)


def test_a_shape_is_timed_as_it_was_trained():
    """On its device; on another one, as it would be trained there."""
    cpu = torch.device("cpu")
    here = train_config(tiny_shape(precision="bf16", compiled=True), cpu)
    assert (here.precision, here.compile) == ("bf16", "on")
    assert train_config(tiny_shape(), cpu).compile == "off"
    elsewhere = train_config(tiny_shape(precision="fp16", device="a GPU", compiled=True), cpu)
    assert (elsewhere.precision, elsewhere.compile) == ("auto", "auto")
    for config in (here, elsewhere):
        assert (config.seq_len, config.batch_tokens, config.optimizer) == (32, 64, "adamw")


def test_a_visit_takes_no_step_but_those_it_times(monkeypatch):
    """The model is built and warmed up before; then all speeds are there, and nothing is kept."""
    monkeypatch.setattr(stopwatch_module, "STRETCH_S", 0.001)
    shape = tiny_shape()
    stopwatch = Stopwatch("cpu")
    stopwatch.prepare(shape)
    monkeypatch.setattr(stopwatch_module, "Bench", lambda *_: pytest.fail("built again"))
    shape.visits = [stopwatch.visit(shape) for _ in range(6)]
    assert all(value > 0 for visit in shape.visits for value in visit.values())
    columns = stopwatch.columns(shape)
    assert set(columns) == set(TIMED) - {"mfu"}
    assert columns["speeds_width"] == shape.width and columns["graphed"] is False
    assert not stopwatch.kept


@pytest.mark.parametrize("device, sizes", [("cpu", [4, 1]), ("cuda", [2, 2, 1])])
def test_a_batch_of_models_fits_into_memory(device, sizes, monkeypatch):
    """All shapes are in one, in order. A kept model on a GPU takes as much as two that train, as
    its recording keeps its memory; one on a CPU takes its weights and moments.
    """
    shapes = [tiny_shape(seq_len=32 * number) for number in range(1, 6)]
    ledger = memory_bytes(shapes[0].model, 32, 64)
    state = ledger["training"] - ledger["activations"]
    needed = {"cpu": 4 * state + ledger["training"], "cuda": 5 * ledger["training"]}[device]
    monkeypatch.setattr(stopwatch_module, "device_memory", lambda _: needed / stopwatch_module.ROOM)
    stopwatch = Stopwatch("cpu")
    stopwatch.device = torch.device(device)
    batches = stopwatch.batches(shapes)
    assert [len(batch) for batch in batches] == sizes
    assert [shape for batch in batches for shape in batch] == shapes
    monkeypatch.setattr(stopwatch_module, "device_memory", lambda _: 1)
    assert [len(batch) for batch in stopwatch.batches(shapes)] == [1] * 5


# ---------------------------------------------------------------- the rows


def put_back(outputs, *seeds):
    """Runs of one published shape under outputs, without weights, and their folders."""
    header, first, *_ = TABLE.read_text(encoding="utf-8").splitlines()
    run_id = first.split(",")[0]
    ids = [f"{seed:012x}" for seed in seeds]
    rows = [first.replace(run_id, other) for other in ids]
    table = outputs / "table.csv"
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    assert main(["restore", str(table), "--outputs", str(outputs)]) == 0
    return [outputs / "runs" / other for other in ids]


def result_of(folder):
    return read_json(folder / "result.json")


def time_runs(outputs, *options):
    return main(["time", "--outputs", str(outputs), "--seconds", "0.001", *options])


def test_restored_runs_are_timed_and_nothing_else_changes(tmp_path, capsys, monkeypatch):
    """Runs of a shape share one measurement, which a new one takes over; `--again` makes another;
    one run may be named.
    """
    folders = put_back(tmp_path, 1, 2)
    before = result_of(folders[0])
    assert time_runs(tmp_path, folders[0].name) == 0
    first = result_of(folders[0])
    assert list(first) == list(before)
    changed = {name for name in first if first[name] != before[name]}
    assert {"tokens_per_s", "decode_ms_per_token", "speeds", "speeds_threads"} <= changed
    assert changed <= set(TIMED)
    assert first["speeds"] == "alone"
    assert first["inference_device"] == "cpu"
    assert first["speeds_threads"] >= 1
    assert result_of(folders[1])["speeds"] is None

    with monkeypatch.context() as patch:
        patch.setattr(Stopwatch, "visit", lambda *_: pytest.fail("measured again"))
        assert time_runs(tmp_path) == 0
    assert "1 of 1 shapes were timed on this device before" in capsys.readouterr().out
    second = result_of(folders[1])
    assert {name: second[name] for name in TIMED} == {name: first[name] for name in TIMED}

    assert time_runs(tmp_path, "--again") == 0
    assert result_of(folders[0])["tokens_per_s"] not in (None, first["tokens_per_s"])
    said = capsys.readouterr().out
    assert "1 of 1 shapes did not come under 3 %" in said
    assert "1 of them had fewer than six rounds" in said
    assert result_of(folders[0])["speeds_width"] is None


def test_speeds_of_another_device_stay(tmp_path, capsys, monkeypatch):
    """A new run of the shape takes them over, and what is said names the device; `--again` measures
    all here.
    """
    folders = put_back(tmp_path, 1, 2)
    elsewhere = {"speeds": "alone", "inference_device": "a GPU", "speeds_threads": 9}
    elsewhere |= {"tokens_per_s": 1e9, "graphed": True}
    (folders[0] / "result.json").write_text(json.dumps(result_of(folders[0]) | elsewhere))
    with monkeypatch.context() as patch:
        patch.setattr(Stopwatch, "visit", lambda *_: pytest.fail("measured"))
        assert time_runs(tmp_path) == 0
    said = capsys.readouterr().out
    assert "1 of 1 shapes were timed on a GPU, 9 threads, before and stay as they are" in said
    for folder in folders:
        assert elsewhere.items() <= result_of(folder).items()
    assert time_runs(tmp_path, "--again") == 0
    for folder in folders:
        here = result_of(folder)
        assert (here["inference_device"], here["graphed"]) == ("cpu", False)


def test_shapes_that_were_not_recorded_are_told(tmp_path, capsys, monkeypatch):
    """Where others were; with the run that times each alone."""
    folders = put_back(tmp_path, 1, 2)
    other_shape = result_of(folders[1]) | {"seq_len": 64}
    (folders[1] / "result.json").write_text(json.dumps(other_shape))
    columns = Stopwatch.columns

    def one_is_graphed(self, shape):
        return columns(self, shape) | {"graphed": shape.recipe["seq_len"] == 64}

    monkeypatch.setattr(Stopwatch, "columns", one_is_graphed)
    assert time_runs(tmp_path) == 0
    said = capsys.readouterr().out
    assert "the steps of 1 of 2 shapes could not be recorded as one CUDA graph" in said
    assert f"tries each alone ({folders[0].name})" in said


def test_nothing_is_timed_beside_a_living_process(tmp_path, capsys, monkeypatch):
    """One that holds any run of these outputs; nothing is measured, nothing written."""
    folders = put_back(tmp_path, 1)
    before = result_of(folders[0])
    monkeypatch.setattr(Stopwatch, "visit", lambda *_: pytest.fail("it was measured"))
    capsys.readouterr()
    with hold(tmp_path / "runs" / "fedcba987654" / "lease"):
        assert time_runs(tmp_path) == 2
    said = capsys.readouterr()
    assert "works on run fedcba987654" in said.err and said.err.count("\n") == 1 and not said.out
    assert result_of(folders[0]) == before


def test_a_run_that_begins_meanwhile_ends_the_measurement(tmp_path, monkeypatch):
    """At the next round; what was done before is kept."""
    fake = FakeTime()

    def refuse():
        fake.rounds.append([])
        if len(fake.rounds) == 8:
            raise RunError("process 1 works on a run")

    with pytest.raises(RunError):
        time_shapes(fake.shapes, fake.visit, 10, refuse, fake.note, clock=lambda: fake.now)
    assert set(fake.done) == {0, 1, 2}


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "no run is complete in"),
        (["grid", "--profile", "quick"], "no run of grid is complete in"),
        (["nowhere"], "unknown sweep 'nowhere'"),
        (["0123abcd"], "no run '0123abcd' in"),
        (["results.csv"], "a table holds no runs"),
        (["--seconds", "0"], "--seconds must be above 0, not 0"),
    ],
)
def test_what_cannot_be_timed_is_one_line(words, message, tmp_path, capsys):
    assert main(["time", *words, "--outputs", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and not said.out


def test_what_did_not_complete_is_not_timed(tmp_path, capsys):
    [folder] = put_back(tmp_path, 1)
    stopped = result_of(folder) | {"status": "stopped_early"}
    (folder / "result.json").write_text(json.dumps(stopped))
    assert time_runs(tmp_path) == 2
    assert "no run is complete" in capsys.readouterr().err
