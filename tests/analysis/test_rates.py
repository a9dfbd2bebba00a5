"""A learning rate is chosen on tuning seeds, fairly, and what it cost is measured."""

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import grid, run, unfinished
from scipy import stats

from paramalloc.analysis import (
    by_chance,
    cells_table,
    common_rate,
    losses_at_rates,
    rate_check,
    runs_at_own_rates,
)


def test_best_lr_has_the_lowest_mean_not_the_luckiest_seed():
    """1e-3 holds the single best run, 3e-3 the better mean."""
    losses = {(1e-3, 0): 5.0, (1e-3, 1): 5.6, (3e-3, 0): 5.1, (3e-3, 1): 5.1}
    runs = [run(0.35, 2.66, seed, lr, dev_loss=loss) for (lr, seed), loss in losses.items()]
    cell = cells_table(pd.DataFrame(runs)).iloc[0]
    assert cell.lr == 3e-3 and cell.dev_loss == pytest.approx(5.1) and cell.n_seeds == 2


@pytest.mark.parametrize(
    "tuning, chosen, in_sample, edge",
    [((), 2e-3, True, False), ((2e-3, 4e-3), 4e-3, False, True), ((2e-3,), 2e-3, False, False)],
)
def test_how_a_learning_rate_was_chosen_is_marked(tuning, chosen, in_sample, edge):
    """Three rates on the claim seeds, the middle one best there: without tuning runs that is a
    choice on the claims; tuning runs (the higher the rate the better) make it none; the highest of
    all tried is at the edge.
    """
    runs = [
        run(0.35, 2.66, 0, lr, dev_loss=loss)
        for lr, loss in ((1e-3, 5.2), (2e-3, 5.0), (4e-3, 5.1))
    ]
    runs += [run(0.35, 2.66, 1000, lr, dev_loss=5 - lr) for lr in tuning]
    cell = cells_table(pd.DataFrame(runs)).iloc[0]
    assert (cell.lr, cell.lr_selected_in_sample, cell.lr_at_edge) == (chosen, in_sample, edge)
    alone = cells_table(grid())
    assert not alone.lr_selected_in_sample.any() and not alone.lr_at_edge.any()


def test_a_learning_rate_is_chosen_on_tuning_seeds():
    """The rate that won on seeds 1000 and 1001 makes the claim, though another is better on the
    claim's own seeds; a rate that diverged on one of them does not win.
    """
    losses = {
        (1e-3, 1000): 5.3,
        (2e-3, 1000): 5.1,
        (4e-3, 1000): 4.9,
        (1e-3, 0): 5.0,
        (2e-3, 0): 5.2,
        (4e-3, 0): 5.4,
    }
    runs = [run(0.35, 2.66, seed, lr, dev_loss=loss) for (lr, seed), loss in losses.items()]
    runs += [unfinished(0.35, 2.66, "diverged", seed=1001, lr=4e-3)]
    cell = cells_table(pd.DataFrame(runs)).iloc[0]
    assert (cell.lr, cell.dev_loss, cell.n_seeds) == (2e-3, 5.2, 1)


