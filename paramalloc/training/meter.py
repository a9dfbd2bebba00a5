"""A run's progress: tokens, seconds of training alone, and the records of both."""

import time
from collections.abc import Callable

import torch

from ..config import TrainConfig
from ..model import Stamp, seconds_between, stamp
from ..runs import Run, TimeLeft

OnRecord = Callable[[dict], None]


class Meter:
    """Counts tokens and the seconds of training steps alone.

    Start-up, compilation and evaluation are not counted.
    """

    def __init__(
        self, config: TrainConfig, run: Run, on_record: OnRecord | None, device: torch.device
    ):
        self.device = device
        self.config = config
        self.run = run
        self.on_record = on_record
        self.seconds = 0.0  # of the steps that were timed
        self.steps = 0  # how many were timed
        self.mark: tuple[Stamp, int] | None = None  # when the stretch began, and after which step
        self.wall_before = 0.0  # seconds before an interruption
        self.started = time.perf_counter()
        self.progress = {"run_id": run.id}
        self.time_left = TimeLeft()
        self.noted = ("", 0.0)  # the last note for `status`: of which stage, and when

    @property
    def wall(self) -> float:
        """Seconds since the start, with those before an interruption."""
        return self.wall_before + time.perf_counter() - self.started

    @property
    def tokens_per_s(self) -> float | None:
        """Training speed; None before a step was timed."""
        if not self.steps:
            return None
        return self.steps * self.config.batch_tokens / self.seconds

    def state(self) -> list[float]:
        """What a checkpoint holds of the meter."""
        return [self.seconds, self.steps, self.wall]

    def resume(self, state: list[float]):
        self.seconds, self.steps, self.wall_before = state

    def lap(self, step: int, end: Stamp):
        """Close a stretch of steps. The first one, with warm-up and compilation, is not counted."""
        if self.mark is None:
            return
        began, first = self.mark
        self.seconds += seconds_between(began, end)
        self.steps += step - first

    def drop_stretch(self):
        """Do not count the stretch that has begun: a step of it was recorded, or was to be."""
        self.mark = None

    def record(self, step: int, **values):
        """Append a line to metrics.jsonl, call `on_record`, and begin a new stretch."""
        tokens = step * self.config.batch_tokens
        budget = self.config.steps * self.config.batch_tokens
        rate = self.tokens_per_s
        time_left = None
        if rate:
            time_left = (budget - tokens) / rate
        self.run.record(step=step, tokens=tokens, tokens_per_s=rate, **values)
        self.progress = {
            "run_id": self.run.id,
            "tokens": tokens,
            "budget": budget,
            "tokens_per_s": rate,
            "time_left_s": time_left,
            "done": False,
        } | values
        self._report(self.progress)
        self.mark = (stamp(self.device), step)

    def evaluating(self, stage: str, fraction: float):
        """Call `on_record` with what is measured after the last step, and the fraction done.

        For `status` it is noted beside the run, when a stage begins and once a second.
        """
        values = {
            "stage": stage,
            "fraction": fraction,
            "time_left_s": self.time_left(stage, fraction),
        }
        self._report(self.progress | values)
        now = time.monotonic()
        if stage != self.noted[0] or now >= self.noted[1] + 1:
            self.noted = (stage, now)
            self.run.note(**values)

    def end(self):
        """Call `on_record` for the last time."""
        if self.mark:
            self._report(self.progress | {"done": True})

    def seconds_of_all(self, step: int) -> float:
        """Seconds of the first `step` steps at the speed of those that were timed."""
        return self.seconds * step / self.steps

    def totals(self, step: int) -> dict:
        """A result's columns about training; dev_curve to five digits, metrics.jsonl has all."""
        curve = [[row["tokens"], round(row["dev_loss"], 5)] for row in self.run.probes()]
        return {
            "steps": step,
            "tokens_trained": step * self.config.batch_tokens,
            "tokens_per_s": self.tokens_per_s,
            "speeds": "training",
            "dev_curve": curve,
        }

    def _report(self, progress: dict):
        if self.on_record:
            self.on_record(progress)
