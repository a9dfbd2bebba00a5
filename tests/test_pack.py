"""A packed sweep holds all that it needs, trains elsewhere, and its rows are at home here."""

import shutil
import subprocess
import tarfile
from dataclasses import replace

import pytest
import yaml
from analysis_fixtures import ended_run
from bare import make_bare_python

from paramalloc.cli import main
from paramalloc.config import ROOT
from paramalloc.data import prepare
from paramalloc.runs import Run, current_commit, read_results
from paramalloc.sweep import load_sweep
from paramalloc.training import train


@pytest.fixture
def sweep(tiny, small_talk_folder, small_sets, tmp_path):
    """The arguments that name a sweep of two tiny cells, its text, and its outputs."""
    text = shutil.copytree(small_talk_folder, tmp_path / "text")
    parameters = tiny | {"dataset": str(text), "tokens": 2048, "probes": 2}
    parameters |= {"smallbench": "quick", "smallbench_data": str(small_sets)}
    file = tmp_path / "two.yaml"
    axes = {"embed_share": [0.3, 0.35]}
    file.write_text(yaml.safe_dump({"axes": axes, "parameters": parameters}))
    return [str(file), "--outputs", str(tmp_path / "outputs")]


def pack(sweep, file, *words) -> dict[str, bytes]:
    """The contents of the archive, by name."""
    name, *options = sweep
    assert main(["pack", name, str(file), *options, *words]) == 0
    with tarfile.open(file) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def corpus_of(sweep):
    plan = load_sweep(sweep[0], outputs=sweep[-1])
    config = plan.config
    return plan, prepare(config.dataset, config.vocab_size, config.output_folder, config.tokens)


def test_an_archive_holds_what_the_sweep_needs(sweep, tmp_path):
    """The code as it is here, the corpus with its controls, the sets, and the command."""
    members = pack(sweep, tmp_path / "two.tar.gz", "--seed", "0,1", "--", "--jobs", "2")
    assert all(name.startswith("two/") for name in members)
    assert members["two/sweeps/two.yaml"] == (tmp_path / "two.yaml").read_bytes()
    for path in [*ROOT.glob("paramalloc/**/*.py"), ROOT / "notebooks" / "train.ipynb"]:
        assert members[f"two/{path.relative_to(ROOT).as_posix()}"] == path.read_bytes()
    _, corpus = corpus_of(sweep)
    for path in corpus.folder.glob("[!.l]*"):
        assert members[f"two/outputs/data/{corpus.folder.name}/{path.name}"] == path.read_bytes()
    assert sum("smallbench-" in name for name in members) == 1
    for name in ("blimp/blimp", "smallbench/piqa"):
        assert f"two/sets/{name}.jsonl" in members
    assert "--seed 0,1 --jobs 2" in members["two/run.sh"].decode()
    assert "two/finished.csv" not in members
    assert not [name for name in members if "__pycache__" in name]


def test_the_same_sweep_gives_the_same_bytes(sweep, tmp_path):
    """At another time, under another name; nothing else stays beside it."""
    first, second = tmp_path / "a" / "first.tar.gz", tmp_path / "a" / "second.tgz"
    pack(sweep, first)
    pack(sweep, second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [first.name, second.name]


def test_finished_runs_go_along(sweep, tmp_path):
    """So that they are not trained again there."""
    plan, corpus = corpus_of(sweep)
    run = Run(plan.config, corpus.fingerprint)
    with run.held():
        run.begin({})
        run.finish(ended_run() | {"run_id": run.id})
    table = tmp_path / "finished.csv"
    table.write_bytes(pack(sweep, tmp_path / "two.tar.gz")["two/finished.csv"])
    assert list(read_results(table).run_id) == [run.id]


@pytest.mark.parametrize(
    "words, message",
    [
        (["two.zip"], "FILE must end in .tar.gz or .tgz, not two.zip"),
        (["two.tgz", "--smallbench-data", "hub"], "are in hub: name one folder"),
        (["two.tgz", "--dataset", "nowhere"], "no such file or folder"),
    ],
)
def test_what_cannot_be_packed_is_one_line(sweep, tmp_path, words, message, capsys):
    name, *options = sweep
    file, *more = words
    assert main(["pack", name, str(tmp_path / file), *options, *more]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not list(tmp_path.glob("*two.[zt]*"))


def test_arguments_for_there_are_checked_here(sweep, tmp_path, capsys):
    """Before anything is prepared."""
    with pytest.raises(SystemExit) as end:
        main(["pack", sweep[0], str(tmp_path / "two.tgz"), *sweep[1:], "--", "--jbos", "2"])
    assert end.value.code == 2 and "--jbos" in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_rows_that_were_trained_elsewhere_are_at_home_here(sweep, tmp_path):
    """Where little is installed, the text is absent and another paramalloc lies around."""
    archive, home = tmp_path / "two.tar.gz", tmp_path / "home"
    pack(sweep, archive)
    plan, corpus = corpus_of(sweep)
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "there", filter="data")
    (tmp_path / "text").rename(tmp_path / "hidden")
    (tmp_path / "around" / "paramalloc").mkdir(parents=True)
    (tmp_path / "around" / "paramalloc" / "__init__.py").write_text("raise SystemExit(9)")

    # Train there, in another folder.
    python = make_bare_python(tmp_path / "bare")
    words = ["bash", tmp_path / "there" / "two" / "run.sh", home, "--jobs", "1"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python)}
    subprocess.run(words, cwd=tmp_path / "around", env=environment, check=True)
    rows = read_results(home / "results.csv")

    # The rows are those that would be trained here.
    (tmp_path / "hidden").rename(tmp_path / "text")
    runs = [run for cell in plan.cells for run in cell.runs(corpus)]
    assert sorted(rows.run_id) == sorted(run.id for run in runs)
    assert set(rows.commit.dropna()) == {current_commit()} - {None}
    [here] = train(replace(plan.config, outputs=str(tmp_path / "again")), corpus)
    [there] = rows[rows.run_id == here["run_id"]].to_dict("records")
    names = ("dataset", "dev_loss", "test_loss", "smallbench", "dev_curve")
    assert {name: there[name] for name in names} == {name: here[name] for name in names}

    # Restored, they are not trained again.
    assert main(["restore", str(home / "results.csv"), *sweep[1:]]) == 0
    assert all(run.finished for run in runs)
    assert main(["sweep", *sweep, "--notebooks", "off"]) == 0
    assert not list((tmp_path / "outputs").glob("runs/*/checkpoint"))
