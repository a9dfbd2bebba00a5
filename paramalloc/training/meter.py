"""What a run's progress is: tokens, seconds of training alone, and the records of both."""

import time

from ..config import TrainConfig
from ..runs import Run


class Meter:
    """Counts tokens and the seconds spent on training steps alone: no start-up, compilation or evaluation."""

    def __init__(self, config: TrainConfig, run: Run, on_record):
        self.config, self.run, self.on_record = config, run, on_record
        self.seconds, self.steps, self.mark, self.before, self.started = (
            0.0,
            0,
            None,
            0.0,
            time.perf_counter(),
        )
        self.state = {"run_id": run.id}

    @property
    def wall(self) -> float:
        """Seconds since the start, with those before an interruption."""
        return self.before + time.perf_counter() - self.started

    def kept(self) -> list[float]:
        return [self.seconds, self.steps, self.wall]

    def go_on(self, kept: list[float]):
        self.seconds, self.steps, self.before = kept

    def lap(self, step: int):
        """Close a stretch of steps. The first one holds warm-up and compilation and is not counted."""
        now = time.perf_counter()
        if self.mark is not None:
            self.seconds += now - self.mark[0]
            self.steps += step - self.mark[1]

    def record(self, step: int, **values):
        tokens, rate = step * self.config.batch_tokens, self.tokens_per_s
        self.run.record(step=step, tokens=tokens, tokens_per_s=rate, **values)
        budget = self.config.steps * self.config.batch_tokens
        self.state = {
            "run_id": self.run.id,
            "tokens": tokens,
            "budget": budget,
            "tokens_per_s": rate,
            "time_left_s": (budget - tokens) / rate if rate else None,
            "done": False,
        } | values
        if self.on_record:
            self.on_record(self.state)
        self.mark = time.perf_counter(), step

    def evaluating(self, stage: str, fraction: float):
        """Tell who watches what is measured after the last step."""
        if self.on_record:
            self.on_record(self.state | {"stage": stage, "fraction": fraction})

    def end(self):
        """Tell who watches that no more records come."""
        if self.on_record and self.mark:
            self.on_record(self.state | {"done": True})

    @property
    def tokens_per_s(self) -> float | None:
        return self.steps * self.config.batch_tokens / self.seconds if self.steps else None

    def seconds_of_all(self, step: int) -> float:
        """The time of all steps at the speed of those that were timed."""
        return self.seconds * step / self.steps

    def totals(self, step: int) -> dict:
        """What a result says of the training; dev_curve's losses to five digits, metrics.jsonl has all."""
        return {
            "steps": step,
            "tokens_trained": step * self.config.batch_tokens,
            "tokens_per_s": self.tokens_per_s,
            "dev_curve": [[row["tokens"], round(row["dev_loss"], 5)] for row in self.run.probes()],
        }
