"""A sweep trains what is missing, once, and one bad cell does not stop the others."""

import io
import json
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from types import SimpleNamespace

import psutil
import pytest
import torch
import yaml

from paramalloc.cli import main
from paramalloc.config import ROOT, AnalysisConfig, cores
from paramalloc.data import prepare
from paramalloc.errors import ConfigError
from paramalloc.runs import RESULT_COLUMNS, Run, load_runs, run_id
from paramalloc.sweep import engines, last_line, load_sweep, select_runs
from paramalloc.sweep.execution import Execution

IN_PAIRS = ["--engine", "papermill", "--jobs", "2"]
STUDY = ["embedding_sweep", "glu_sweep", "grid"]


@pytest.mark.parametrize("name, count", list(zip(STUDY, (3, 4, 12), strict=True)))
def test_the_baseline_is_the_first_of_the_studys_cells(name, count):
    """Early stop needs the baseline's curve, so that cell goes first."""
    sweep = load_sweep(name, profile="quick")
    first = sweep.cells[0].config
    assert len(sweep.cells) == count and (first.embed_share, first.glu) == (0.35, 2.66)
    assert len({cell.name for cell in sweep.cells}) == count and not any(
        cell.error for cell in sweep.cells
    )


def test_cells_common_to_two_sweeps_are_the_same_runs():
    """Both small sweeps lie within the grid, and share the baseline."""
    ids = {
        name: {run_id(cell.config, "data") for cell in load_sweep(name, profile="quick").cells}
        for name in STUDY
    }
    assert ids["embedding_sweep"] < ids["grid"] and ids["glu_sweep"] < ids["grid"]
    assert len(ids["embedding_sweep"] & ids["glu_sweep"]) == 1


def test_the_command_line_replaces_profile_and_dataset():
    """`--profile study` trains the study's sizes, whatever the file says."""
    config = load_sweep("grid", profile="study", dataset="wikitext-103").config
    assert (config.total_params, config.vocab_size, config.tokens) == (
        10_000_000,
        16_000,
        50_000_000,
    )
    assert config.dataset == "wikitext-103" and config.early_stop == "flag"


def test_some_cells_of_a_sweep_are_chosen_by_what_they_request():
    """In the sweep's own order; one that it lacks is refused, with those that there are."""
    some = load_sweep("grid", cells="0.45x4, 0.35×2.66", profile="quick")
    requests = [(cell.config.embed_share, cell.config.glu) for cell in some.cells]
    assert requests == [(0.35, 2.66), (0.45, 4.0)]
    kept = load_sweep("factorized_mlp", cells="0.35", profile="quick").cells
    assert [cell.parameters["embed_share"] for cell in kept] == [0.35]
    with pytest.raises(ConfigError, match=r"no cell 0\.3x4 in this sweep: name some of 0\.35x"):
        load_sweep("grid", cells="0.3x4", profile="quick")


def test_no_cell_is_written_outside_its_sweeps_folder(tmp_path):
    """A value that is a path becomes part of a file's name; equal names get a number."""
    path = tmp_path / "paths.yaml"
    path.write_text("axes: {dataset: [../../a, ../..\\\\a, /etc/b]}\n")
    names = [
        cell.name for cell in load_sweep(str(path), profile="quick", outputs=str(tmp_path)).cells
    ]
    assert names == ["dataset-..-..-a-1", "dataset-..-..-a-2", "dataset--etc-b"] and not any(
        "/" in name for name in names
    )


@pytest.mark.parametrize("letter", ["漢", "é", "𠮷", "a"])
def test_the_longest_name_of_a_cell_is_that_of_a_file(tmp_path, letter):
    """Names of notebooks, logs and what is written beside them have at most 255 bytes."""
    path = tmp_path / "long.yaml"
    values = {"dataset": [letter * 120, letter * 130], "embed_share": [0.3]}
    write_sweep(path, values, {"lr": [1e-3, 3e-3], "seed": [0, 1]})
    sweep = load_sweep(str(path), profile="quick", outputs=str(tmp_path)).by_run()
    for number, cell in enumerate(sweep.cells, 1):
        runs = cell.runs(SimpleNamespace(fingerprint="0" * 64))
        execution = Execution(sweep, number, cell, cell, runs, view=True)
        places = [execution.notebook, execution.log, execution.output, execution._target]
        assert max(len(place.name.encode()) for place in places) < 255


@pytest.mark.parametrize("name", ["..yaml", "...yaml"])
def test_a_sweep_whose_name_is_a_folders_is_refused(tmp_path, name):
    write_sweep(tmp_path / name, {"seed": [0]}, {})
    with pytest.raises(ConfigError, match="give it one"):
        load_sweep(str(tmp_path / name), profile="quick", outputs=str(tmp_path))


