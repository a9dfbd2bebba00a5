"""Charts of many runs are drawn, and one that fails takes no other along."""

import json

import numpy as np
import pandas as pd
from analysis_fixtures import grid, study

from paramalloc import plots
from paramalloc.plots import curves, training
from paramalloc.plots.base import needs_runs
from paramalloc.runs import Note


def long_curves(runs: pd.DataFrame, probes: int) -> pd.DataFrame:
    """The runs with curves of so many probes, each in its own direction."""
    tokens = np.linspace(1000, 300_000, probes).astype(int).tolist()
    lists = [[[at, 7 - at / 1e5 - n / 1e4] for at in tokens] for n in range(len(runs))]
    return runs.assign(dev_curve=pd.Series(lists, index=runs.index))


def drawn_rows(chart) -> list[pd.DataFrame]:
    """The probes in the data of a chart: a table for each panel."""
    tables = [pd.DataFrame(rows) for rows in chart.to_dict()["datasets"].values()]
    return [table for table in tables if "run_id" in table and len(table) > 1]


def test_long_curves_are_thinned(monkeypatch):
    """A panel holds what a page can; each run keeps its first and its last probe."""
    monkeypatch.setattr(curves, "DRAWN", 600)
    runs = long_curves(grid(seeds=10), 250)
    chart = plots.learning_curves(runs)
    panels = drawn_rows(chart)
    assert len(panels) == 3
    assert all(len(panel) <= 600 for panel in panels)
    ends = pd.concat(panels).groupby("run_id").tokens.agg(["min", "max"])
    assert len(ends) == 120
    assert set(ends["min"]) == {1000}
    assert set(ends["max"]) == {300_000}
    assert "some probes" in json.dumps(chart.to_dict()["title"])


def test_many_curves_are_drawn(monkeypatch):
    """More runs than a panel may hold points: each keeps a few, and the picture is drawn."""
    monkeypatch.setattr(curves, "DRAWN", 30)
    picture = plots.show(plots.learning_curves(long_curves(grid(seeds=4), 40)))
    assert "<svg" in picture.svg


def test_short_curves_are_drawn_whole():
    """Every probe of a study is there, and nothing is said of thinning."""
    runs = study()
    chart = plots.learning_curves(runs)
    points = {(row.run_id, row.tokens) for table in drawn_rows(chart) for row in table.itertuples()}
    drawn = runs[runs.run_id.isin({run for run, _ in points})]
    assert len(drawn) > 12
    curves_of = zip(drawn.run_id, drawn.dev_curve, strict=True)
    assert points == {(run, at) for run, curve in curves_of for at, _ in curve}
    assert "some probes" not in json.dumps(chart.to_dict()["title"])


def test_a_long_run_is_drawn():
    """Its losses are more than Altair takes by itself."""
    tokens = np.arange(1, 20_001)
    metrics = pd.DataFrame({"tokens": tokens, "train_loss": 9 - tokens / 1e4, "dev_loss": np.nan})
    chart = plots.loss_curve(metrics)
    rows = max(chart.to_dict()["datasets"].values(), key=len)
    assert len(rows) == training.LINE_POINTS
    assert (rows[0]["tokens"], rows[-1]["tokens"]) == (1, 20_000)


def test_a_chart_that_fails_is_a_sentence():
    """It names the chart and the error in one line; the others are drawn."""

    @needs_runs
    def broken(runs):
        raise ValueError("first `line`\nsecond")

    runs = study()
    nonsense = {"mark": "no such mark"}
    shown = plots.show_all(
        broken=broken(runs), nonsense=nonsense, whole=plots.allocation_bars(runs)
    )
    assert shown["broken"] == (
        "The chart broken could not be drawn: `ValueError: first 'line' second`"
    )
    assert isinstance(shown["nonsense"], Note)
    assert "\n" not in shown["nonsense"]
    assert "<svg" in shown["whole"].svg
