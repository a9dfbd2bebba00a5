"""Which worker trains what, and what becomes of runs whose worker is lost."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from paramalloc.sweep import Deadline, load_sweep
from paramalloc.sweep.crew import Crew, assign_shapes
from paramalloc.sweep.engines import Task
from paramalloc.sweep.schedule import Schedule
from paramalloc.sweep.worker import BROKEN, DONE, FAILED, INTERRUPTED, OUT_OF_MEMORY


@dataclass
class FakeWorker:
    """Does what the test says: `ends` is how its job ends, None while it is under way."""

    job: object = None
    is_up: bool = True
    ends: object = None
    requests: list = field(default_factory=list)
    told: list = field(default_factory=list)

    def send(self, request):
        self.requests.append(dict(request["config"]))
        self.ends = None

    def outcome(self):
        return self.ends

    def interrupt(self):
        self.told.append("interrupt")

    def end(self):
        self.told.append("end")

    def kill(self):
        self.told.append("kill")


@pytest.fixture(scope="module")
def study():
    """The grid of the study with three seeds."""
    return load_sweep("grid", profile="study", seed="0,1,2", early_stop="flag").by_run()


@pytest.fixture
def crew(study):
    return Crew([FakeWorker(), FakeWorker()], study.cells)


@pytest.fixture
def waiting(study):
    return list(enumerate(study.cells, 1))


@pytest.fixture
def begin(crew, tmp_path):
    """Begins the first cell that may, as the schedule does; the job."""

    def begin(waiting):
        numbered = crew.ready(waiting)[0]
        waiting.remove(numbered)
        number, cell = numbered
        folder = tmp_path / f"run-{number}"
        task = Task(cell, Path("train"), Path("done"), tmp_path / f"{number}.log", (folder,))
        return crew.start(task, waiting)

    return begin


def owners(crew, waiting) -> list[int]:
    return [crew._owner(cell) for _, cell in waiting]


# ---- who trains what


def test_each_shape_has_one_owner_and_all_have_about_as_much_to_do(study):
    """By predicted time the busiest of four has at most a tenth more than the mean."""
    owners = assign_shapes(study.cells, 4)
    assert len(owners) == 12 and Counter(owners.values()) == {0: 3, 1: 3, 2: 3, 3: 3}


def test_who_is_idle_takes_its_own_shapes_first(crew, waiting):
    """A shape is compiled twice only where a worker would have nothing to do."""
    crew.workers[1].job = "a run"
    assert set(owners(crew, crew.ready(waiting))) == {0}
    others = [numbered for numbered in waiting if crew._owner(numbered[1]) == 1]
    assert sorted(crew.ready(others)) == others


def test_who_has_nothing_left_takes_the_last_shape_of_another_for_good(crew, waiting, begin):
    """Not the next one, which its owner is about to begin; its first seed comes first."""
    crew.workers[1].job = "a run"
    others = [numbered for numbered in waiting if crew._owner(numbered[1]) == 1]
    last = [cell for _, cell in others if cell.config.seed == 0][-1]
    job = begin(others)
    assert job.task.cell == last and job.worker is crew.workers[0]
    same = [number for number, cell in others if cell.name == last.name]
    assert [number for number, cell in others if crew._owner(cell) == 0] == same
    assert len(same) == 2


def test_only_workers_that_are_up_get_a_run(crew, waiting):
    """Where none is, the schedule waits for one; it does not end."""
    for worker in crew.workers:
        worker.is_up = False
    assert crew.ready(waiting) == []
    assert not Schedule(None, crew, waiting, Deadline()).is_stuck()
    crew.workers[1].is_up = True
    assert set(owners(crew, crew.ready(waiting))) == {1}
    assert Schedule(None, crew, waiting, Deadline()).is_stuck()


# ---- lost runs


def test_a_lost_run_goes_to_who_is_free_first_and_before_all_others(crew, waiting, begin):
    """Its own worker is away; the other one takes it when its run has ended."""
    lost, other = begin(waiting), begin(waiting)
    first, second = lost.worker, other.worker
    first.ends, first.is_up = "killed by SIGKILL", False
    assert lost.poll() is None and first.job is None
    assert lost.poll() is None and crew.ready(waiting) == []
    second.ends = DONE
    assert other.poll() == DONE
    assert crew.ready(waiting) == []
    assert lost.poll() is None and lost.worker is second
    assert second.requests[-1] == first.requests[-1]
    first.is_up = True
    assert owners(crew, crew.ready(waiting))[0] == crew.workers.index(first)


def test_a_run_that_is_lost_three_times_fails_only_if_it_comes_no_further(crew, waiting, begin):
    """A new checkpoint between two losses begins the count again."""
    job = begin(waiting)
    [folder] = job.task.folders
    for step in (1, 2):
        (folder / "checkpoint" / f"step-{step}").mkdir(parents=True)
        lose(job, 2)
        assert job.status is None
    lose(job, 1)
    assert job.status == FAILED
    said = job.task.output.read_text()
    assert said.count("the process that trained it was lost (killed by SIGKILL)") == 5


def lose(job, times):
    for _ in range(times):
        job.poll()  # goes on, if it was lost
        job.worker.ends = "killed by SIGKILL"
        job.poll()


def test_a_signal_of_somebody_else_is_a_loss_and_ours_is_the_end(crew, waiting, begin):
    """SIGTERM to a worker alone: its run is saved and goes on. After Ctrl-C none goes on."""
    job = begin(waiting)
    job.worker.ends = INTERRUPTED
    assert job.poll() is None
    assert job.poll() is None and job.worker.told == []
    job.interrupt()
    assert job.worker.told == ["interrupt"]
    job.worker.ends = INTERRUPTED
    assert job.poll() == INTERRUPTED


def test_an_interrupt_ends_a_lost_run_that_waits_for_a_worker(crew, waiting, begin):
    job = begin(waiting)
    job.worker.ends, job.worker.is_up = "killed by SIGKILL", False
    crew.workers[1].job = "a run"
    assert job.poll() is None
    job.interrupt()
    assert job.poll() == INTERRUPTED


# ---- another try


def test_memory_that_ran_out_is_tried_once_more(crew, waiting, begin):
    """In a fresh process; a second time it is the run's own fault."""
    job = begin(waiting)
    job.worker.ends = OUT_OF_MEMORY
    assert job.poll() is None
    assert job.poll() is None and job.worker is not None
    job.worker.ends = OUT_OF_MEMORY
    assert job.poll() == OUT_OF_MEMORY


def test_a_run_that_broke_after_a_recording_failed_is_tried_once_without(crew, waiting, begin):
    """Its log has a line of the graph: that process may be damaged."""
    job = begin(waiting)
    worker = job.worker
    with open(job.task.output, "a") as log:
        log.write("graph: the steps of this run are launched one by one (RuntimeError)\n")
    worker.ends = BROKEN
    assert job.poll() is None
    assert job.poll() is None
    assert [request["graph"] for request in worker.requests] == ["auto", "off"]
    job.worker.ends = BROKEN
    assert job.poll() == BROKEN


@pytest.mark.parametrize("status", [FAILED, BROKEN])
def test_other_failures_are_final(crew, waiting, begin, status):
    job = begin(waiting)
    job.worker.ends = status
    assert job.poll() == status


# ---- the end


def test_who_still_has_a_run_is_asked_to_save_it(crew, waiting, begin):
    """As where Ctrl-C came before the schedule knew of it: all are asked, then waited for."""
    job = begin(waiting)
    idle = next(worker for worker in crew.workers if worker is not job.worker)
    crew.close()
    assert job.worker.told == ["interrupt", "end"] and idle.told == ["end"]
