"""A sweep ends at its deadline and says what is left; what it finished outlives the machine."""

from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from analysis_fixtures import ended_run

from paramalloc.cli import machine_end, main
from paramalloc.cli.machine_end import make_deadline
from paramalloc.config import TrainConfig
from paramalloc.data import prepare
from paramalloc.errors import ConfigError, UserError
from paramalloc.runs import (
    Run,
    as_csv,
    as_json,
    columns,
    load_runs,
    read_json,
    read_results,
    restore_runs,
)
from paramalloc.sweep import (
    Deadline,
    Keeper,
    Pool,
    describe_left,
    execute_sweep,
    execute_views,
    execution,
    load_sweep,
    schedule,
    seconds_of,
    seconds_until,
)
from paramalloc.sweep.deadline import train_flops

RATES = [1e-3, 2e-3, 3e-3, 4e-3]
RUN_S = 10.0  # what a run of the fake engine takes


# ---- when it comes


@pytest.mark.parametrize(
    "text, seconds",
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h5s", 7205), (" 1m ", 60), ("36h", 129_600)],
)
def test_durations_have_units(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["600", "0s", "", "m", "-5m", "10 m", "30m1h", "1.5h", "1d"])
def test_other_durations_are_refused(text):
    """Also a number without a unit, which some would read as minutes."""
    with pytest.raises(ConfigError, match="90s, 10m or 1h30m, not '"):
        seconds_of(text)


def test_a_time_of_the_day_is_the_next_such_time():
    """Today or tomorrow; what no clock shows is refused."""
    now = datetime(2026, 1, 1, 14, 0, 10)
    assert seconds_until("14:30", now) == 1790
    assert seconds_until("14:00", now) == 24 * 3600 - 10
    for text in ("25:00", "14", "2pm"):
        with pytest.raises(ConfigError, match="as 14:30, not"):
            seconds_until(text, now)


# ---- a schedule on a clock that the test moves


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@dataclass
class FakeProcess:
    """Trains a run in RUN_S seconds; an interrupt keeps the part that is trained."""

    clock: Clock
    config: TrainConfig
    run: Run

    def __post_init__(self):
        records = self.run.probes()
        self.trained = records[-1]["tokens"] if records else 0
        self.begun = self.clock.now
        with self.run.held():
            self.run.begin({})
        (self.run.folder / "checkpoint").mkdir(exist_ok=True)

    @property
    def tokens(self):
        part = (self.clock.now - self.begun) / RUN_S
        return self.trained + int(self.config.tokens * part)

    def poll(self):
        if self.tokens < self.config.tokens:
            return None
        if not self.run.finished:
            write_result(self.config, self.run)
        return 0

    def interrupt(self):
        with self.run.held():
            self.run.begin({})
            self.run.record(tokens=self.tokens, dev_ppl=9.0)

    def wait(self, seconds):
        """It ends at once."""


def write_result(config, run):
    result = ended_run() | {
        "run_id": run.id,
        "seed": config.seed,
        "dev_loss": 3 + config.lr / 7,
        "dev_curve": [[1024, 4.5]],
        "batch_tokens": 1024,
        "train_flops": train_flops(config),
        "wall_s": RUN_S,
    }
    with run.held():
        run.begin({})
        run.finish(result)


@dataclass
class FakeEngine:
    clock: Clock
    fingerprint: str
    jobs: int = 1
    started: list = field(default_factory=list)
    look: object = None  # is called before every start

    def ready(self, waiting):
        return waiting

    def start(self, task, waiting):
        if self.look:
            self.look()
        config = TrainConfig.from_dict(task.cell.parameters)
        self.started.append(config.lr)
        task.output.touch()
        return FakeProcess(self.clock, config, Run(config, self.fingerprint))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(schedule.time, "sleep", clock.sleep)
    return clock


def make_sweep(tiny, folder, outputs="outputs", **axes):
    path = folder / "four.yaml"
    axes = axes or {"lr": RATES}
    path.write_text(yaml.safe_dump({"axes": axes, "parameters": tiny | {"early_stop": "off"}}))
    return load_sweep(str(path), outputs=str(folder / outputs))


