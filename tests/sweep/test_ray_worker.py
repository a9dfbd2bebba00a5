"""A worker on Ray, and its start, against a Ray that does what the test says."""

import signal
from types import SimpleNamespace

import pytest

from paramalloc.errors import UserError
from paramalloc.sweep.ray_engine import RayWorker, _join_cluster


class Reference:
    """Something that Ray will know: a value or an error, once there is one."""

    value = None
    error = None

    @property
    def is_there(self):
        return bool(self.value or self.error)


class FakeActor:
    def __init__(self):
        self.life = Reference()
        self.answer = Reference()
        self.__ray_ready__ = SimpleNamespace(remote=lambda: self.life)
        self.train = SimpleNamespace(remote=lambda request: self.answer)


class FakeRay:
    """`actors`: all that were made. `fails`: how often a start of the cluster fails."""

    exceptions = SimpleNamespace(RayError=ConnectionError)

    def __init__(self, fails=0):
        self.actors = []
        self.fails = fails
        self.starts = 0

    def make_actor(self):
        self.actors.append(FakeActor())
        return self.actors[-1]

    def wait(self, references, timeout):
        return [reference for reference in references if reference.is_there], []

    def get(self, reference):
        if reference.error:
            raise ConnectionError(reference.error)
        return reference.value

    def init(self, **options):
        self.starts += 1
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does
        if self.starts <= self.fails:
            raise Exception("The current node timed out\nduring startup.")

    def shutdown(self):
        """Nothing runs."""


def test_a_worker_is_up_when_its_actor_lives():
    ray = FakeRay()
    worker = RayWorker(ray, ray.make_actor)
    assert not worker.is_up
    ray.actors[0].life.value = True
    assert worker.is_up


def test_an_actor_that_is_lost_tells_how_and_another_one_takes_its_place():
    """The worker is not up before the new one lives."""
    ray = FakeRay()
    worker = RayWorker(ray, ray.make_actor)
    ray.actors[0].life.value = True
    worker.send({})
    assert worker.outcome() is None
    ray.actors[0].answer.error = "the actor died:\n  its node was lost"
    assert worker.is_up
    assert worker.outcome() == "the actor died: its node was lost"
    assert len(ray.actors) == 2 and not worker.is_up
    ray.actors[1].life.value = True
    worker.send({})
    ray.actors[1].answer.value = 1
    assert worker.is_up and worker.outcome() == 1


def test_actors_that_die_at_their_start_one_after_the_other_are_one_line():
    """Once may be chance; a second time in a row nothing is ever trained there."""
    ray = FakeRay()
    worker = RayWorker(ray, ray.make_actor)
    ray.actors[0].life.error = "no module paramalloc"
    assert not worker.is_up and len(ray.actors) == 2
    ray.actors[1].life.error = "no module paramalloc"
    with pytest.raises(UserError, match=r"^Ray starts no worker: no module paramalloc$"):
        _ = worker.is_up


def test_a_cluster_is_started_twice_before_that_is_an_error():
    ray = FakeRay(fails=1)
    handler = signal.getsignal(signal.SIGTERM)
    _join_cluster(ray, "")
    assert ray.starts == 2
    ray = FakeRay(fails=2)
    with pytest.raises(UserError) as error:
        _join_cluster(ray, "")
    assert str(error.value) == (
        "Ray does not start here: The current node timed out during startup."
    )
    assert signal.getsignal(signal.SIGTERM) == handler  # SIGTERM still saves the runs
