"""Damaged files: none is read as if it were whole, and the one line names the file."""

import json
import os
import shutil
from pathlib import Path
from random import Random

import pytest

from paramalloc import disk
from paramalloc.config import TrainConfig
from paramalloc.data import Corpus, prepare
from paramalloc.errors import DataError, RunError, UserError
from paramalloc.evaluation import measure_again
from paramalloc.evaluation.finished import load_trained
from paramalloc.export import export_run
from paramalloc.runs import Run, last_record, load_runs, read_metrics, reading
from paramalloc.sweep import format_status, status_table
from paramalloc.training import train


@pytest.fixture(scope="module")
def finished(tiny, tiny_corpus, tmp_path_factory) -> Path:
    """The folder of a run of four steps; its corpus lies in the same outputs."""
    outputs = tmp_path_factory.mktemp("finished")
    corpus = prepare(tiny["dataset"], tiny["vocab_size"], outputs)
    config = TrainConfig.from_dict(tiny | {"tokens": 4096, "probes": 4, "outputs": str(outputs)})
    train(config, corpus)
    return Run(config, corpus.fingerprint).folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    outputs = tmp_path / "outputs"
    shutil.copytree(finished.parents[1], outputs)
    return outputs / "runs" / finished.name


def flip(text: bytes, at: int) -> bytes:
    """The bytes with one bit changed."""
    changed = bytearray(text)
    changed[at] ^= 1
    return bytes(changed)


def damaged(text: bytes) -> list[bytes]:
    """The content of a file as a disk or a power cut may leave it."""
    random = Random(len(text))
    flipped = [flip(text, random.randrange(len(text))) for _ in range(6)]
    return [b"", bytes(len(text)), text[: len(text) // 4 * 2], text[:-2], *flipped]


# ---- the corpus


@pytest.mark.parametrize("name", ["train.bin", "valid.bin", "test.bin", "tokenizer.json"])
def test_a_damaged_corpus_is_not_trained_on(run, tiny, name):
    """`prepare` refuses it, and so does who opens the folder and reads the file."""
    outputs = run.parents[1]
    [path] = outputs.glob(f"data/*/{name}")
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{name} is damaged.*remove the folder"):
            prepare(tiny["dataset"], tiny["vocab_size"], outputs)
        corpus = Corpus.open(path.parent)
        with pytest.raises(DataError, match=f"{name} is damaged"):
            _ = corpus.tokenizer if name == "tokenizer.json" else corpus.split(path.stem)
    path.unlink()
    with pytest.raises(DataError, match=f"cannot read .*{name}"):
        prepare(tiny["dataset"], tiny["vocab_size"], outputs)


def test_a_damaged_description_of_a_corpus_is_not_believed(run):
    """Its counts are in every bits-per-byte: one wrong digit is found."""
    [path] = run.parents[1].glob("data/*/meta.json")
    text = path.read_bytes()
    for content in [*damaged(text), b"[]", b"{}", b"7", b"\xff" + text, b"[" * 100_000]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"meta\.json is damaged"):
            Corpus.open(path.parent)


def test_a_corpus_of_before_needs_no_checksum_of_its_description(run):
    """It is read; a count that is not a number is found all the same."""
    [path] = run.parents[1].glob("data/*/meta.json")
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(('  "sha256"', '  "sealed"'))]
    assert len(kept) == len(lines) - 2
    text = "\n".join(kept).replace("},\n}", "}\n}").replace("  },\n}", "  }\n}")
    path.write_text(text)
    Corpus.open(path.parent).check()
    path.write_text(text.replace('"bytes": ', '"bytes": "', 1).replace(",", '",', 1))
    with pytest.raises(DataError, match=r"meta\.json is damaged"):
        Corpus.open(path.parent)


def test_a_file_is_read_once_for_its_checksum(tmp_path, monkeypatch):
    """And again after a change, also one that leaves its size."""
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = disk.sha256_of(path)
    with monkeypatch.context() as patched:
        patched.setattr(disk.hashlib, "file_digest", None)
        assert disk.sha256_of(path) == first
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert disk.sha256_of(path) != first


# ---- the weights


def refuse_weights(run: Path, target: Path) -> None:
    for read in (load_trained, measure_again, lambda run: export_run(run, target)):
        with pytest.raises(RunError, match=f"{run.name}.* damaged.*train the run again"):
            read(run)
    assert not target.exists()


def test_damaged_weights_are_neither_measured_nor_exported(run, tmp_path):
    """The result stays as it was, and no folder is begun."""
    path = run / "checkpoint" / "final" / "model.safetensors"
    result = (run / "result.json").read_bytes()
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        refuse_weights(run, tmp_path / "new")
    assert (run / "result.json").read_bytes() == result


