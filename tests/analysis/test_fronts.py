"""The Pareto front is its definition; a place on it has a probability."""

import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import empty, grid, noisy, run
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from paramalloc.analysis import (
    COST_SENSE,
    cells_table,
    eligible_runs,
    estimate_noise,
    front_probability,
    front_table,
    pareto_front,
)
from paramalloc.analysis.fronts import _draw_costs
from paramalloc.plots import pareto
from paramalloc.report import fronts, limits

COSTS = st.one_of(
    st.sampled_from([0.0, 1.0, 1.005, 1.012, 2.0, 3.0]), st.just(math.nan)
)  # few values, so that ties are common


VALUES = st.one_of(st.integers(0, 5).map(float), st.just(math.nan))


def dominates(a, b, sense):
    """a is at least as good as b in cost and quality, and better in one; costs within 1 % are
    equal.
    """
    equal = abs(a[0] - b[0]) <= 0.01 * min(a[0], b[0])
    cheaper = not equal and (a[0] > b[0] if sense == "more" else a[0] < b[0])
    return (equal or cheaper) and a[1] <= b[1] and (cheaper or a[1] < b[1])


@given(st.lists(st.tuples(COSTS, VALUES), max_size=12), st.sampled_from(["more", "less"]))
def test_front_is_the_brute_force_definition(points, sense):
    """On the front: measured in both, and dominated by nobody who is measured in both."""
    table = pd.DataFrame(points, columns=["cost", "dev_loss"], dtype=float)
    measured = [p for p in points if not any(map(math.isnan, p))]
    expected = [p in measured and not any(dominates(q, p, sense) for q in measured) for p in points]
    assert pareto_front(table, "cost", cost_sense=sense).tolist() == expected


def test_ties_stay_on_the_front_together():
    """Of two equal cells neither is better in anything, so neither is dropped."""
    table = pd.DataFrame({"train_flops": [1.0, 1.0, 2.0], "dev_loss": [5.0, 5.0, 5.0]})
    assert pareto_front(table, "train_flops").tolist() == [True, True, False]


def test_within_one_percent_of_cost_quality_decides():
    """A cell 0.5 % dearer and better in loss stands alone; 2 % dearer, both stand."""
    table = pd.DataFrame({"train_flops": [100.0, 100.5], "dev_loss": [5.1, 5.0]})
    assert pareto_front(table, "train_flops").tolist() == [False, True]
    assert pareto_front(table.assign(train_flops=[100.0, 102.0]), "train_flops").tolist() == [
        True,
        True,
    ]


def test_of_smallbench_more_is_better():
    """The cell with the higher accuracy at the same cost is on the front."""
    table = pd.DataFrame({"total_params": [1.0, 1.0], "smallbench": [0.4, 0.6]})
    assert pareto_front(table, "total_params", "smallbench").tolist() == [False, True]


def test_front_table_trades_loss_for_cost():
    """From the lowest loss on, every further cell of the front is faster."""
    front = front_table(cells_table(grid()), "tokens_per_s")
    assert (
        front.dev_loss.is_monotonic_increasing
        and front.tokens_per_s.is_monotonic_increasing
        and len(front) > 1
    )


@pytest.mark.parametrize("cost", COST_SENSE)
def test_the_lowest_loss_is_surely_on_every_front(cost):
    """Probabilities lie between 0 and 1, and a cell far better than all others has 1 on the front
    of any cost.
    """
    runs = noisy(grid(run(0.45, 4.0, 0, dev_loss=4.0), run(0.45, 4.0, 1, dev_loss=4.0), seeds=2))
    found = front_probability(
        runs.assign(decode_ms_per_token=runs.n_layers / 10, kv_bytes_per_token=runs.n_layers * 10),
        cost,
    )
    assert found["45 % × 4"] == 1 and found.between(0, 1).all() and len(found) == 12


def test_the_probability_of_two_cells_is_that_of_a_t_test():
    """A dearer cell is on the front as probably as its loss is the lower one: a t distribution of
    the difference.
    """
    runs = pd.DataFrame(
        [
            run(0.25, 2.0, seed, dev_loss=5.0 + 0.01 * seed + 0.004 * (seed == 1), train_flops=1e12)
            for seed in range(3)
        ]
        + [
            run(0.45, 4.0, seed, dev_loss=4.998 + 0.01 * seed, train_flops=2e12)
            for seed in range(3)
        ]
    )
    found, scatter = front_probability(runs, "train_flops"), estimate_noise(runs)
    t = (0.002 + 0.004 / 3) / (scatter.sigma * math.sqrt(2 / 3))
    assert (
        found["45 % × 4"] == pytest.approx(stats.t.cdf(t, scatter.df), abs=0.02)
        and found["25 % × 2"] == 1
    )


def two_cells(speeds_25: tuple, speeds_45: tuple) -> pd.DataFrame:
    """25 % is better in loss for sure; tokens per second of both on seeds 0, 1, …"""
    rows = [
        run(
            share,
            glu,
            seed,
            dev_loss=loss + 0.001 * seed + 1e-5 * (seed == 1),
            tokens_per_s=speed,
        )
        for share, glu, loss, speeds in ((0.25, 2.0, 5.0, speeds_25), (0.45, 4.0, 5.1, speeds_45))
        for seed, speed in enumerate(speeds)
    ]
    return pd.DataFrame(rows)