def test_a_rate_check_is_of_the_claims_own_recipe():
    """The gain of a cell is what its best tried rate was below its claim's; a rate that diverged is
    the worst; runs of another corpus, recipe or size say nothing, nor does a cell that did not try
    its claim's rate.
    """

    def tuning(share, lr, loss, **changed):
        return run(share, 2.66, 1000, lr, dev_loss=loss, **changed)

    runs = pd.DataFrame(
        [run(share, 2.66, seed) for share in (0.25, 0.35, 0.45) for seed in (0, 1)]
        + [
            tuning(0.35, 3e-3, 5.30),
            tuning(0.35, 6e-3, 5.28),
            tuning(0.35, 1e-3, None, status="diverged"),
            tuning(0.35, 2e-3, 5.0, recipe=2),
            tuning(0.35, 2e-3, 5.0, dataset="other", data_fingerprint="f2"),
            tuning(0.35, 2e-3, 5.0, batch_tokens=512),
            tuning(0.25, 6e-3, 5.0),
            tuning(0.25, 9e-3, 5.1),
            tuning(0.45, 3e-3, 5.4, tokens=1e5),
            tuning(0.45, 9e-3, 5.5, tokens=1e5),
        ]
    )
    check = rate_check(runs).set_index("cell")
    assert list(check.index) == ["45 % × 2.66", "35 % × 2.66"] and list(check.tokens) == [1e5, 3e5]
    assert (
        check.gain["35 % × 2.66"] == pytest.approx(0.02)
        and check.best_lr["35 % × 2.66"] == 6e-3
        and check.tried["35 % × 2.66"] == (1e-3, 3e-3, 6e-3)
    )
    assert check.gain["45 % × 2.66"] == 0
    lost = pd.concat(
        [
            runs,
            pd.DataFrame(
                [tuning(0.35, lr, None, status="diverged", tokens=2e5) for lr in (3e-3, 6e-3)]
            ),
        ]
    )
    assert list(rate_check(lost).tokens) == [1e5, 3e5]  # at all of them: nothing to compare
    other = pd.concat([runs, pd.DataFrame([tuning(0.35, 5e-3, 5.0, embed_lr=9.0)])])
    assert rate_check(other).equals(rate_check(runs))


def test_chance_is_what_the_lowest_of_equal_rates_lies_below_one_of_them():
    """The mean of the largest of five normal draws is 1.163 standard deviations (Harter 1961), of
    three 0.846; over 80 cells of equal rates the gains that rate_check finds have the mean and the
    maximum that it says of chance.
    """

    def one(count):
        return pd.DataFrame({"tried": [tuple(range(count))], "seeds": [(1000,)]})

    assert [by_chance(one(count), 1.0)[0] for count in (5, 3)] == pytest.approx(
        [1.163, 0.846], abs=0.05
    )
    draw = np.random.default_rng(0)
    cells = [(share, glu) for share in np.linspace(0.2, 0.6, 40) for glu in (2.0, 4.0)]
    runs = [run(*cell, seed) for cell in cells for seed in (0, 1)]
    tried = [
        run(*cell, 1000, lr, dev_loss=5 + 0.01 * draw.standard_normal())
        for cell in cells
        for lr in (1e-3, 2e-3, 3e-3, 4e-3, 5e-3)
    ]
    check = rate_check(pd.DataFrame(runs + tried))
    mean, most = by_chance(check, 0.01)
    assert (
        len(check) == 80
        and check.gain.mean() == pytest.approx(mean, rel=0.25)
        and check.gain.max() == pytest.approx(most, rel=0.4)
    )


def test_rates_are_compared_on_the_seeds_that_all_of_them_have():
    """One rate has a second tuning seed with low losses: on the seed that both have it is the worse
    one, so nothing was to gain.
    """
    tuning = [
        run(0.35, 2.66, seed, lr, dev_loss=loss)
        for seed, lr, loss in ((1000, 3e-3, 5.20), (1000, 6e-3, 5.25), (1001, 6e-3, 5.00))
    ]
    runs = pd.DataFrame([run(0.35, 2.66, seed) for seed in (0, 1)] + tuning)
    assert rate_check(runs).gain.item() == 0


def test_the_edge_is_that_of_the_best_rate_tried():
    """Tried at three rates: best in the middle, no edge, though the claim is at the lowest; best at
    the highest, an edge, though it is in the middle.
    """
    claim = [run(0.35, 2.66, seed) for seed in (0, 1)]  # at 3e-3

    def tried(rates, losses):
        pairs = zip(rates, losses, strict=True)
        tuning = [run(0.35, 2.66, 1000, lr, dev_loss=loss) for lr, loss in pairs]
        return cells_table(pd.DataFrame(claim + tuning)).lr_at_edge.item()

    assert not tried((3e-3, 4e-3, 5e-3), (5.3, 5.2, 5.3)) and tried(
        (2e-3, 3e-3, 4e-3), (5.3, 5.2, 5.1)
    )


# ---- one other rate for all


