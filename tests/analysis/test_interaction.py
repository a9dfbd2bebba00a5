"""Whether share and expansion interact: a grid's cells against the sum of their two effects."""

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import GLUS, SHARES, grid, noisy

from paramalloc.analysis import eligible_runs, interaction, means


def test_deviations_are_the_double_centred_means():
    """In a whole grid, each with an interval around it; they add up to zero over any row."""
    runs = noisy(grid(seeds=3), 0.01)
    table = interaction(runs).set_index("cell")
    cells = means(runs).set_index("cell").dev_loss
    square = cells.to_numpy().reshape(len(SHARES), len(GLUS))
    by_hand = square - square.mean(0) - square.mean(1, keepdims=True) + square.mean()
    assert table.deviation[cells.index].to_numpy() == pytest.approx(by_hand.ravel())
    assert ((table.low < table.deviation) & (table.deviation < table.high)).all()
    assert (table.low > 0).sum() + (table.high < 0).sum() <= (table.p_adjusted < 0.05).sum()


@pytest.mark.parametrize(
    "noisier, times", [("", 1.0), ("25 % × ", 3.0), ("25 % × ", 0.5), ("35 % × 2.66", 3.0)]
)
def test_additive_cells_are_rejected_in_five_percent_of_studies(noisier, times):
    """Shares and expansions with effects of their own, some cells noisier: 150 studies each."""
    eligible = eligible_runs(grid(seeds=3))
    truth = 5 + 0.3 * eligible.requested_share + 0.02 * eligible.requested_glu
    sd = np.where(eligible.cell.str.startswith(noisier), 0.01 * times, 0.01)
    generator = np.random.default_rng(5)
    rejected = 0
    for _ in range(150):
        losses = truth + sd * generator.standard_normal(len(eligible))
        rejected += interaction(eligible.assign(dev_loss=losses)).p_adjusted.min() < 0.05
    assert rejected <= 0.072 * 150


def test_one_cell_that_is_better_than_its_effects_is_found():
    runs = noisy(grid(seeds=3), 0.005)
    cell = (runs.requested_share == 0.45) & (runs.requested_glu == 4.0)
    table = interaction(runs.assign(dev_loss=runs.dev_loss - 0.05 * cell))
    farthest = table.loc[table.deviation.abs().idxmax()]
    assert farthest.cell == "45 % × 4" and farthest.p_adjusted < 0.01
    assert farthest.deviation == pytest.approx(-0.05 * (1 - 1 / 3) * (1 - 1 / 4), abs=0.01)


def test_an_incomplete_grid_or_one_axis_has_no_interaction():
    """And with one seed nothing is known of it."""
    runs = grid(seeds=2)
    missing = ~((runs.requested_share == 0.25) & (runs.requested_glu == 2.0))
    assert interaction(runs[missing]).empty
    assert interaction(runs[runs.requested_share == 0.35]).empty
    assert interaction(runs.head(0)).empty
    assert interaction(grid()).p_adjusted.isna().all()


def test_a_study_of_cells_in_any_order_has_the_same_interaction():
    runs = noisy(grid(seeds=2), 0.01)
    shuffled = runs.sample(frac=1, random_state=0)
    tables = [interaction(each).set_index("cell").sort_index() for each in (runs, shuffled)]
    pd.testing.assert_frame_equal(*tables)