@pytest.fixture
def sweep(tiny, tmp_path):
    """Four cells of one size."""
    return make_sweep(tiny, tmp_path)


def make_engine(sweep, clock, jobs=1):
    config = sweep.config
    corpus = prepare(config.dataset, config.vocab_size, config.output_folder)
    return FakeEngine(clock, corpus.fingerprint, jobs)


def execute(sweep, clock, seconds, jobs=1, start_s=0.0):
    """What was started, and the last line."""
    engine = make_engine(sweep, clock, jobs)
    deadline = Deadline(seconds, start_s=start_s, clock=clock)
    deadline.learn(sweep.config.output_folder)
    assert execute_sweep(sweep, engine, deadline) == {}
    return engine.started, describe_left(sweep, deadline)


def test_no_run_begins_that_would_not_end_in_time(sweep, clock):
    """Nothing is known of the first; the second has time, the others have not, and nobody waits."""
    started, left = execute(sweep, clock, 28)
    assert started == RATES[:2]
    assert left == "2 of 4 runs are done, 2 not begun; the same command goes on"
    assert clock.now < 21


def test_runs_under_way_end_at_the_deadline_and_go_on(sweep, clock):
    """Two at a time, of which nothing is known yet; the rest takes what is left of them."""
    started, left = execute(sweep, clock, 6, jobs=2)
    assert started == RATES[:2]
    assert left == (
        "0 of 4 runs are done, the deadline ended 2, whose checkpoints are kept, 2 not begun; "
        "the same command goes on"
    )
    assert clock.now < 7
    started, left = execute(sweep, clock, 100, jobs=2)
    assert (len(started), left) == (4, "")
    assert clock.now < 7 + 4.5 + 10.5