def test_noise_of_a_speed_makes_its_front_less_sure():
    """Two cells, the slower by 3 % better in loss: with speeds that scatter by a fifth, the faster
    one may not be the faster. Its chance is that of a t test of the logarithms, paired by seed.
    """
    steady = two_cells((1000, 1000, 1000), (1030, 1030, 1030))
    assert front_probability(steady, "tokens_per_s")["45 % × 4"] == 1
    slow, fast = (800, 1000, 1250), (1100, 1236, 900)
    logs = [math.log(b / a) for a, b in zip(slow, fast, strict=True)]
    t = (sum(logs) / 3 - math.log(1.01)) / stats.sem(logs)  # costs within 1 % are equal
    chance = front_probability(two_cells(slow, fast), "tokens_per_s")["45 % × 4"]
    assert chance == pytest.approx(stats.t.cdf(t, 2), abs=0.02)
    assert 0.3 < chance < 0.9


def test_what_slows_all_runs_of_a_seed_is_no_noise():
    """The runs of one seed trained beside other work, at half the speed: cells compare as before,
    and no less surely.
    """
    runs = two_cells((1000, 500, 1250), (1030, 515, 1287.5))
    assert front_probability(runs, "tokens_per_s")["45 % × 4"] == 1
    speeds = cells_table(runs).tokens_per_s
    assert speeds[1] / speeds[0] == pytest.approx(1.03)


def test_a_speed_has_one_centre_everywhere():
    """Least squares of log speed on cell and seed: in the table, in the chart, and where the draws
    of the probability lie, though a cell lacks the seed that trained slowly.
    """
    runs = two_cells((1000, 500, 1250), (1100, 560, 1300)).drop(index=1)
    logs = np.log(runs.tokens_per_s.to_numpy(float))
    columns = [runs.requested_share == 0.25, runs.requested_share == 0.45]
    columns += [runs.seed == 1, runs.seed == 2]
    effects = np.linalg.lstsq(np.stack(columns, axis=1).astype(float), logs, rcond=None)[0]
    # at the seeds that both cells have: 0 and 2
    expected = np.exp(effects[:2] + effects[3] / 2)
    table = cells_table(runs).set_index("cell")
    assert table.tokens_per_s.to_numpy() == pytest.approx(expected)
    drawn = _draw_costs(eligible_runs(runs), table, "tokens_per_s", np.random.default_rng(0))
    assert np.median(drawn, axis=0) == pytest.approx(expected, rel=0.02)
    points = pareto(runs, "tokens_per_s").to_dict()["usermeta"]["table"]
    shown = {row[0]: row[1] for row in points["data"]}
    assert shown == {name: f"{speed:,.0f}" for name, speed in table.tokens_per_s.items()}


def test_speeds_that_no_seed_links_have_no_probability():
    """One cell was timed on seeds 0 and 1 alone, the other on 2 and 3: what differs between these
    seeds may be the whole difference.
    """
    speeds = [1000, 1010, None, None]
    runs = two_cells(tuple(speeds), tuple(speeds[::-1]))
    assert front_probability(runs, "tokens_per_s").isna().all()
    assert front_probability(runs, "train_flops").notna().all()


def test_without_noise_a_probability_is_unknown():
    """One seed, or a cost that nobody measured: NaN, never 0; no runs: no rows."""
    assert front_probability(grid(), "tokens_per_s").isna().all()
    assert (
        front_probability(noisy(grid(seeds=2)), "decode_ms_per_token").isna().all()
        and front_probability(empty(), "train_flops").empty
    )


def test_smallbench_of_one_seed_has_no_probabilities():
    """Its standard error over items does not know what another seed would have done, though dev
    loss has three seeds.
    """
    runs = noisy(grid(seeds=3)).assign(smallbench_se=0.004)
    runs = runs.assign(smallbench=(0.12 + 0.01 * runs.requested_share).where(runs.seed == 0))
    assert front_probability(runs, "train_flops", "smallbench").isna().all()
    assert front_probability(runs, "train_flops").notna().all()


def test_cells_without_a_common_seed_are_not_on_one_front():
    """Two cells on seeds 0 and 1, two far worse ones on 2 and 3: the latter have no probability,
    and the limits name them.
    """
    rows = [
        run(share, 2.66, seed, dev_loss=loss + 0.01 * seed)
        for share, loss, seeds in (
            (0.25, 5.0, (0, 1)),
            (0.35, 5.1, (0, 1)),
            (0.45, 6.0, (2, 3)),
            (0.40, 6.1, (2, 3)),
        )
        for seed in seeds
    ]
    chance = front_probability(pd.DataFrame(rows), "train_flops")
    assert (
        chance.dropna().index.tolist() == ["25 % × 2.66", "35 % × 2.66"]
        and chance["25 % × 2.66"] > 0.9
    )
    assert "40 % × 2.66, 45 % × 2.66: no seed in common" in str(limits(pd.DataFrame(rows)))
    assert "no seed in common" not in str(limits(grid(seeds=2)))


