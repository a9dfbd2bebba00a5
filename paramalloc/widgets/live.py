"""What a notebook shows while it works: a bar for a corpus, a bar and the loss curve for a run."""

import time
from html import escape
from typing import Any

import pandas as pd
from IPython.display import display

from ..plots import loss_curve, show
from ..runs import METRIC_COLUMNS, describe_seconds, describe_stage

LINE_EVERY = 0.5  # seconds
FIRST_CHART_AFTER = 5.0  # seconds
CHART_EVERY = 2.0  # seconds, or more where drawing is slow: at most a twentieth of the time


class LiveStages:
    """A callback for `data.prepare`: the stage it is at, as a bar.

    Nothing is shown where nothing is to do.
    """

    def __init__(self) -> None:
        self.line = display({"text/plain": ""}, raw=True, display_id=True)

    def __call__(self, stage: str, fraction: float) -> None:
        """Show that `fraction` (0 to 1) of a stage is done."""
        self.line.update(_bar(f"preparing: {stage} {fraction:.0%}", fraction), raw=True)


class LiveTraining:
    """A callback for `training.train`: a line of progress and, in a front end, the loss curve.

    The curve is redrawn as it grows. Drawing takes at most a twentieth of the time, and the
    training's meter does not count it.
    """

    def __init__(self) -> None:
        self.line = display({"text/plain": "starting"}, raw=True, display_id=True)
        self.chart = display({"text/plain": ""}, raw=True, display_id=True)
        self.run_id: str | None = None
        self.records: list[dict[str, Any]] = []
        self.stage = ""
        self.next_line = 0.0
        self.next_chart = time.monotonic() + FIRST_CHART_AFTER

    def __call__(self, record: dict[str, Any]) -> None:
        """Show a record of the meter, or of the evaluation's stage."""
        if record["run_id"] != self.run_id:
            self.run_id = record["run_id"]
            self.records = []
            self.stage = ""
        now = time.monotonic()
        if "stage" in record:
            self._show_stage(record, now)
            return
        self.records.append(record)
        if record["done"] or now >= self.next_line:
            self.line.update(_progress(record, self.records), raw=True)
            self.next_line = now + LINE_EVERY
        if record["done"]:  # the notebook draws the finished curve from the record
            self.chart.update({"text/plain": ""}, raw=True)
        elif now >= self.next_chart:
            self._draw(now)

    def _show_stage(self, record: dict[str, Any], now: float) -> None:
        if record["stage"] == self.stage and now < self.next_line:
            return
        self.stage = record["stage"]
        self.next_line = now + LINE_EVERY
        words = describe_stage(record["stage"], record["fraction"], record["time_left_s"])
        self.line.update(_bar(f"evaluating: {words}", record["fraction"]), raw=True)

    def _draw(self, started: float) -> None:
        table = pd.DataFrame(self.records, columns=METRIC_COLUMNS)
        self.chart.update(show(loss_curve(table)))
        finished = time.monotonic()
        self.next_chart = finished + max(CHART_EVERY, 20 * (finished - started))


def _progress(record: dict[str, Any], records: list[dict[str, Any]]) -> dict[str, str]:
    """The state of a run as HTML with a bar, and as plain text."""
    parts = [
        f"{record['tokens']:,} of {record['budget']:,} tokens",
        f"train loss {record['train_loss']:.3f}",
    ]
    perplexities = [row["dev_ppl"] for row in records if "dev_ppl" in row]
    if perplexities and perplexities[-1]:
        parts.append(f"dev perplexity {perplexities[-1]:.1f}")
    if record["tokens_per_s"]:
        parts.append(f"{record['tokens_per_s']:,.0f} tokens/s")
        parts.append(f"{describe_seconds(record['time_left_s'])} left")
    return _bar(" · ".join(parts), record["tokens"], record["budget"])


def _bar(words: str, value: float, most: float = 1) -> dict[str, str]:
    """Words behind a bar that is `value` / `most` full."""
    bar = f"<progress value='{value}' max='{most}' style='width:16em'></progress>"
    return {"text/html": f"{bar} {escape(words)}", "text/plain": words}
