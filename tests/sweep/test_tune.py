"""A tuned sweep finds each cell's learning rate on other seeds, then trains the cell with it."""

import math
import time
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from paramalloc.cli import main
from paramalloc.config import AnalysisConfig, TrainConfig
from paramalloc.data import prepare
from paramalloc.errors import ConfigError
from paramalloc.runs import Run, load_runs
from paramalloc.sweep import dry_run as plans
from paramalloc.sweep import (
    execute_sweep,
    format_plan,
    load_sweep,
    papermill_words,
    schedule,
    select_runs,
    status_table,
)
from paramalloc.sweep.tune import Tuning, best_lr, next_lrs

GRID = (1e-3, 2e-3, 4e-3, 8e-3, 16e-3)
TUNE = {"lr": list(GRID), "seed": [1000, 1001], "extend": 2}


def losses(rates, values) -> dict:
    return dict(zip(rates, values, strict=True))


def bowl(best: float):
    """A dev loss that is lowest at `best`, the same for every cell and seed."""
    return lambda config: 3 + math.log(config.lr / best) ** 2


# ---- what to try next


@given(st.floats(-14, 3))
def test_the_search_ends_at_the_best_of_all_that_it_may_reach(place):
    """On a bowl: the grid, and up to two steps more on the side of the lowest loss."""
    tuning = Tuning(GRID, extend=2)
    tried = {}
    while rates := next_lrs(tried, tuning):
        tried |= {lr: abs(math.log(lr) - place) for lr in rates}
    ladder = [1e-3 * 2**n for n in range(-2, 7)]
    nearest = min(ladder, key=lambda lr: abs(math.log(lr) - place))
    is_next = abs(math.log(best_lr(tried) / nearest)) < 1.1 * math.log(2)
    assert best_lr(tried) == pytest.approx(nearest) or (is_next and len(tried) == 6)
    assert len(tried) <= 7
    assert not (min(tried) < 1e-3 and max(tried) > 16e-3)


@pytest.mark.parametrize(
    "tried, then",
    [
        ({}, GRID),
        (losses(GRID, (5, 4, 3, 4, 5)), ()),
        (losses(GRID, (3, 4, 5, 6, 7)), (5e-4,)),
        (losses(GRID, (7, 6, 5, 4, 3)), (32e-3,)),
        (losses(GRID, (5, 4, 3, math.inf, math.inf)), ()),
        (losses(GRID, (5, math.inf, math.inf, math.inf, math.inf)), (5e-4,)),
        (dict.fromkeys(GRID, math.inf), (5e-4,)),
        (losses((2.5e-4, 5e-4, *GRID), range(7)), ()),
        (losses((5e-4, *GRID), (4, 3, 5, 6, 7, 8)), ()),
    ],
)
def test_the_next_learning_rates(tried, then):
    """The grid; nothing if the best lies inside; beyond the edge; down if all diverged; a limit."""
    assert next_lrs(tried, Tuning(GRID, extend=2)) == then


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"tune": TUNE | {"lr": [1e-3, 2e-3, 4e-3, 8e-3]}}, "at least 5 values"),
        ({"tune": TUNE | {"lr": [1e-3, 2e-3, 4e-3, 8e-3, 9e-3]}}, "in about equal ratios"),
        ({"tune": {"seed": [1000]}}, "at least 5 values"),
        ({"tune": TUNE | {"seed": [0, 1000]}}, "seed 0 is for results"),
        ({"tune": TUNE | {"sed": 1}}, "unknown key of tune 'sed': did you mean 'seed'"),
        ({"tune": TUNE | {"extend": "far"}}, "extend must be a number"),
        ({"tune": [1]}, "must hold names and values"),
        ({"quick": {"tune": [1]}}, "must hold names and values"),
        ({"quick": {"axis": {}}}, "unknown key of quick 'axis': did you mean 'axes'"),
        ({"parameters": {"seed": [0, 1000]}}, "seeds from 1000 on only choose a learning rate"),
        ({"parameters": {"lr": 1e-3}}, "lr is what tune chooses"),
    ],
)
def test_a_wrong_tune_is_refused_in_one_line(tmp_path, changed, message):
    path = tmp_path / "x.yaml"
    path.write_text(
        yaml.safe_dump({"profile": "quick", "axes": {"glu": [2.66]}, "tune": TUNE} | changed)
    )
    with pytest.raises(ConfigError, match=message) as error:
        load_sweep(str(path))
    assert "\n" not in str(error.value)


# ---- a sweep of it