def checked(losses: dict[float, list[float]], **changed) -> pd.DataFrame:
    """The rate check of three cells with claims at 3e-3: their losses by rate on a tuning seed."""
    shares = (0.25, 0.35, 0.45)
    claims = [run(share, 2.66, seed) for share in shares for seed in (0, 1)]
    tried = [
        run(share, 2.66, 1000, lr, dev_loss=loss, **changed)
        for lr, by_cell in losses.items()
        for share, loss in zip(shares, by_cell, strict=True)
    ]
    return rate_check(pd.DataFrame(claims + tried))


def test_the_best_common_rate_has_the_paired_t_test_of_scipy():
    """Of the rates that all cells tried and none diverged at; p is adjusted for their number."""
    losses = {3e-3: [5.3, 5.2, 5.1], 6e-3: [5.25, 5.17, 5.06], 9e-3: [5.4, 5.1, 5.2]}
    common = common_rate(checked(losses))
    test = stats.ttest_rel(losses[6e-3], losses[3e-3])
    assert (common.lr, common.best_lr, common.n_rates) == (3e-3, 6e-3, 2)
    assert common.t == pytest.approx(test.statistic) and common.df == test.df
    assert common.p == pytest.approx(2 * test.pvalue)
    assert common.difference == pytest.approx(-0.04)
    assert common.is_better
    worse = common_rate(checked({3e-3: [5.3, 5.2, 5.1], 6e-3: [5.4, 5.3, 5.3]}))
    assert worse.difference > 0 and not worse.is_better


def test_a_common_rate_needs_one_that_all_cells_tried():
    """Of one cell, or where a cell lacks the only other rate, there is none."""
    check = checked({3e-3: [5.3, 5.2, 5.1], 6e-3: [5.2, 5.1, 5.0]})
    assert common_rate(check.head(1)) is None
    table = losses_at_rates(check)
    assert table.shape == (3, 2) and table.notna().all(axis=None)
    check.at[0, "tried"], check.at[0, "losses"] = (3e-3, 9e-3), (5.2, 5.1)
    assert common_rate(check) is None


def test_equal_rates_are_rejected_in_five_percent_of_checks():
    """Whatever rate is picked, with a standard error: 4 rates, 12 cells, 400 checks."""
    generator = np.random.default_rng(3)
    cells = pd.DataFrame({"lr": [3e-3] * 12, "tried": [(1e-3, 2e-3, 3e-3, 4e-3)] * 12})
    rejected = 0
    for _ in range(400):
        losses = [tuple(row) for row in generator.normal(5, 0.01, (12, 4))]
        rejected += common_rate(cells.assign(losses=losses)).p < 0.05
    assert rejected <= 0.072 * 400


# ---- runs at each cell's own rate


def test_runs_at_own_rates_did_not_choose_them():
    """On evaluation seeds, at the check's budget, at the best rate there; none at the grid's."""
    claims = [run(share, 2.66, seed) for share in (0.25, 0.35) for seed in (0, 1)]
    tried = [
        run(share, 2.66, 1000, lr, dev_loss=loss, tokens=1e5)
        for share, best in ((0.25, 6e-3), (0.35, 3e-3))
        for lr, loss in ((3e-3, 5.1), (6e-3, 5.1 - 0.1 * (best == 6e-3) + 0.1 * (best == 3e-3)))
    ]
    own = [
        run(0.25, 2.66, 0, 6e-3, tokens=1e5),
        run(0.35, 2.66, 0, 3e-3, tokens=1e5),
        run(0.35, 2.66, 2, 6e-3, tokens=1e5),
        run(0.35, 2.66, 3, 3e-3, tokens=1e5, recipe=2),
    ]
    found = runs_at_own_rates(pd.DataFrame(claims + tried + own))
    assert list(zip(found.cell, found.lr, found.seed, strict=True)) == [
        ("25 % × 2.66", 6e-3, 0),
        ("35 % × 2.66", 3e-3, 0),
    ]
    assert runs_at_own_rates(pd.DataFrame(claims + tried)).empty
    assert runs_at_own_rates(pd.DataFrame(claims)).empty
