"""What a second model needs not compute again: the same to the last digit, kept or not."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from paramalloc.config import ModelConfig
from paramalloc.data import Corpus
from paramalloc.evaluation import controls, kept, trees
from paramalloc.evaluation.controls import Untrained
from paramalloc.evaluation.kept import keep_arrays, read_arrays, save_arrays
from paramalloc.evaluation.sets import load_sets
from paramalloc.evaluation.smallbench import run_smallbench
from paramalloc.model import DecoderLM

SHAPE = ModelConfig(
    vocab_size=320, d_model=32, n_layers=1, n_heads=2, n_kv_heads=1, d_head=16, d_ff=64
)
START = Untrained(SHAPE, "standard", seed=3, device=torch.device("cpu"))
MAKERS = [
    (controls, "KneserNey"),
    (controls, "encode"),
    (controls, "score_network"),  # of the untrained model
    (trees, "encode"),
    (trees, "plant"),
]


def measure(corpus: Corpus, small_sets: Path, start: Untrained = START):
    """SmallBench of a model: (summary, arrays)."""
    torch.manual_seed(0)
    sets = load_sets(str(small_sets))[0]
    return run_smallbench(DecoderLM(SHAPE), start, corpus, 64, sets, "full", lambda *_: None)


def equal(one, other) -> bool:
    """Whether two measurements are the same, bit for bit."""
    arrays = [{name: array.tobytes() for name, array in found[1].items()} for found in (one, other)]
    return json.dumps(one[0]) == json.dumps(other[0]) and arrays[0] == arrays[1]


def files(corpus: Corpus) -> dict[str, bytes]:
    """What is kept beside a corpus."""
    paths = corpus.folder.glob("*.safetensors")
    return {path.name: path.read_bytes() for path in sorted(paths)}


def refuse(*_, **__):
    raise AssertionError("made again")


def close(*_, **__):
    raise PermissionError("read-only")


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """What the process remembers: nothing, as in a new one."""
    memory = {}
    monkeypatch.setattr(kept, "_memory", memory)
    return memory


@pytest.fixture(scope="module")
def first(tiny_corpus, small_sets, tmp_path_factory):
    """A corpus beside which all was made for a first model, and that measurement."""
    ignored = shutil.ignore_patterns("*.safetensors", "lease")
    folder = tmp_path_factory.mktemp("first") / "corpus"
    corpus = Corpus.open(shutil.copytree(tiny_corpus.folder, folder, ignore=ignored))
    return corpus, measure(corpus, small_sets)


@pytest.fixture
def copied(first, tmp_path):
    """A copy of that corpus in another place, with what is kept beside it."""
    return Corpus.open(shutil.copytree(first[0].folder, tmp_path / "there" / "corpus"))


def test_a_second_model_makes_nothing_again(first, copied, memory, small_sets, monkeypatch):
    """Also where the corpus was copied to a place that may only be read; in a new process, and in
    the same one without a look at the files.
    """
    kinds = [name.split("-")[0] for name in files(copied)]
    assert kinds == ["smallbench", *["trees"] * 4, "untrained"]
    for module, name in MAKERS:
        monkeypatch.setattr(module, name, refuse)
    for name in ("save_arrays", "hold"):
        monkeypatch.setattr(kept, name, close)
    assert equal(measure(copied, small_sets), first[1])
    assert len(memory) == 6
    monkeypatch.setattr(kept, "read_arrays", refuse)
    assert equal(measure(copied, small_sets), first[1])


def test_a_closed_folder_without_kept_files_gives_the_same(first, copied, small_sets, monkeypatch):
    """All is made in memory, and nothing is left in the folder."""
    for name in files(copied):
        (copied.folder / name).unlink()
    for name in ("save_arrays", "hold"):
        monkeypatch.setattr(kept, name, close)
    assert equal(measure(copied, small_sets), first[1])
    assert files(copied) == {}


def test_what_is_damaged_is_made_again(first, copied, small_sets):
    """Each file cut short, or with one bit of its content turned; the files are whole then."""
    whole = files(copied)
    random = np.random.default_rng(0)
    for number, (name, content) in enumerate(whole.items()):
        header = int.from_bytes(content[:8], "little") + 8
        place = int(random.integers(header, len(content)))
        turned = content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]
        damaged = turned if number % 2 else content[:place]
        (copied.folder / name).write_bytes(damaged)
    assert equal(measure(copied, small_sets), first[1])
    assert files(copied) == whole


@pytest.mark.parametrize("change", ["without a digest", "one array less", "one array more"])
def test_what_another_version_wrote_is_made_again(change, first, copied, small_sets):
    """Each file as code would leave it that keeps no digest, or other columns; sound otherwise."""
    whole = files(copied)
    for name in whole:
        arrays = load_file(copied.folder / name)
        if change == "one array less":
            arrays.pop(max(arrays))
        if change == "one array more":
            arrays["new"] = np.arange(3)
        metadata = {} if change == "without a digest" else {"sha256": kept.hash_arrays(arrays)}
        save_arrays(copied.folder / name, arrays, **metadata)
    assert equal(measure(copied, small_sets), first[1])
    assert files(copied) == whole


def test_what_a_killed_process_left_is_removed(tmp_path, monkeypatch):
    """With the next file that is kept, of whatever name; what a living process writes stays."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with monkeypatch.context() as killed:  # before it renamed what it wrote
        killed.setattr(os, "getpid", lambda: ended.pid)
        killed.setattr(os, "replace", close)
        killed.setattr(Path, "unlink", close)
        keep_arrays(tmp_path / "x.safetensors", ["a"], lambda: {"a": np.arange(3)})
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".x.safetensors.")

    writing = tmp_path / f".y.safetensors.{os.getppid()}"
    writing.touch()
    keep_arrays(tmp_path / "z.safetensors", ["a"], lambda: {"a": np.arange(3)})
    assert set(tmp_path.iterdir()) == {writing, tmp_path / "z.safetensors"}