def test_what_is_left_of_a_run_is_what_counts(sweep, clock):
    """Four tenths of the first are left, which fit where no whole run does."""
    execute(sweep, clock, 6)
    assert execute(sweep, clock, 100)[1] == ""
    config = sweep.cells[1].config
    run = Run(config, make_engine(sweep, clock).fingerprint)
    (run.folder / "result.json").unlink()
    with run.held():
        run.begin({})
        run.record(tokens=6 * config.tokens // 10, dev_ppl=9.0)
    assert execute(sweep, clock, 3)[0] == []
    assert execute(sweep, clock, 5) == (RATES[1:2], "")


def test_a_deadline_that_no_run_fits_says_so(sweep, clock):
    """`The same command` would never go on; how long a process takes to start counts too."""
    execute(sweep, clock, 15)
    started, left = execute(sweep, clock, 12, start_s=5)
    assert started == []
    assert left == (
        "1 of 4 runs are done, 3 not begun; "
        "no run is predicted to end in time: give a deadline of at least 15 s"
    )


def test_a_deadline_that_came_while_a_corpus_was_prepared(sweep, clock, monkeypatch):
    """Nothing begins, and the next command has time for it."""
    monkeypatch.setattr(execution.Execution, "held_elsewhere", lambda _: clock.sleep(9))
    started, left = execute(sweep, clock, 5)
    assert started == []
    assert left == "0 of 4 runs are done, 4 not begun; the same command goes on"


def test_runs_of_other_machines_and_sizes_predict_nothing(tiny, tmp_path, clock):
    """Restored ones have no checkpoint; one of a hundredth of the FLOPs says little."""
    sweep = make_sweep(tiny, tmp_path)
    engine = make_engine(sweep, clock)
    write_result(sweep.cells[0].config, Run(sweep.cells[0].config, engine.fingerprint))
    small = make_sweep(tiny, tmp_path, lr=RATES, tokens=[1024]).cells[0].config
    other = Run(small, engine.fingerprint)
    write_result(small, other)
    (other.folder / "checkpoint").mkdir()
    started, left = execute(sweep, clock, 5)
    assert started == [RATES[1]]
    assert left.startswith("1 of 4 runs are done, the deadline ended 1")


def test_finished_cells_are_no_matter_of_time(sweep, clock, capsys):
    """They are looked at however late it is, and nothing is left; a restored row may lack its
    seconds."""
    execute(sweep, clock, 100)
    [path, *_] = sweep.config.output_folder.glob("runs/*/result.json")
    path.write_text(as_json(read_json(path) | {"wall_s": None}))
    assert execute(sweep, clock, 1) == ([], "")
    assert capsys.readouterr().out.count("time not known") == 1


class EndlessView:
    """Executes a notebook and never ends by itself."""

    def poll(self):
        return None

    def interrupt(self):
        pass

    def wait(self, seconds):
        pass


def test_notebooks_that_the_deadline_left_are_counted(sweep, clock):
    """Of finished runs: nothing half-executed stays, and the line says how many are left."""
    execute(sweep, clock, 100)

    def start(task, waiting):
        task.target.write_text("half")
        return EndlessView()

    engine = SimpleNamespace(jobs=2, ready=lambda waiting: waiting, start=start)
    deadline = Deadline(5, clock=clock)
    assert execute_views(sweep, engine, deadline) == {}
    assert describe_left(sweep, deadline) == (
        "no run is left, 4 notebooks not executed; the same command goes on"
    )
    assert list(sweep.folder.iterdir()) == []


# ---- what is kept


def test_every_finished_run_is_in_the_table_before_the_next_begins(sweep, clock, tmp_path):
    """The table is the frame of all runs; what comes back from it goes on to the same table."""
    outputs, table = sweep.config.output_folder, tmp_path / "kept" / "table.csv"
    engine = make_engine(sweep, clock)
    counts = []

    def look():
        counts.append(len(read_results(table)) if table.exists() else 0)

    engine.look = look
    keeper = Keeper(outputs, table, tmp_path / "archives")
    keeper.begin()
    execute_sweep(sweep, engine, Deadline(28, clock=clock), keeper)
    assert counts == [0, 1]
    pd.testing.assert_frame_equal(read_results(table), load_runs(outputs), check_exact=True)
    execute_sweep(sweep, engine, None, keeper)
    assert counts == [0, 1, 2, 3]

    restored = load_sweep(str(tmp_path / "four.yaml"), outputs=str(tmp_path / "other"))
    engine = make_engine(restored, clock)
    part = tmp_path / "part.csv"
    part.write_text(as_csv(read_results(table).iloc[:2]))
    restore_runs(part, tmp_path / "other")
    execute_sweep(restored, engine, None, Keeper(tmp_path / "other", part))
    assert len(engine.started) == 2
    assert part.read_text() == table.read_text()


def test_there_is_an_archive_for_each_seed(tiny, tmp_path, clock):
    """Only that of a seed with a new run is written; all of them bring all small files back."""
    sweep = make_sweep(tiny, tmp_path, seed=[0, 1], lr=RATES[:2])
    keeper = Keeper(sweep.config.output_folder, archive=tmp_path / "archives")
    keeper.begin()
    execute_sweep(sweep, make_engine(sweep, clock), None, keeper)
    archives = sorted((tmp_path / "archives").iterdir())
    assert [path.name for path in archives] == ["seed-0.zip", "seed-1.zip"]
    before = [path.stat().st_ino for path in archives]
    [first, *_] = (sweep.config.output_folder / "runs").glob("*/result.json")
    first.touch()
    keeper.keep()
    after = [path.stat().st_ino for path in archives]
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1
    restore_runs(tmp_path / "archives", tmp_path / "other")
    for path in sweep.config.output_folder.glob("runs/*/*.json*"):
        again = tmp_path / "other" / "runs" / path.parent.name / path.name
        assert again.read_bytes() == path.read_bytes()


def test_a_place_where_nothing_can_be_written_is_a_users_mistake(tiny, tmp_path, capsys):
    """It is told before anything is trained, in one line."""
    make_sweep(tiny, tmp_path)
    (tmp_path / "file").write_text("")
    words = ["sweep", str(tmp_path / "four.yaml"), "--outputs", str(tmp_path / "outputs")]
    for option, place in (("--table", "file/table.csv"), ("--archive", "file"), ("--table", "")):
        assert main([*words, option, str(tmp_path / place)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "outputs" / "runs").exists()


def test_a_failure_to_keep_later_is_said_and_ends_nothing(sweep, clock, tmp_path, capsys):
    keeper = Keeper(sweep.config.output_folder, tmp_path / "kept" / "table.csv")
    keeper.begin()
    (tmp_path / "kept").rmdir()
    execute_sweep(sweep, make_engine(sweep, clock), None, keeper)
    assert "finished runs are not kept: " in capsys.readouterr().out
    assert len(load_runs(sweep.config.output_folder)) == 4


def test_what_only_a_table_holds_is_never_overwritten(sweep, clock, tmp_path):
    """A new machine with an empty outputs folder: its runs are put back first. No other file."""
    table, new = tmp_path / "table.csv", tmp_path / "new"
    execute_sweep(sweep, make_engine(sweep, clock), None, Keeper(tmp_path / "outputs", table))
    with pytest.raises(UserError, match="holds 4 finished runs that"):
        Keeper(new, table).begin()
    assert len(read_results(table)) == 4
    restore_runs(table, new)
    Keeper(new, table).begin()
    Path(tmp_path / "notes.csv").write_text("mine\n")
    with pytest.raises(UserError, match="is not a results"):
        Keeper(new, tmp_path / "notes.csv").begin()


def test_a_run_on_ray_is_predicted_with_the_cores_of_a_cell(sweep, monkeypatch):
    """Not with a part of this machine's."""
    monkeypatch.setattr(machine_end, "cores", lambda: 8)
    arguments = SimpleNamespace(deadline="60s", until="", engine="ray", cpus_per_cell="3")
    assert make_deadline(arguments, sweep, 1, 0.0).threads == 3
    arguments.engine = "pool"
    assert make_deadline(arguments, sweep, 2, 0.0).threads == 4


# ---- with real runs


def results(outputs):
    """All runs without what differs from one time to the next, by their ids."""
    runs = load_runs(outputs).set_index("run_id")
    timed = [column.name for column in columns() if "second" in column.unit]
    machine = ["created", "outside_steps_share", "mfu"]
    memory = [name for name in runs if name.endswith("memory_bytes")]
    return runs.drop(columns=[*timed, *machine, *memory])


@pytest.mark.slow
def test_a_deadline_and_a_lost_machine_change_no_result(tiny, tmp_path):
    """Cut while the second run trains. The same sweep goes on, and so does one that has nothing
    but the table of that moment: to the same results, to the last digit."""
    axes = {"glu": [2.66, 2.0], "probes": [20], "tokens": [81_920]}
    sweep = make_sweep(tiny, tmp_path, **axes).by_run()
    outputs, table = sweep.config.output_folder, tmp_path / "table.csv"

    def clock():
        """The deadline seems far, and comes when the second run has recorded something."""
        records = [path for path in outputs.glob("runs/*/metrics.jsonl") if path.stat().st_size]
        return 1e6 * (len(records) == 2)

    deadline = Deadline(1e5, clock=clock)
    with closing(Pool(1, sweep.cells)) as engine:
        execute_sweep(sweep, engine, deadline, Keeper(outputs, table))
    assert describe_left(sweep, deadline) == (
        "1 of 2 runs are done, the deadline ended 1, whose checkpoints are kept; "
        "the same command goes on"
    )
    assert list(read_results(table).run_id) == list(load_runs(outputs).run_id)
    other = make_sweep(tiny, tmp_path, "other", **axes).by_run()
    assert len(restore_runs(table, other.config.output_folder).new) == 1
    for again in (sweep, other):
        with closing(Pool(1, again.cells)) as engine:
            assert execute_sweep(again, engine) == {}
    pd.testing.assert_frame_equal(
        results(outputs), results(other.config.output_folder), check_exact=True
    )
