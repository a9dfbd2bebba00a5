"""The bench of a GPU keeps what it measured, whatever happens to a part; it runs on a CPU, tiny."""

import json
import signal
import sys
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import bench_gpu

# Stands in for gpu_parts.py: a row, and then what the part's name says.
PARTS = """
import json, os, signal, sys, time
part, rows = sys.argv[1:3]
with open(rows, "a") as file:
    file.write(json.dumps({"what": part, "value": 1.5, "remark": "", "predicted": ""}) + "\\n")
print("graph: one by one")
if part == "hangs":
    time.sleep(60)
if part == "interrupted":
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)
if part == "fails":
    open(rows, "a").write('{"what": "torn')
    raise MemoryError("of the card")
"""


@pytest.fixture
def one_thread():
    """The models are tiny: threads would only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_part_that_fails_or_hangs_loses_no_row(tmp_path, monkeypatch, capsys):
    """Its own rows stay, so do those of the parts before and after, and FILE says how each ended;
    a part for which no time is left is named.
    """
    (tmp_path / "gpu_parts.py").write_text(PARTS)
    monkeypatch.setattr(bench_gpu, "HERE", tmp_path)
    monkeypatch.setattr(bench_gpu, "LIMITS", {"fails": 20, "hangs": 1, "works": 20, "late": 20})
    file = tmp_path / "bench.json"
    arguments = Namespace(file=file, seconds=60, corpus=None, tiny=True)
    bench_gpu.main(Namespace(**vars(arguments), parts=["fails", "hangs", "works"]))
    report = json.loads(file.read_text())
    assert [row["part"] for row in report["rows"]] == ["fails", "hangs", "works"]
    ended = {part: about["ended"] for part, about in report["parts"].items()}
    assert ended == {"fails": "failed (1)", "hangs": "stopped after 1 s", "works": "done"}
    output = capsys.readouterr().out
    assert "fails failed (1): MemoryError: of the card" in output
    assert "\n  graph: one by one\n" in output  # what a part says of its graphs
    arguments.seconds = 4
    bench_gpu.main(Namespace(**vars(arguments), parts=["late"]))
    assert "no time left" in json.loads(file.read_text())["parts"]["late"]["ended"]


def test_an_interrupted_bench_keeps_the_rows_of_the_part_under_way(tmp_path, monkeypatch, capsys):
    """SIGTERM, as a limit from outside sends it: FILE has them, and the table is printed."""
    (tmp_path / "gpu_parts.py").write_text(PARTS)
    monkeypatch.setattr(bench_gpu, "HERE", tmp_path)
    monkeypatch.setattr(bench_gpu, "LIMITS", {"interrupted": 20, "works": 20})
    file = tmp_path / "new" / "bench.json"
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit, match=r"^interrupted: "):
            bench_gpu.main(
                Namespace(
                    file=file, seconds=60, corpus=None, tiny=True, parts=["interrupted", "works"]
                )
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    report = json.loads(file.read_text())
    assert [row["part"] for row in report["rows"]] == ["interrupted"]
    assert report["parts"]["interrupted"]["ended"] == "interrupted"
    assert bench_gpu.read_rows(Path(f"{file}.parts", "interrupted.jsonl"))
    table = capsys.readouterr().out.split("=" * 100)[1]
    assert table.startswith("\ninterrupted: interrupted\n  interrupted ")


def test_runs_in_processes_are_measured_where_no_step_can_be_recorded(tmp_path, monkeypatch):
    """Those one by one; what was to be a graph has no value, and the row says why."""
    import gpu_together
    from gpu_training import Bench

    phases = [("as a graph", 1), ("one by one", 1), ("one by one", 3)]
    training = SimpleNamespace(is_graph=False, config=SimpleNamespace(batch_tokens=100))
    training.seconds = lambda steps: None
    bench = Bench(tmp_path / "rows.jsonl", tiny=True)
    bench.train = lambda name, graph: training
    (tmp_path / "go").write_text("0")
    gpu_together.worker(bench, str(tmp_path), 1, json.dumps([0.01, phases]))
    alone, one, three = json.loads((tmp_path / "rates-1").read_text())
    assert alone is None and one == 0 and three > 0

    monkeypatch.setattr(Bench, "has_cuda", True)
    monkeypatch.setattr(gpu_together, "meet", lambda *arguments: [None, None, None, 1e6, 2e6])
    gpu_together.processes(bench)
    rows = bench_gpu.read_rows(bench.rows)
    assert [row["value"] for row in rows] == [None, None, None, 1.0, 2.0]
    assert "could not be recorded" in rows[0]["remark"] and rows[4]["remark"] == "2.00 of one"


@pytest.mark.slow
def test_the_parts_run_on_a_cpu(tmp_path, tiny_corpus, one_thread):
    """Tiny, and in this process: each measures, and what needs CUDA says so."""
    import gpu_parts
    from gpu_training import Bench

    bench = Bench(tmp_path / "rows.jsonl", tiny=True)
    for part in ("graph", "check", "paths", "profile", "variants", "streams"):
        gpu_parts.PARTS[part](bench)
    gpu_parts.PARTS["stages"](bench, corpus=tiny_corpus.folder)
    rows = {row["what"]: row for row in bench_gpu.read_rows(bench.rows)}
    assert rows["224 x 11: as a graph"]["remark"] == "needs CUDA"
    assert rows["224 x 11: a step one by one"]["value"] > 0
    assert rows["one by one, again: largest difference of a loss"]["value"] == 0
    assert 0 < rows["224 x 11: part of the time in which one runs"]["value"] <= 1
    assert any("perplexity of dev" in name for name in rows)
    assert all(bench_gpu.describe(row) for row in rows.values())


@pytest.mark.slow
def test_the_parts_that_need_cuda_run_with_stand_ins_for_it(tmp_path, monkeypatch, one_thread):
    """So that no slip costs a part on the day when there is a GPU. It says nothing of CUDA."""
    import gpu_parts
    import gpu_paths
    import torch
    from gpu_training import Bench
    from recorder import Recorder

    from paramalloc.training import Learner, learner, step_graph

    recording = []

    class Watched(Recorder):
        def record(self, body):
            recording.append(1)
            try:
                return super().record(body)
            finally:
                recording.clear()

    def wait(*device):
        if recording:
            raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(step_graph, "_failures", [])
    monkeypatch.setattr(Learner, "update", Learner.update)  # which a part replaces
    monkeypatch.setattr(Bench, "has_cuda", True)
    monkeypatch.setattr(step_graph, "_find_obstacle", lambda *arguments: None)
    monkeypatch.setattr(learner, "CudaRecorder", lambda device: Watched())
    monkeypatch.setattr(torch, "compile", lambda loss, **options: loss)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 10**9)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: bool(recording))
    bench = Bench(tmp_path / "rows.jsonl", tiny=True)
    begun = SimpleNamespace(wait=lambda: gpu_paths.broken(bench))
    monkeypatch.setattr(gpu_paths, "start", lambda bench, part: begun)
    for part in ("graph", "check", "variants", "streams", "paths"):  # the last one breaks a graph
        gpu_parts.PARTS[part](bench)
    rows = {row["what"]: row for row in bench_gpu.read_rows(bench.rows)}
    assert rows["the graph trains as single launches do"]["value"] == "yes"
    assert {"160 x 29: gain of the graph", "gain without them"} < rows.keys()
    assert rows["224 x 11: 4 on streams, together"]["value"] > 0
    assert not any("fell back" in row["remark"] for row in rows.values())
    tried = [row for what, row in rows.items() if what.startswith("a graph")]
    assert [row["value"] for row in tried] == ["yes"] * 4
    assert [row["what"] for row in tried if "one by one" in row["remark"]] == [tried[-1]["what"]]
    assert rows["random numbers after it"]["value"] == "yes"