def test_an_unknown_key_is_refused(tmp_path):
    """The message names the nearest key that exists."""
    path = tmp_path / "x.yaml"
    path.write_text("axes: {gul: [2, 3]}\n")
    with pytest.raises(ConfigError, match="unknown parameter 'gul': did you mean 'glu'"):
        load_sweep(str(path))
    path.write_text("notebook: trian\naxes: {glu: [2, 3]}\n")
    with pytest.raises(ConfigError, match="unknown notebook 'trian': did you mean 'train'"):
        load_sweep(str(path))
    with pytest.raises(ConfigError, match="unknown sweep 'gird': did you mean 'grid'"):
        load_sweep("gird")


@pytest.mark.parametrize(
    "text", ["axes: {glu: 2.0}", "axes: {glu: []}", "axes: [glu]", "- glu", "axes: {glu: [2"]
)
def test_yaml_of_another_form_is_refused(tmp_path, text):
    """One line, no traceback, whatever the file holds."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_sweep(str(path))
    assert "\n" not in str(error.value)


@pytest.fixture
def plan(tiny, tmp_path):
    """A sweep of three tiny cells, of which one cannot exist; there is no outputs folder yet."""
    path = tmp_path / "three.yaml"
    shared = tiny | {"tokens": 4096, "probes": 2}
    write_sweep(path, {"embed_share": [0.3, 0.35, 0.97]}, shared)
    return path, tmp_path / "new" / "outputs"


def write_sweep(path, axes, parameters):
    path.write_text(yaml.safe_dump({"axes": axes, "parameters": parameters}))


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A sweep that was executed two cells at a time, its outputs, status and messages.

    Of its four cells one cannot exist, and two are one run: they differ in `compile` alone.
    """
    path = tmp_path_factory.mktemp("sweep") / "four.yaml"
    cells = [
        {"embed_share": 0.35, "compile": "off"},
        {"embed_share": 0.35, "compile": "auto"},  # both first, so that they could run together
        {"embed_share": 0.3},
        {"embed_share": 0.97},
    ]
    write_sweep(path, {"cell": cells}, tiny | {"tokens": 4096, "probes": 2})
    outputs = path.parent / "new" / "outputs"
    errors = io.StringIO()
    with redirect_stderr(errors):
        status = main(["sweep", str(path), "--outputs", str(outputs), *IN_PAIRS])
    return path, outputs, status, errors.getvalue()


def test_a_sweep_goes_on_after_a_failed_cell(trained):
    """The cells that can be are trained; the other is named with its reason; the status is 1."""
    path, outputs, status, errors = trained
    assert status == 1
    assert "embed_share-0.97" in errors and "nearest embed_share that fits" in errors
    assert list(load_runs(outputs).status) == ["completed"] * 2
    rows = select_runs(AnalysisConfig.from_dict({"runs": str(path), "outputs": str(outputs)}))
    assert sorted(rows.status) == ["completed", "completed", "failed"]


def test_a_sweep_trains_nothing_twice(trained, monkeypatch):
    """The second time nothing is executed."""
    path, outputs, *_ = trained
    monkeypatch.setattr(
        engines, "papermill_command", lambda *_: pytest.fail("a finished cell was executed again")
    )
    assert main(["sweep", str(path), "--outputs", str(outputs), "--engine", "papermill"]) == 1