class Untrained:
    """An engine whose runs end at once, with the dev loss that `loss(config)` gives.

    They diverge where it is None. After `lives` executions the engine is interrupted.
    """

    def __init__(self, corpus, loss, jobs=1, lives=10**6):
        self.corpus = corpus
        self.loss = loss
        self.jobs = jobs
        self.lives = lives
        self.started = []
        self.trained = []

    def ready(self, waiting):
        return waiting

    def start(self, task, waiting):
        if len(self.started) == self.lives:
            raise KeyboardInterrupt
        parameters = task.cell.parameters
        self.started.append((task.target.stem, parameters))
        return SlowProcess(self, TrainConfig.from_dict(parameters).runs())

    def finish(self, config):
        run = Run(config, self.corpus.fingerprint)
        if run.finished:
            return
        loss = self.loss(config)
        result = {
            "run_id": run.id,
            "status": "completed" if loss else "diverged",
            "dev_loss": loss,
            "lr": config.lr,
            "seed": config.seed,
            "requested_share": config.embed_share,
            "requested_glu": config.glu,
            "wall_s": 1.0,
        }
        with run.held():
            run.begin({"tokens": config.tokens})
            run.finish(result)
        self.trained.append((config.embed_share, config.lr, config.seed))


class SlowProcess:
    """A cell under way: it is finished when it is asked for the second time."""

    def __init__(self, engine, configs):
        self.engine = engine
        self.configs = configs
        self.polls = 0

    def poll(self):
        self.polls += 1
        if self.polls == 2:
            for config in self.configs:
                self.engine.finish(config)
        return 0 if self.polls > 1 else None

    def interrupt(self):
        pass

    def wait(self, seconds):
        pass


@pytest.fixture
def tuned(tiny, tmp_path, monkeypatch):
    """Two cells of two seeds, the baseline first; the corpus is prepared, and nobody sleeps."""
    monkeypatch.setattr(
        schedule, "time", SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
    )
    path = tmp_path / "tuned.yaml"
    parameters = tiny | {"seed": [0, 1], "early_stop": "flag"}
    path.write_text(
        yaml.safe_dump(
            {"axes": {"embed_share": [0.3, 0.35]}, "parameters": parameters, "tune": TUNE}
        )
    )
    return (
        load_sweep(str(path), outputs=str(tmp_path)),
        prepare(tiny["dataset"], tiny["vocab_size"], tmp_path),
        path,
    )


@pytest.mark.parametrize(
    "best, tried, claimed",
    [
        (4.2e-3, GRID, 4e-3),
        (1.1e-3, (5e-4, *GRID), 1e-3),
        (1e-5, (2.5e-4, 5e-4, *GRID), 2.5e-4),
        (30e-3, (*GRID, 32e-3, 64e-3), 32e-3),
    ],
)
@pytest.mark.parametrize("jobs", [1, 3])
def test_each_cell_is_trained_at_its_best_learning_rate(tuned, best, tried, claimed, jobs):
    """Optimum inside, near or beyond an edge: the rates tried, then the cell at the best."""
    sweep, corpus, _ = tuned
    engine = Untrained(corpus, bowl(best), jobs)
    assert execute_sweep(sweep, engine) == {}
    for share in (0.3, 0.35):
        mine = [(lr, seed) for cell, lr, seed in engine.trained if cell == share]
        assert sorted(mine) == sorted(
            [(lr, seed) for lr in tried for seed in (1000, 1001)] + [(claimed, 0), (claimed, 1)]
        )
    names = [
        name
        for name, _ in engine.started
        if name.startswith("embed_share-0.3.") or name == "embed_share-0.3"
    ]
    assert names == [f"embed_share-0.3.tune-{n + 1}" for n in range(len(tried) - 4)] + [
        "embed_share-0.3"
    ]
    assert (
        execute_sweep(sweep, again := Untrained(corpus, bowl(best), jobs)) == {}
        and again.started == []
    )


def test_a_cell_that_diverges_everywhere_fails_and_the_others_go_on(tuned, capsys):
    """It tries lower ones first, then says so; a rate of which one seed diverged is not chosen."""
    sweep, corpus, _ = tuned

    def loss(config):
        if config.embed_share == 0.35 or (config.lr == 4e-3 and config.seed == 1001):
            return None
        return bowl(4e-3)(config)

    failed = execute_sweep(sweep, engine := Untrained(corpus, loss))
    reason = "every learning rate from 0.00025 to 0.016 diverged: give tune a lower grid"
    assert failed == {"embed_share-0.35": reason}
    assert "failed (diverged)" in set(status_table(sweep.config.output_folder, sweep).state)
    assert {lr for share, lr, seed in engine.trained if share == 0.3 and seed == 0} == {2e-3}
    assert "0.002: dev loss 3.480, 0.004: diverged" in capsys.readouterr().out


