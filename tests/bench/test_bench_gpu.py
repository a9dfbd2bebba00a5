"""The bench of a GPU keeps what it measured, whatever happens to a part; it runs on a CPU, tiny."""

import json
import sys
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import bench_gpu

# Stands in for gpu_parts.py: a row, and then what the part's name says.
PARTS = """
import json, sys, time
part, rows = sys.argv[1:3]
with open(rows, "a") as file:
    file.write(json.dumps({"what": part, "value": 1.5, "remark": "", "predicted": ""}) + "\\n")
print("graph: one by one")
if part == "hangs":
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


@pytest.mark.slow
def test_the_parts_run_on_a_cpu(tmp_path, tiny_corpus, one_thread):
    """Tiny, and in this process: each measures, and what needs CUDA says so."""
    import gpu_parts
    from gpu_training import Bench

    bench = Bench(tmp_path / "rows.jsonl", tiny=True)
    for part in ("graph", "check", "profile", "variants", "streams"):
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
    import torch
    from gpu_training import Bench
    from recorder import Recorder

    from paramalloc.training import learner, step_graph

    monkeypatch.setattr(Bench, "has_cuda", True)
    monkeypatch.setattr(step_graph, "_find_obstacle", lambda *arguments: None)
    monkeypatch.setattr(learner, "CudaRecorder", lambda device: Recorder())
    monkeypatch.setattr(torch, "compile", lambda loss, **options: loss)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *device: None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 10**9)
    bench = Bench(tmp_path / "rows.jsonl", tiny=True)
    for part in ("graph", "check", "variants", "streams"):
        gpu_parts.PARTS[part](bench)
    rows = {row["what"]: row for row in bench_gpu.read_rows(bench.rows)}
    assert rows["the graph trains as single launches do"]["value"] == "yes"
    assert {"160 x 29: gain of the graph", "gain without them"} < rows.keys()
    assert rows["224 x 11: 4 on streams, together"]["value"] > 0
    assert not any("fell back" in row["remark"] for row in rows.values())