# ---------------------------------------------------------------- speeds that count


def timed_alone(runs, width=0.02):
    return runs.assign(
        speeds="alone",
        inference_device="cpu",
        speeds_threads=2,
        speeds_width=width,
        graphed=False,
        decode_ms_per_token=runs.n_layers / 10,
    )


@pytest.mark.parametrize(
    "place", [{"inference_device": "a GPU"}, {"speeds_threads": 1}, {"graphed": True}]
)
def test_speeds_of_one_place_count(place):
    """Those from where most were measured; the other cells are named among the limits and under the
    front, and another group of runs has a place of its own.
    """
    runs = timed_alone(noisy(grid(seeds=2)))
    few = (runs.requested_glu == 4.0) & (runs.requested_share < 0.4)
    mixed = runs.mask(few, runs.assign(**place))
    cells = cells_table(mixed)
    missing = (cells.requested_glu == 4.0) & (cells.requested_share < 0.4)
    assert cells.tokens_per_s.isna().equals(missing)
    assert cells.tokens_per_s[~missing].equals(cells_table(runs).tokens_per_s[~missing])
    names = "25 % × 4, 35 % × 4"
    assert f"No speed of {names} was measured so" in limits(mixed)
    assert "nothing else running, on `cpu`." in limits(mixed)
    assert f"unknown: {names}." in pareto(mixed, "tokens_per_s").title.subtitle[-1]
    others = pd.concat([runs, runs, runs]).assign(data_fingerprint="f2", **place, created="2020")
    both = pd.concat([runs, others.assign(seed=others.seed + 5, status="diverged")])
    assert cells_table(both).tokens_per_s.equals(cells_table(runs).tokens_per_s)


def test_where_all_were_timed_in_one_place_nothing_is_missing():
    runs = timed_alone(noisy(grid(seeds=2)))
    assert "was measured so" not in limits(runs)
    assert not any("Not here" in line for line in pareto(runs, "tokens_per_s").title.subtitle)


@pytest.mark.parametrize(
    "width, low, high", [(0.001, 0.999, 1), (0.3, 0.4, 0.8), (None, None, None)]
)
def test_noise_of_a_shared_speed_is_that_of_its_interval(width, low, high):
    """The seeds of a cell share one: that they agree says nothing. The faster of two cells, by 3 %,
    is on the front as surely as the intervals say; without one, nobody knows.
    """
    rows = [
        run(share, glu, seed, dev_loss=loss + 0.001 * seed + 1e-5 * (seed == 1), tokens_per_s=speed)
        for share, glu, loss, speed in ((0.25, 2.0, 5.0, 1000), (0.45, 4.0, 5.1, 1030))
        for seed in range(3)
    ]
    runs = timed_alone(pd.DataFrame(rows), width)
    chance = front_probability(runs, "tokens_per_s")["45 % × 4"]
    unknown = "Without all intervals" in pareto(runs, "tokens_per_s").title.subtitle[1]
    if width is None:
        assert math.isnan(chance) and unknown
    else:
        assert low <= chance <= high and not unknown


def test_only_speeds_taken_alone_count():
    """A table without the column is as it was; of one that has it, the rows alone: a cell without
    any has no speed, and the others' are those of their rows alone.
    """
    runs = grid(seeds=2)
    older = cells_table(runs)
    assert cells_table(runs.assign(speeds=None)).equals(older)
    first_seed = runs.seed == runs.seed.min()
    mixed = runs.assign(
        speeds=first_seed.map({True: "alone", False: "training"}),
        tokens_per_s=runs.tokens_per_s.where(first_seed, 1e9),
    )
    assert cells_table(mixed).tokens_per_s.equals(cells_table(runs[first_seed]).tokens_per_s)
    dropped = mixed.requested_glu == 4.0
    partly = cells_table(mixed.assign(speeds=mixed.speeds.where(~dropped, None)))
    assert partly.tokens_per_s.isna().tolist() == (partly.requested_glu == 4.0).tolist()
    assert partly.dev_loss.equals(older.dev_loss)


@pytest.mark.parametrize("cost", ["tokens_per_s", "decode_ms_per_token"])
def test_without_speeds_alone_a_report_names_the_command(cost):
    """In place of the front and among the limits; the table has no row of speeds."""
    runs = noisy(grid(seeds=2)).assign(decode_ms_per_token=2.0, inference_device="cpu")
    training = runs.assign(speeds="training")
    assert "`paramalloc time SWEEP`" in pareto(training, cost)
    assert "`paramalloc time SWEEP`" in limits(training)
    assert not any("speed" in row or "decoding" in row for row in fronts(training).frame.iloc[:, 0])
    for timed in (runs, runs.assign(speeds="alone")):
        assert not isinstance(pareto(timed, cost), str)
        assert "paramalloc time" not in limits(timed)
        assert any("training speed" in row for row in fronts(timed).frame.iloc[:, 0])
    assert "nothing else running, on `cpu`" in limits(runs.assign(speeds="alone"))
