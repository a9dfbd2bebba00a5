"""Curves, losses at equal cost, and kills of early stop."""

import math

import pandas as pd
import pytest
from analysis_fixtures import empty, grid, run
from scipy import stats

from paramalloc.analysis import (
    cells_table,
    dev_curves,
    losses_by_frequency,
    views,
    wrong_kills,
)
from paramalloc.config import ROOT
from paramalloc.report import methods
from paramalloc.runs import read_results


def with_curves(runs: pd.DataFrame) -> pd.DataFrame:
    """Two probes a run: 7 nats at half of its tokens, its dev_loss at the end."""
    return runs.assign(
        dev_curve=[
            [[row.tokens_trained / 2, 7.0], [row.tokens_trained, row.dev_loss]]
            for row in runs.itertuples()
        ]
    )


def test_views_compare_at_what_all_cells_reached():
    """At equal tokens all stand at their end; at equal time the fastest cell is stopped short, at
    the slowest one's tokens per second.
    """
    table = views(with_curves(grid(seeds=2)))
    tokens, time = (table[table["view"] == name].set_index("cell") for name in ("tokens", "time"))
    means = cells_table(grid(seeds=2)).set_index("cell")
    assert (
        tokens.dev_loss.to_numpy() == pytest.approx(means.dev_loss[tokens.index].to_numpy())
        and (tokens["at"] == 300_000).all()
    )
    assert time["at"].iloc[0] == pytest.approx(300_000 / means.tokens_per_s.max())
    slow = means.tokens_per_s.idxmin()
    share = time["at"].iloc[0] * means.tokens_per_s[slow] / 300_000
    assert time.dev_loss[slow] == pytest.approx(
        7 + (means.dev_loss[slow] - 7) * (share - 0.5) / 0.5
    )


def test_views_need_curves():
    """Without the column, or without runs, there is nothing to view."""
    assert views(grid()).empty and views(empty()).empty and len(views(with_curves(grid()))) == 36


def test_long_frames_hold_what_the_columns_hold():
    """One row a probe, one a decile; runs without them have none."""
    runs = with_curves(grid()).assign(dev_by_frequency=[[[100, 3.0], [200, 9.0]], *[None] * 11])
    assert (
        len(dev_curves(runs)) == 24
        and dev_curves(runs).dev_ppl[0] == pytest.approx(math.exp(7))
        and dev_curves(grid()).empty
    )
    assert losses_by_frequency(runs)[["decile", "tokens", "loss"]].to_numpy().tolist() == [
        [1, 100, 3.0],
        [2, 200, 9.0],
    ]


def test_a_kill_is_wrong_where_the_run_ended_no_worse_than_the_baseline():
    """Of four watched runs three were flagged, one of which ended below the baseline of its seed;
    the baseline watches nobody but others.
    """
    rows = [
        run(0.35, 2.66, dev_loss=5.0),
        run(0.25, 2.0, dev_loss=4.9, flagged_at_tokens=1e5),
        run(0.25, 4.0, dev_loss=5.1, flagged_at_tokens=1e5),
        run(0.45, 2.0, dev_loss=5.2, flagged_at_tokens=2e5),
        run(0.45, 4.0, dev_loss=4.8),
    ]
    found = wrong_kills(pd.DataFrame(rows).assign(early_stop="flag"))
    interval = stats.beta.ppf(
        [0.025, 0.975], [1, 2], [3, 2]
    )  # Clopper and Pearson, by beta quantiles
    assert (found["watched"], found["flagged"], found["wrong"]) == (4, 3, 1)
    assert [found["low"], found["high"]] == pytest.approx(interval)


def test_a_killed_run_screens_out_a_cell_that_may_be_good_in_the_mean():
    """One of two seeds flagged, above the baseline there, and below it in the mean: no run is
    killed wrongly, a cell is. On the published rows it is two of eight cells.
    """
    rows = [run(0.35, 2.66, seed, dev_loss=5.0) for seed in range(2)]
    rows += [
        run(0.45, 2.0, 0, dev_loss=5.01, flagged_at_tokens=1e5),
        run(0.45, 2.0, 1, dev_loss=4.95),
        run(0.25, 2.0, 0, dev_loss=5.1, flagged_at_tokens=1e5),
        run(0.25, 2.0, 1, dev_loss=5.1),
    ]
    runs = pd.DataFrame(rows).assign(early_stop="flag")
    found = wrong_kills(runs)
    assert (found["wrong"], found["cells"]) == (0, ["25 % × 2", "45 % × 2"])
    assert found["wrong_cells"] == ["45 % × 2"]
    assert "screened out 2 cells, of which 1 (45 % × 2) ended" in methods(runs)
    published = wrong_kills(read_results(ROOT / "outputs" / "reference" / "results.csv"))
    assert (published["wrong"], len(published["cells"])) == (0, 8)
    assert published["wrong_cells"] == ["35 % × 3", "35 % × 4"]


def test_a_run_without_a_baseline_to_compare_with_is_not_watched():
    """It asked for a flag and none could come; older runs recorded only who was compared."""
    runs = grid().assign(early_stop="flag", compared=[True] * 4 + [False] * 8)
    assert wrong_kills(runs)["watched"] == 4
    assert wrong_kills(runs.assign(compared=None))["watched"] == 11
    assert wrong_kills(runs.assign(compared=False)) is None


def test_a_sweep_that_flagged_nothing_is_no_sweep_that_watched_nothing():
    """In flag mode without a flag 11 runs were watched and no rate is known; with early stop off,
    or from before it was recorded, none.
    """
    found = wrong_kills(grid().assign(early_stop="flag"))
    assert (found["watched"], found["flagged"], found["wrong"]) == (11, 0, 0) and math.isnan(
        found["rate"]
    )
    assert (
        wrong_kills(grid()) is None
        and wrong_kills(grid().drop(columns="early_stop")) is None
        and wrong_kills(empty()) is None
    )
    assert "none of the 11 runs that it watched" in str(methods(grid().assign(early_stop="flag")))


def test_old_runs_do_not_count_as_watched():
    """Runs that recorded nothing but their flags: how many of them were flagged is known, of how
    many watched ones is not.
    """
    runs = grid().assign(early_stop=None, flagged_at_tokens=[1e5] * 3 + [None] * 9)
    assert wrong_kills(runs)["watched"] is None and wrong_kills(runs)["flagged"] == 3
