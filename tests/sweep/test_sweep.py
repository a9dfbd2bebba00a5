"""A sweep trains what is missing, once, and one bad cell does not stop the others."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from paramalloc.cli import main
from paramalloc.config import ROOT, AnalysisConfig
from paramalloc.data import prepare
from paramalloc.errors import ConfigError
from paramalloc.runs import RESULT_COLUMNS, Run, load_runs, run_id
from paramalloc.sweep import engines, last_line, load_sweep, select_runs

STUDY = ["embedding_sweep", "glu_sweep", "grid"]


@pytest.mark.parametrize("name, count", list(zip(STUDY, (3, 4, 12))))
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
    assert config.dataset == "wikitext-103" and config.early_stop == "kill"


def test_no_cell_is_written_outside_its_sweeps_folder(tmp_path):
    """A value that is a path becomes part of a file's name; two that would have one name get a number."""
    path = tmp_path / "paths.yaml"
    path.write_text("axes: {dataset: [../../a, ../..\\\\a, /etc/b]}\n")
    names = [
        cell.name for cell in load_sweep(str(path), profile="quick", outputs=str(tmp_path)).cells
    ]
    assert names == ["dataset-..-..-a-1", "dataset-..-..-a-2", "dataset--etc-b"] and not any(
        "/" in name for name in names
    )


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
    """A sweep of three tiny cells, of which one cannot exist; the outputs folder is not there yet."""
    path = tmp_path / "three.yaml"
    shared = tiny | {"tokens": 4096, "probes": 2}
    path.write_text(
        yaml.safe_dump({"axes": {"embed_share": [0.3, 0.35, 0.97]}, "parameters": shared})
    )
    return path, tmp_path / "new" / "outputs"


def test_a_sweep_goes_on_after_a_failed_cell_and_trains_nothing_twice(plan, capsys, monkeypatch):
    """Two cells are trained, the third is named with its reason, non-zero; the second time nothing is executed."""
    path, outputs = plan
    assert main(["sweep", str(path), "--outputs", str(outputs)]) == 1
    said = capsys.readouterr()
    assert "embed_share-0.97" in said.err and "nearest embed_share that fits" in said.err
    assert list(load_runs(outputs).status) == ["completed"] * 2
    executed = {file.name for file in (outputs / "notebooks" / "three").iterdir()}
    assert executed == {"embed_share-0.3.ipynb", "embed_share-0.35.ipynb"}
    monkeypatch.setattr(
        engines, "papermill_command", lambda *_: pytest.fail("a finished cell was executed again")
    )
    assert main(["sweep", str(path), "--outputs", str(outputs)]) == 1

    rows = select_runs(AnalysisConfig.from_dict({"runs": str(path), "outputs": str(outputs)}))
    assert sorted(rows.status) == ["completed", "completed", "failed"]


@pytest.mark.slow
def test_cells_at_a_time_are_the_same_runs_with_their_part_of_the_cores(plan, capsys):
    """--jobs 2: what one at a time would train, each on half of the cores; the failed cell is still told."""
    path, outputs = plan
    assert main(["sweep", str(path), "--outputs", str(outputs), "--jobs", "2"]) == 1
    runs = load_runs(outputs)
    assert list(runs.status) == ["completed"] * 2 and "embed_share-0.97" in capsys.readouterr().err
    assert set(runs.threads) == {max(1, engines.cores() // 2)}
    assert not list((outputs / "notebooks" / "three").glob(".*"))
    assert main(["sweep", str(path), "--jobs", "0"]) == 2


def test_cells_that_are_one_run_train_it_once(tiny, tmp_path, capsys):
    """Two cells with one run id (they differ in `compile` alone) never train side by side: the second finds it finished."""
    path = tmp_path / "same.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "axes": {"compile": ["off", "auto"]},
                "parameters": tiny | {"tokens": 4096, "probes": 2},
            }
        )
    )
    assert main(["sweep", str(path), "--outputs", str(tmp_path / "o"), "--jobs", "2"]) == 0
    assert len(load_runs(tmp_path / "o")) == 1
    assert len(list((tmp_path / "o" / "notebooks" / "same").glob("*.ipynb"))) == 1