def test_weights_without_their_checksum_are_not_believed(run, tmp_path):
    path = run / "checkpoint" / "final" / "manifest.json"
    text = path.read_bytes()
    for content in (b"", b"5", b"{}", text[:-1], text.replace(b'": "', b'": "0')):
        path.write_bytes(content)
        refuse_weights(run, tmp_path / "new")


# ---- the record


def broken(text: bytes) -> list[bytes]:
    """Contents that are no record any more, whatever a reader takes for granted."""
    return [
        b"",
        bytes(len(text)),
        text[: len(text) // 2],
        b"\xff" + text,
        text.replace(b"e", b"\xe9", 1),
        b"[" * 100_000,
        b"[]\n",
        b"7\n",
        b"null\n",
        text.replace(b": ", b": [] ", 1),
    ]


@pytest.fixture
def told(monkeypatch, capsys):
    """What was said on standard error since it was asked last."""

    def ask() -> str:
        monkeypatch.setattr(reading, "_told", set())
        return capsys.readouterr().err

    ask()
    return ask


def read_all(outputs: Path) -> str:
    """What commands show of all runs."""
    load_runs(outputs)
    return format_status(status_table(outputs))


@pytest.mark.parametrize("name", ["result.json", "config.json", "metrics.jsonl"])
def test_a_damaged_record_is_named_and_passed_over(run, told, name):
    """Every reader goes on, with the other runs."""
    path = run / name
    shutil.copytree(run, run.with_name("another"))
    text = path.read_bytes()
    assert len(load_runs(run.parents[1])) == 2
    assert told() == ""
    for content in broken(text):
        if name == "metrics.jsonl" and not content.endswith(b"\n"):
            continue  # its last line is still being written
        path.write_bytes(content)
        shown = read_all(run.parents[1])
        assert f"{path} is damaged" in told()
        assert "another" in shown


@pytest.mark.parametrize(
    "column, value",
    [("dev_loss", "3"), ("lr", []), ("seed", 0.5), ("dev_curve", [[1]]), ("wall_s", float("nan"))],
)
def test_a_column_of_another_kind_is_damage(run, told, column, value):
    """A row that no analysis can count is left out, and named."""
    path = run / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {column: value}))
    assert load_runs(run.parents[1]).empty
    assert f"{path} is damaged" in told()


def test_damage_is_told_once(run, told):
    (run / "result.json").write_text("{")
    for _ in range(3):
        load_runs(run.parents[1])
    assert told().count("is damaged") == 1


@pytest.mark.parametrize("name", ["result.json", "config.json"])
def test_a_run_without_its_record_is_refused_in_one_line(run, tmp_path, name):
    path = run / name
    for content in broken(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(UserError, match=run.name) as caught:
            measure_again(run)
        assert "\n" not in str(caught.value)
        with pytest.raises(UserError, match=run.name):
            export_run(run, tmp_path / "new")


def test_a_damaged_line_ends_the_record(run, told):
    """What was recorded before it is there, what follows may be of another run."""
    path = run / "metrics.jsonl"
    whole = read_metrics(run)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\x00torn\n", *lines[2:]]))
    assert read_metrics(run) == whole[:2]
    assert "damaged at line 3" in told()
    path.write_bytes(b"".join([*lines[:2], bytes(2**21), *lines[2:]]))
    assert read_metrics(run) == whole[:2]
    assert "damaged at line 3" in told()


def test_a_long_record_is_not_held(run, monkeypatch):
    """Its probes alone are parsed, and of its end the last bytes are read."""
    path = run / "metrics.jsonl"
    probes = read_metrics(run, "dev_ppl")
    batch = {"step": 1, "tokens": 1024, "train_loss": 5.5, "tokens_per_s": None}
    with open(path, "a") as file:
        file.writelines(json.dumps(batch | {"step": n}) + "\n" for n in range(20_000))
        file.write('{"step": 20000, "tok')
    assert last_record(run) == batch | {"step": 19_999}
    parsed = []
    monkeypatch.setattr(reading, "_as_record", lambda line: parsed.append(line) or {})
    assert len(read_metrics(run, "dev_ppl")) == len(parsed) == len(probes)


# ---- power cuts


@pytest.fixture
def synced(monkeypatch) -> list[Path]:
    """The files and folders that have reached the disk so far."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc, to tell which file a descriptor is")
    paths = []
    fsync = os.fsync

    def note(descriptor):
        paths.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return paths


def test_a_prepared_corpus_is_on_the_disk(tiny, tmp_path, synced):
    """Its files before the name of their folder, and that name before `prepare` returns."""
    corpus = prepare(tiny["dataset"], tiny["vocab_size"], tmp_path)
    assert {path.name for path in corpus.folder.iterdir()} <= {path.name for path in synced}
    assert synced[-1] == corpus.folder.parent


def test_an_exported_run_is_on_the_disk(run, tmp_path, synced):
    export_run(run, tmp_path / "new")
    assert {*(tmp_path / "new").iterdir(), tmp_path / "new", tmp_path} <= set(synced)