@pytest.mark.parametrize("lives", range(1, 7))
def test_an_interrupted_tuned_sweep_goes_on(tuned, lives):
    """Stopped before any of its executions and started again: the same runs, none of them twice."""
    sweep, corpus, _ = tuned
    first, second = Untrained(corpus, bowl(30e-3), lives=lives), Untrained(corpus, bowl(30e-3))
    with pytest.raises(KeyboardInterrupt):
        execute_sweep(sweep, first)
    assert execute_sweep(sweep, second) == {}
    runs = first.trained + second.trained
    assert len(runs) == len(set(runs)) == 2 * (7 * 2 + 2)


def test_early_stop_of_a_claim_compares_with_the_baseline_at_its_own_learning_rate(tuned):
    """Every cell's last stage knows the baseline's rate, and waits for it; tuning stops nothing."""
    sweep, corpus, _ = tuned

    def loss(config):
        best = 30e-3 if config.embed_share == 0.35 else 4e-3
        return bowl(best)(config)

    execute_sweep(sweep, engine := Untrained(corpus, loss, jobs=4))
    assert [name for name, _ in engine.started].index("embed_share-0.3") > [
        name for name, _ in engine.started
    ].index("embed_share-0.35.tune-3")
    for name, parameters in engine.started:
        config = TrainConfig.from_dict(parameters)
        assert config.early_stop == ("off" if "tune" in name else "flag")
        if "tune" not in name:
            baseline = {Run(one.baseline(), corpus.fingerprint).id for one in config.runs()}
            claims = sweep.stages(sweep.cells[0], corpus)[-1].runs(corpus)
            assert "None" not in papermill_words(sweep, sweep.stages(sweep.cells[0], None)[-1])
            assert parameters["baseline_lr"] == 32e-3 and baseline == {run.id for run in claims}


def test_what_belongs_to_a_tuned_sweep_is_known_at_any_time(tuned, tmp_path, monkeypatch):
    """Dry run, status, report: nothing yet, midway, finished; runs without a rate are missing."""
    sweep, corpus, path = tuned
    monkeypatch.setattr(
        plans,
        "measure_speeds",
        lambda configs, jobs: [{"step_s": 1.0, "score_s": 0.0}] * len(configs),
    )
    selection = AnalysisConfig.from_dict({"runs": str(path), "outputs": str(tmp_path)})

    # Nothing yet.
    first, status = plans.predict_sweep(sweep, 1), status_table(tmp_path, sweep)
    assert len(first) == len(status) == 2 * (10 + 2)
    assert (first.action == "run").all()
    assert first.seconds.notna().all()
    assert first.lr.isna().sum() == 4
    assert set(status.state) == {"missing"}
    assert select_runs(selection).empty
    text = format_plan(first, 1, tmp_path)
    assert "tuned: only the first round of learning rates is predicted" in text
    assert "24 of 24 runs" in text

    # Midway.
    with pytest.raises(KeyboardInterrupt):
        execute_sweep(sweep, Untrained(corpus, bowl(30e-3), lives=1))
    rows = select_runs(selection)
    assert len(rows) == 24 + 2
    assert (rows.status == "completed").sum() == 10
    assert rows[rows.lr.isna()].seed.tolist() == [0, 1] * 2
    assert (plans.predict_sweep(sweep, 1).action == "skip: completed").sum() == 10

    # Finished.
    execute_sweep(sweep, Untrained(corpus, bowl(30e-3)))
    rows = select_runs(selection)
    assert len(rows) == len(load_runs(tmp_path)) == 2 * 16
    assert (rows.status == "completed").all()
    assert "tuned" not in format_plan(plans.predict_sweep(sweep, 1), 1, tmp_path)
    assert set(status_table(tmp_path, sweep).state) == {"completed"}


@pytest.mark.slow
def test_a_tuned_sweep_through_papermill(tiny, tmp_path):
    """Real runs: five rates at the tuning seed, then the cell, whose name its notebook has."""
    path, outputs = tmp_path / "real.yaml", tmp_path / "o"
    parameters = tiny | {"tokens": 2048, "probes": 1}
    path.write_text(
        yaml.safe_dump(
            {
                "axes": {"embed_share": [0.35]},
                "parameters": parameters,
                "tune": TUNE | {"seed": 1000, "extend": 0},
            }
        )
    )
    assert main(["sweep", str(path), "--outputs", str(outputs), "--engine", "papermill"]) == 0
    runs = load_runs(outputs)
    tuning, claim = runs[runs.seed == 1000], runs[runs.seed == 0]
    assert sorted(tuning.lr) == list(GRID) and list(claim.lr) == [
        tuning.set_index("lr").dev_loss.idxmin()
    ]
    assert {file.name for file in (outputs / "notebooks" / "real").iterdir()} == {
        "embed_share-0.35.tune-1.ipynb",
        "embed_share-0.35.ipynb",
    }