def test_a_hundred_finished_cells_are_seen_in_seconds(tiny, tmp_path, capsys):
    """Nothing is started for them: under 3 s, the corpus being there."""
    path = tmp_path / "hundred.yaml"
    path.write_text(
        yaml.safe_dump({"axes": {"lr": [1e-3 + n * 1e-5 for n in range(100)]}, "parameters": tiny})
    )
    plan = load_sweep(str(path), outputs=str(tmp_path))
    corpus = prepare(plan.config.dataset, plan.config.vocab_size, tmp_path)
    for cell in plan.cells:
        run = Run(cell.config, corpus.fingerprint)
        run.folder.mkdir(parents=True)
        (run.folder / "result.json").write_text(
            json.dumps(
                {name: None for name in RESULT_COLUMNS} | {"status": "completed", "wall_s": 1.0}
            )
        )
    started = time.monotonic()
    assert main(["sweep", str(path), "--outputs", str(tmp_path)]) == 0
    assert (
        time.monotonic() - started < 3
        and capsys.readouterr().out.count("completed, speed not measured") == 100
    )


def test_an_interrupted_sweep_leaves_no_process(tiny, tmp_path):
    """Ctrl-C while two cells train: status 130 within seconds, and neither papermill nor a kernel is left."""
    path, outputs = tmp_path / "long.yaml", tmp_path / "o"
    shared = tiny | {"tokens": 20_000_000, "probes": 2}
    path.write_text(yaml.safe_dump({"axes": {"embed_share": [0.3, 0.35]}, "parameters": shared}))
    command = [
        sys.executable,
        "-c",
        "from paramalloc.cli import main; raise SystemExit(main())",
        "sweep",
        str(path),
        "--outputs",
        str(outputs),
        "--jobs",
        "2",
    ]
    sweep = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(list((outputs / "runs").glob("*/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    family = [process.pid for process in psutil.Process(sweep.pid).children(recursive=True)]
    assert len(family) >= 4  # two papermills, two kernels
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(30) == 130
    gone, left = psutil.wait_procs(
        [psutil.Process(pid) for pid in family if psutil.pid_exists(pid)], timeout=10
    )
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
    assert (
        list(rows.status) == ["completed", "missing", "failed"]
        and list(rows.columns) == RESULT_COLUMNS
    )
    assert rows.dev_loss.isna().tolist() == [False, True, True]


def test_sweeps_joined_by_plus_share_their_runs(plan, tmp_path):
    """A cell of both is one row; what is absent has the shape that it would have."""
    path, outputs = plan
    other = tmp_path / "other.yaml"
    other.write_text(
        yaml.safe_dump(
            {
                "axes": {"embed_share": [0.35, 0.4]},
                "parameters": yaml.safe_load(path.read_text())["parameters"],
            }
        )
    )
    sweep = load_sweep(str(path), outputs=str(outputs))
    done = Run(
        sweep.cells[0].config,
        prepare(sweep.config.dataset, sweep.config.vocab_size, outputs).fingerprint,
    )
    with done.held():
        done.begin({})
        done.finish(
            {"run_id": done.id, "status": "completed", "requested_share": 0.35, "dev_loss": 5.0}
        )
    rows = select_runs(
        AnalysisConfig.from_dict({"runs": f"{path}+{other}", "outputs": str(outputs)})
    )
    assert sorted(rows.requested_share) == [0.3, 0.35, 0.4, 0.97] and list(
        rows.run_id.dropna()
    ) == [done.id]
    assert (
        rows[rows.status == "missing"].d_model.notna().all()
        and rows[rows.status == "missing"].total_params.isna().all()
    )


def test_the_parameters_reach_papermill_with_their_types():
    """Lists, numbers and text arrive as such, through YAML."""
    command = engines.papermill_command(
        ROOT / "a.ipynb", ROOT / "b.ipynb", {"lr": [1e-3, 3e-3], "glu": 2.0, "dataset": "a b"}
    )
    assert json.loads(command[command.index("-y") + 1]) == {
        "lr": [1e-3, 3e-3],
        "glu": 2.0,
        "dataset": "a b",
    }


def test_a_papermill_error_is_passed_on_without_the_name_of_the_exception():
    """Our own commands print only the message."""
    assert (
        last_line("Traceback\n ...\nparamalloc.errors.DataError: it is empty: add text\n\n")
        == "it is empty: add text"
    )