def test_cells_at_a_time_have_their_part_of_the_cores(trained):
    """--jobs 2: each on half of the cores; nothing is left but the notebooks."""
    path, outputs, *_ = trained
    assert set(load_runs(outputs).threads) == {max(1, cores() // 2)}
    assert not list((outputs / "notebooks" / "four").glob(".*"))
    assert main(["sweep", str(path), "--jobs", "0"]) == 2


def test_one_cell_at_a_time_has_all_cores(tiny, tmp_path):
    """Without --jobs cells are executed one after the other."""
    path = tmp_path / "two.yaml"
    shared = tiny | {"tokens": 2048, "probes": 1}
    write_sweep(path, {"embed_share": [0.3, 0.35]}, shared)
    assert main(["sweep", str(path), "--outputs", str(tmp_path / "outputs")]) == 0
    runs = load_runs(tmp_path / "outputs")
    assert list(runs.status) == ["completed"] * 2
    assert set(runs.threads) == {torch.get_num_threads()}


def test_cells_that_are_one_run_train_it_once(trained):
    """They never train side by side: the second finds the run finished and is not executed."""
    _, outputs, *_ = trained
    executed = {file.name for file in (outputs / "notebooks" / "four").iterdir()}
    first = "compile-off_embed_share-0.35.ipynb"
    assert executed == {"embed_share-0.3.ipynb", first}


def test_a_hundred_finished_cells_are_seen_in_seconds(tiny, tmp_path, capsys):
    """Nothing is started for them: under 3 s, the corpus being there."""
    path = tmp_path / "hundred.yaml"
    write_sweep(path, {"lr": [1e-3 + n * 1e-5 for n in range(100)]}, tiny)
    plan = load_sweep(str(path), outputs=str(tmp_path))
    corpus = prepare(plan.config.dataset, plan.config.vocab_size, tmp_path)
    for cell in plan.cells:
        run = Run(cell.config, corpus.fingerprint)
        run.folder.mkdir(parents=True)
        result = dict.fromkeys(RESULT_COLUMNS) | {"status": "completed", "wall_s": 1.0}
        (run.folder / "result.json").write_text(json.dumps(result))
    started = time.monotonic()
    assert main(["sweep", str(path), "--outputs", str(tmp_path)]) == 0
    assert time.monotonic() - started < 3
    assert capsys.readouterr().out.count("completed, speed not measured") == 100


@pytest.mark.parametrize("engine, count", [("papermill", 4), ("pool", 2)])
def test_an_interrupted_sweep_leaves_no_process(tiny, tmp_path, engine, count):
    """Ctrl-C while two cells train: status 130 within seconds, and no process is left.

    Papermill has two processes a cell, the pool one.
    """
    path, outputs = tmp_path / "long.yaml", tmp_path / "o"
    write_sweep(path, {"embed_share": [0.3, 0.35]}, tiny | {"tokens": 20_000_000, "probes": 2})
    code = "from paramalloc.cli import main; raise SystemExit(main())"
    words = ["sweep", str(path), "--outputs", str(outputs), "--engine", engine, "--jobs", "2"]
    sweep = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list(outputs.glob("runs/*/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    family = psutil.Process(sweep.pid).children(recursive=True)
    assert len(family) >= count
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(30) == 130
    _, left = psutil.wait_procs(family, timeout=10)
    assert not left


def test_a_cell_that_never_ran_is_missing(plan):
    """Its row says so and holds no number that was not requested."""
    path, outputs = plan
    sweep = load_sweep(str(path), outputs=str(outputs))
    corpus = prepare(sweep.config.dataset, sweep.config.vocab_size, sweep.config.output_folder)
    done = Run(sweep.cells[0].config, corpus.fingerprint)
    with done.held():
        done.begin({})
        done.finish({"run_id": done.id, "status": "completed", "dev_loss": 5.0})
    rows = select_runs(AnalysisConfig.from_dict({"runs": str(path), "outputs": str(outputs)}))
    assert list(rows.status) == ["completed", "missing", "failed"]
    assert list(rows.columns) == RESULT_COLUMNS
    assert rows.dev_loss.isna().tolist() == [False, True, True]


def test_sweeps_joined_by_plus_share_their_runs(plan, tmp_path):
    """A cell of both is one row; what is absent has the shape that it would have."""
    path, outputs = plan
    other = tmp_path / "other.yaml"
    parameters = yaml.safe_load(path.read_text())["parameters"]
    write_sweep(other, {"embed_share": [0.35, 0.4]}, parameters)
    sweep = load_sweep(str(path), outputs=str(outputs))
    corpus = prepare(sweep.config.dataset, sweep.config.vocab_size, outputs)
    done = Run(sweep.cells[0].config, corpus.fingerprint)
    result = {"status": "completed", "requested_share": 0.35, "dev_loss": 5.0}
    with done.held():
        done.begin({})
        done.finish({"run_id": done.id} | result)
    rows = select_runs(
        AnalysisConfig.from_dict({"runs": f"{path}+{other}", "outputs": str(outputs)})
    )
    assert sorted(rows.requested_share) == [0.3, 0.35, 0.4, 0.97]
    assert list(rows.run_id.dropna()) == [done.id]
    missing = rows[rows.status == "missing"]
    assert missing.d_model.notna().all()
    assert missing.total_params.isna().all()


def test_the_parameters_reach_papermill_with_their_types():
    """Lists, numbers and text arrive as such, through YAML."""
    parameters = {"lr": [1e-3, 3e-3], "glu": 2.0, "dataset": "a b"}
    command = engines.papermill_command(ROOT / "a.ipynb", ROOT / "b.ipynb", parameters)
    assert json.loads(command[command.index("-y") + 1]) == parameters


def test_a_papermill_error_is_passed_on_without_the_name_of_the_exception():
    """Our own commands print only the message."""
    assert (
        last_line("Traceback\n ...\nparamalloc.errors.DataError: it is empty: add text\n\n")
        == "it is empty: add text"
    )
