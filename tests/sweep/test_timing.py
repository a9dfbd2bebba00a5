"""`paramalloc time`: every shape in every round, until it is sure; only its columns change."""

import json
import math

import pytest
import torch

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


def test_one_visit_is_made_however_short_the_limit():
    assert [len(shape.visits) for shape in FakeTime().run(limit=0.1).shapes] == [1] * 4


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


@pytest.mark.parametrize("memory, kept", [(None, 1), (1000, 0)])
def test_models_are_kept_where_they_fit(memory, kept, monkeypatch):
    """Both ways measure all speeds, and nothing stays behind."""
    monkeypatch.setattr(stopwatch_module, "device_memory", lambda device: memory)
    monkeypatch.setattr(stopwatch_module, "STRETCH_S", 0.001)
    shape = tiny_shape()
    stopwatch = Stopwatch("cpu", [shape])
    shape.visits = [stopwatch.visit(shape) for _ in range(2)]
    assert len(stopwatch.kept) == kept
    assert all(value > 0 for visit in shape.visits for value in visit.values())
    columns = stopwatch.columns(shape)
    assert set(columns) == set(TIMED) - {"mfu"}
    assert not stopwatch.kept


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
    assert "1 of 1 shapes did not come under 3 %" in capsys.readouterr().out


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
