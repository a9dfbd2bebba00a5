"""What a notebook shows while it works."""

import time
from html import escape

import pandas as pd
from IPython.display import display

from ..plots import loss_curve, show
from ..runs import METRIC_COLUMNS


class LiveStages:
    """A callback for `data.prepare`: the stage it is at, as a bar. Nothing is shown where nothing is to do."""

    def __init__(self):
        self.line = display({"text/plain": ""}, raw=True, display_id=True)

    def __call__(self, stage: str, fraction: float):
        self.line.update(bar_line(f"preparing: {stage} {fraction:.0%}", fraction), raw=True)


class LiveTraining:
    """A callback for `train.train`: one line of progress, and in a front end the loss curve, redrawn as it grows.

    Drawing takes at most a twentieth of the time; the training meter does not count it.
    """

    def __init__(self):
        self.line = display({"text/plain": "starting"}, raw=True, display_id=True)
        self.chart = display({"text/plain": ""}, raw=True, display_id=True)
        self.records, self.run_id, self.next_line, self.next_chart = (
            [],
            None,
            0.0,
            time.monotonic() + 5,
        )

    def __call__(self, record: dict):
        if record["run_id"] != self.run_id:
            self.run_id, self.records = record["run_id"], []
        if "stage" in record:
            self.line.update(
                bar_line(f"evaluating: {record['stage']}", record["fraction"]), raw=True
            )
            return
        self.records.append(record)
        now, last = time.monotonic(), record["done"]
        if last or now >= self.next_line:
            self.line.update(progress_line(record, self.records), raw=True)
            self.next_line = now + 0.5
        if last:  # the notebook draws the finished curve from the record
            self.chart.update({"text/plain": ""}, raw=True)
        elif now >= self.next_chart:
            self.chart.update(show(loss_curve(pd.DataFrame(self.records, columns=METRIC_COLUMNS))))
            self.next_chart = time.monotonic() + max(2.0, 20 * (time.monotonic() - now))


def progress_line(record: dict, records: list[dict]) -> dict[str, str]:
    """The state of a run as HTML with a bar, and as plain text."""
    dev = next((row["dev_ppl"] for row in reversed(records) if "dev_ppl" in row), None)
    parts = [
        f"{record['tokens']:,} of {record['budget']:,} tokens",
        f"train loss {record['train_loss']:.3f}",
    ]
    parts += [f"dev perplexity {dev:.1f}"] if dev else []
    if record["tokens_per_s"]:
        minutes, seconds = divmod(round(max(record["time_left_s"], 0)), 60)
        parts += [f"{record['tokens_per_s']:,.0f} tokens/s", f"{minutes}:{seconds:02} left"]
    return bar_line(" · ".join(parts), record["tokens"], record["budget"])


def bar_line(text: str, value: float, most: float = 1) -> dict[str, str]:
    return {
        "text/html": f"<progress value='{value}' max='{most}' style='width:16em'></progress> {escape(text)}",
        "text/plain": text,
    }
