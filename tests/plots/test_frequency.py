"""The losses by token frequency are differences of means, in which every cell weighs the same."""

import pandas as pd
import pytest
from analysis_fixtures import grid, run

from paramalloc import plots


def test_losses_by_frequency_are_differences_of_means():
    """Each share's mean loss in a decile, less the mean of shares; one share is no comparison."""
    runs = grid(seeds=2)
    losses = [[[9, 5 + n * share] for n in (1, 2)] for share in runs.requested_share]
    runs = runs.assign(dev_by_frequency=losses)
    drawn = {}
    for rows in plots.frequency_deciles(runs).to_dict()["datasets"].values():
        for row in rows:
            if "share" in row:
                drawn[row["share"], row["decile"]] = row["difference"]
    expected = {}
    for percent in (25, 35, 45):
        for n in (1, 2):
            expected[f"{percent} %", n] = n * (percent / 100 - 0.35)
    assert drawn == pytest.approx(expected)
    one_share = runs[runs.requested_share == 0.35]
    assert "there are not two" in plots.frequency_deciles(one_share)
    assert "there are not two" in plots.frequency_deciles(grid())


def test_a_cell_of_many_seeds_weighs_as_much_as_another():
    """Eight more seeds of a share's worst cell do not move the share's loss in a decile."""
    more = pd.DataFrame([run(0.35, 4.0, seed) for seed in range(1, 9)])
    assert table_of(pd.concat([grid(), more], ignore_index=True)) == table_of(grid())


def table_of(runs: pd.DataFrame) -> dict:
    """The numbers behind the chart where the loss depends on the expansion, but for 25 %."""
    loss = 5 + runs.requested_glu * (runs.requested_share > 0.3)
    runs = runs.assign(dev_by_frequency=[[[9, value]] * 2 for value in loss])
    return plots.frequency_deciles(runs).to_dict()["usermeta"]["table"]