def test_who_may_read_the_folder_may_read_what_is_kept(tmp_path):
    """A corpus is often shared by the users of a machine."""
    (tmp_path / "text").touch()
    save_arrays(tmp_path / "x.safetensors", {"a": np.arange(3)})
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """Neither a file nor a part of one; what was made is returned."""
    monkeypatch.setattr(os, "replace", close)
    arrays = keep_arrays(tmp_path / "x.safetensors", ["a"], lambda: {"a": np.arange(3)})
    assert list(arrays["a"]) == [0, 1, 2] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"parametrization": "completep"},
        {"shape": replace(SHAPE, n_heads=4, d_head=8)},
    ],
    ids=str,
)
def test_another_start_has_a_control_of_its_own(change, first, copied, small_sets, memory):
    """And the model beside it stays what it is."""
    before = set(files(copied))
    found, arrays = measure(copied, small_sets, replace(START, **change))
    [new] = set(files(copied)) - before
    assert new.startswith("untrained-")
    assert found["results"]["model"] == first[1][0]["results"]["model"]
    assert (arrays["untrained.blimp.bits"] != first[1][1]["untrained.blimp.bits"]).any()


def test_outcomes_of_another_machine_are_not_believed(monkeypatch):
    """Of another number of threads, CPU, kind of CPU or torch, the last digit may differ."""
    network = START.build()
    digests = {START.digest(network, "text"), START.digest(network, "another text")}
    for module, name, value in (
        (torch, "get_num_threads", lambda: 99),
        (torch.backends.cpu, "get_cpu_capability", lambda: "none"),
        (controls, "cpu_name", lambda: "another"),
        (torch, "__version__", "0"),
    ):
        monkeypatch.setattr(module, name, value)
        digests.add(START.digest(network, "text"))
    assert len(digests) == 6


def test_outcomes_of_other_code_are_not_believed(monkeypatch):
    """Batches of another size give other last digits; weights may start in another way."""
    network = START.build()
    digests = {START.digest(network)}
    for name in ("NODES", "BATCH_NODES"):
        monkeypatch.setattr(controls, name, 77)
        digests.add(START.digest(network))
    with torch.no_grad():
        network.tables[-1][0, 0] += 1e-6
    digests.add(START.digest(network))
    assert len(digests) == 4
    assert START.digest(START.build()) == START.digest(START.build())


TWO = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_kept import files, measure
from paramalloc.data import Corpus
print("ready", flush=True)
sys.stdin.readline()
found, arrays = measure(Corpus.open(Path(sys.argv[2])), Path(sys.argv[3]))
print(repr(found["results"]))
"""


def test_two_processes_at_once_agree(first, copied, small_sets):
    """Both find nothing, both end with the same results; each file is whole, and nothing else."""
    whole = files(copied)
    for name in whole:
        (copied.folder / name).unlink()
    command = [sys.executable, "-c", TWO, Path(__file__).parent, copied.folder, small_sets]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    results = [process.communicate()[0] for process in processes]
    assert results == [repr(first[1][0]["results"]) + "\n"] * 2
    assert files(copied) == whole
    assert not [path for path in copied.folder.iterdir() if path.name.startswith(".")]


def test_a_torn_file_is_no_file(tmp_path):
    assert read_arrays(tmp_path / "none.safetensors", ["a"]) is None
    (tmp_path / "torn.safetensors").write_bytes(b"12345")
    assert read_arrays(tmp_path / "torn.safetensors", ["a"]) is None
