"""The Pareto front is its definition; only what was trained to the end is averaged; one seed proves nothing; arms are told apart."""

import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import broken_grid, empty, factorized, grid, noisy, run, unfinished
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from paramalloc.analysis import (
    COST_SENSE,
    arm,
    baseline_cell,
    by_chance,
    by_tradeoff,
    cells_table,
    comparable,
    comparable_groups,
    dev_curves,
    differences,
    eligible_runs,
    estimate_noise,
    fit_surface,
    front_probability,
    front_table,
    losses_by_frequency,
    main_effects,
    means,
    noise_floor,
    pareto_front,
    rate_check,
    reach_verdict,
    screening,
    views,
    wrong_kills,
)
from paramalloc.analysis.optimum import describe_optimum
from paramalloc.report import certainty, limits, methods

COSTS = st.one_of(
    st.sampled_from([0.0, 1.0, 1.005, 1.012, 2.0, 3.0]), st.just(math.nan)
)  # few values, so that ties are common
VALUES = st.one_of(st.integers(0, 5).map(float), st.just(math.nan))


def dominates(a, b, sense):
    """a is at least as good as b in cost and quality, and better in one; costs within 1 % are equal."""
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


def test_means_equal_a_computation_by_hand():
    """dev_loss, dev_ppl and dev_bpb are means over seeds, tokens_per_s is the median."""
    seeds = [(0, 5.0, 1.0), (1, 5.2, 2.0), (2, 5.3, 9.0)]
    runs = pd.DataFrame(
        [run(0.35, 2.66, seed, dev_loss=loss, tokens_per_s=speed) for seed, loss, speed in seeds]
    )
    cell = cells_table(runs).iloc[0]
    assert cell.dev_loss == pytest.approx((5.0 + 5.2 + 5.3) / 3)
    assert cell.dev_ppl == pytest.approx((math.exp(5.0) + math.exp(5.2) + math.exp(5.3)) / 3)
    assert (cell.tokens_per_s, cell.n_seeds, cell.status) == (2.0, 3, "completed")


@pytest.mark.parametrize("luck", [-0.3, 0.3])
def test_more_seeds_of_the_baseline_move_no_rank(luck):
    """45 % × 4 is 0.02 better than all others on three seeds; the baseline has six more, all lucky or all unlucky. Table, front and verdict
    hold what the paired differences hold, in every quality, and the baseline counts as it did without them."""
    even = noisy(grid(seeds=3), 0.001).assign(smallbench=0.3, train_flops=1e12)
    even["dev_loss"] = (
        5.0
        - 0.02 * ((even.requested_share == 0.45) & (even.requested_glu == 4.0))
        + even.dev_loss % 0.001
    )
    more = pd.DataFrame(
        [
            run(0.35, 2.66, seed, smallbench=0.3 - luck / 3, train_flops=1e12, dev_loss=5.0 + luck)
            for seed in range(3, 9)
        ]
    )
    runs = pd.concat([even, more], ignore_index=True).assign(
        dev_ppl=lambda rows: np.exp(rows.dev_loss), dev_bpb=lambda rows: rows.dev_loss / 3
    )
    table, found = cells_table(runs).set_index("cell", drop=False), reach_verdict(runs)
    for quality in ("dev_loss", "dev_ppl", "dev_bpb", "smallbench"):
        beside = differences(runs, quality=quality).set_index("cell").difference
        assert (
            table[quality][beside.index] - table[quality]["35 % × 2.66"]
        ).to_numpy() == pytest.approx(beside.to_numpy(), abs=1e-9)
    assert found.best == "45 % × 4" and found.baseline_gap == pytest.approx(
        -differences(runs).set_index("cell").difference["45 % × 4"]
    )
    assert front_table(table, "train_flops").cell.tolist() == ["45 % × 4"]
    assert table.dev_loss.to_numpy() == pytest.approx(
        cells_table(even.assign(dev_ppl=1.0)).dev_loss.to_numpy()
    )


def test_cells_that_share_no_seed_keep_their_means():
    """Seeds 0 and 1 here, 2 and 3 there: nothing links the cells, so nothing is adjusted; a chain of seeds does link them."""
    rows = [(0.25, 0, 5.0), (0.25, 1, 5.2), (0.35, 2, 6.0), (0.35, 3, 6.4), (0.35, 4, 6.2)]
    apart = pd.DataFrame([run(share, 2.66, seed, dev_loss=loss) for share, seed, loss in rows])
    assert cells_table(apart).dev_loss.tolist() == pytest.approx([5.1, 6.2])
    chain = pd.DataFrame(
        [
            run(share, 2.66, seed, dev_loss=5 + share + seed)
            for share, seed in ((0.25, 0), (0.25, 1), (0.35, 1), (0.35, 2), (0.45, 2), (0.45, 3))
        ]
    )
    assert np.diff(cells_table(chain).dev_loss) == pytest.approx([0.1, 0.1])


def test_best_lr_has_the_lowest_mean_not_the_luckiest_seed():
    """1e-3 holds the single best run, 3e-3 the better mean."""
    losses = {(1e-3, 0): 5.0, (1e-3, 1): 5.6, (3e-3, 0): 5.1, (3e-3, 1): 5.1}
    runs = [run(0.35, 2.66, seed, lr, dev_loss=loss) for (lr, seed), loss in losses.items()]
    cell = cells_table(pd.DataFrame(runs)).iloc[0]
    assert cell.lr == 3e-3 and cell.dev_loss == pytest.approx(5.1) and cell.n_seeds == 2


@pytest.mark.parametrize("status", ["stopped_early", "diverged", "failed", "missing"])
def test_an_unfinished_run_is_never_averaged_in(status):
    """Even with a loss on record, a run that did not complete changes no mean."""
    runs = pd.DataFrame(
        [run(0.35, 2.66, dev_loss=5.0), run(0.35, 2.66, 1, dev_loss=4.0, status=status)]
    )
    cell = cells_table(runs).iloc[0]
    assert cell.dev_loss == 5.0 and cell.n_seeds == 1 and len(cell.run_ids) == 1


def test_unfinished_cells_are_nan_and_on_no_front():
    """All 12 cells stay in the table, the four without a loss as NaN and with their status."""
    table = cells_table(broken_grid())
    without = table[table.dev_loss.isna()]
    assert len(table) == 12 and sorted(without.status) == [
        "diverged",
        "failed",
        "missing",
        "stopped_early",
    ]
    assert without.tokens_per_s.isna().all() and (without.n_seeds == 0).all()
    assert not pareto_front(table, "tokens_per_s")[without.index].any()


def test_a_missing_seed_belongs_to_its_cell():
    """A run that never got a shape does not open a second row."""
    shapeless = dict.fromkeys(
        ["d_model", "n_layers", "d_ff", "n_heads", "d_head", "total_params", "data_fingerprint"]
    )
    runs = pd.DataFrame([run(0.35, 2.66), unfinished(0.35, 2.66, "missing", **shapeless)])
    assert len(cells_table(runs)) == 1


OTHERS = [
    {"data_fingerprint": "f2"},
    {"tokens": 1_000_000},
    {"total_params": 10_000_000},
    {"embedding": "untied"},
]


@pytest.mark.parametrize("changed", OTHERS)
def test_what_does_not_compare_is_left_out(changed):
    """Another corpus, budget, size or embedding never meets the grid in one table."""
    runs = pd.concat(
        [grid(), pd.DataFrame([run(0.35, 2.66, dev_loss=1.0, **changed)])], ignore_index=True
    )
    assert len(comparable(runs)) == 12 and cells_table(runs).dev_loss.min() > 5


def test_verdict_gaps_are_differences_of_dev_loss():
    """The gaps are nats per token to the next cell and to the baseline."""
    table = cells_table(grid())
    losses = np.sort(table.dev_loss)
    found = reach_verdict(grid())
    assert found.best == "35 % × 3" and found.next_gap == pytest.approx(losses[1] - losses[0])
    base = table[(table.requested_share == 0.35) & (table.requested_glu == 2.66)].dev_loss.item()
    assert found.baseline_gap == pytest.approx(base - losses[0])
    assert len(found.close) == int((losses <= losses[0] + 0.02).sum())


def test_one_seed_is_called_one_seed():
    """With one seed the verdict speaks of seed noise, counts the close cells, and says that share is width."""
    found = reach_verdict(grid())
    for words in ("may be seed noise", f"{len(found.close)} of 12 cells", "share is width"):
        assert words in str(found)
    assert "may be seed noise" not in str(reach_verdict(grid(seeds=3)))


def test_the_lowest_loss_of_some_is_not_the_lowest_of_all():
    """With cells missing, the verdict says of how many completed cells it speaks."""
    assert str(reach_verdict(broken_grid())).startswith("Of the 8 completed cells (12 in all)")


def test_nothing_to_judge_is_said():
    """No runs, no completed run, one cell: each has its sentence and no gap."""
    assert "no runs yet" in str(reach_verdict(empty()))
    assert "no answer yet" in str(reach_verdict(pd.DataFrame([unfinished(0.35, 2.66, "missing")])))
    alone = reach_verdict(pd.DataFrame([run(0.35, 2.66)]))
    assert "One cell" in str(alone) and alone.next_gap is None


# ---- the probability of a front


@pytest.mark.parametrize("cost", COST_SENSE)
def test_the_lowest_loss_is_surely_on_every_front(cost):
    """Probabilities lie between 0 and 1, and a cell far better than all others has 1 on the front of any cost."""
    runs = noisy(grid(run(0.45, 4.0, 0, dev_loss=4.0), run(0.45, 4.0, 1, dev_loss=4.0), seeds=2))
    found = front_probability(
        runs.assign(decode_ms_per_token=runs.n_layers / 10, kv_bytes_per_token=runs.n_layers * 10),
        cost,
    )
    assert found["45 % × 4"] == 1 and found.between(0, 1).all() and len(found) == 12


def test_the_probability_of_two_cells_is_that_of_a_t_test():
    """A dearer cell is on the front as probably as its loss is the lower one: a t distribution of the difference."""
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


def test_noise_of_a_speed_makes_its_front_less_sure():
    """Two cells, the slower by 3 % better in loss: with speeds that scatter by a fifth, the faster one may not be the faster."""
    rows = [
        run(
            share,
            glu,
            seed,
            dev_loss=loss + 0.001 * seed + 1e-5 * (seed == 1),
            tokens_per_s=speed * factor,
        )
        for share, glu, loss, speed in ((0.25, 2.0, 5.0, 1000), (0.45, 4.0, 5.1, 1030))
        for seed, factor in enumerate((0.8, 1.0, 1.25))
    ]
    shaky = pd.DataFrame(rows)
    steady = shaky.assign(
        tokens_per_s=shaky.groupby("requested_share").tokens_per_s.transform("median")
    )
    assert (
        front_probability(steady, "tokens_per_s")["45 % × 4"]
        == 1
        > front_probability(shaky, "tokens_per_s")["45 % × 4"]
        > 0.3
    )


def test_without_noise_a_probability_is_unknown():
    """One seed, or a cost that nobody measured: NaN, never 0; no runs: no rows."""
    assert front_probability(grid(), "tokens_per_s").isna().all()
    assert (
        front_probability(noisy(grid(seeds=2)), "decode_ms_per_token").isna().all()
        and front_probability(empty(), "train_flops").empty
    )


def test_smallbench_of_one_seed_has_no_probabilities():
    """Its standard error over items does not know what another seed would have done, though dev loss has three seeds."""
    runs = noisy(grid(seeds=3)).assign(smallbench_se=0.004)
    runs = runs.assign(smallbench=(0.12 + 0.01 * runs.requested_share).where(runs.seed == 0))
    assert front_probability(runs, "train_flops", "smallbench").isna().all()
    assert front_probability(runs, "train_flops").notna().all()


# ---- cells


def test_a_killed_seed_is_counted_beside_the_completed_ones():
    """Two completed seeds and a killed one: both numbers are there, and a front with the cell only screens."""
    killed = unfinished(0.45, 4.0, "stopped_early", 100_000, seed=2)
    table = cells_table(
        pd.concat([grid(seeds=2), pd.DataFrame([killed])], ignore_index=True)
    ).set_index("cell", drop=False)
    assert tuple(table.loc["45 % × 4", ["n_seeds", "n_stopped", "status"]]) == (2, 1, "completed")
    assert (
        screening(table) == ["45 % × 4"]
        and screening(cells_table(grid())) == []
        and screening(cells_table(broken_grid())) == ["25 % × 4"]
    )


def test_a_diverged_seed_is_counted_and_the_verdict_says_it():
    """Two seeds of the lowest cell completed, one diverged: counted, and the best only with these words."""
    best = [run(0.45, 4.0, seed, dev_loss=4.9) for seed in range(2)]
    runs = grid(*best, unfinished(0.45, 4.0, "diverged", 100_000, seed=2), seeds=2)
    table = cells_table(runs).set_index("cell", drop=False)
    assert tuple(table.loc["45 % × 4", ["n_seeds", "n_diverged", "status"]]) == (2, 1, "completed")
    assert "1 of its 3 runs diverged" in str(reach_verdict(runs)) and "diverged" not in str(
        reach_verdict(grid(*best, seeds=2))
    )


@pytest.mark.parametrize(
    "tuning, chosen, on_claims, edge",
    [((), 2e-3, True, False), ((2e-3, 4e-3), 4e-3, False, True), ((2e-3,), 2e-3, False, False)],
)
def test_how_a_learning_rate_was_chosen_is_marked(tuning, chosen, on_claims, edge):
    """Three rates on the claim seeds, the middle one best there: without tuning runs that is a choice on the claims; tuning runs
    (the higher the rate the better) make it none; the highest of all tried is at the edge."""
    runs = [
        run(0.35, 2.66, 0, lr, dev_loss=loss)
        for lr, loss in ((1e-3, 5.2), (2e-3, 5.0), (4e-3, 5.1))
    ]
    runs += [run(0.35, 2.66, 1000, lr, dev_loss=5 - lr) for lr in tuning]
    cell = cells_table(pd.DataFrame(runs)).iloc[0]
    assert (cell.lr, cell.lr_selected_in_sample, cell.lr_at_edge) == (chosen, on_claims, edge)
    alone = cells_table(grid())
    assert not alone.lr_selected_in_sample.any() and not alone.lr_at_edge.any()


def test_a_learning_rate_is_chosen_on_tuning_seeds():
    """The rate that won on seeds 1000 and 1001 makes the claim, though another is better on the claim's own seeds; a rate that
    diverged on one of them does not win."""
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


def test_a_cell_that_was_only_tuned_is_missing():
    """Tuning runs alone make no claim: the cell is there, its status missing, its loss NaN."""
    cell = cells_table(pd.DataFrame([run(0.35, 2.66, 1000)])).iloc[0]
    assert (
        cell.status == "missing"
        and math.isnan(cell.dev_loss)
        and cell.n_seeds == 0
        and eligible_runs(pd.DataFrame([run(0.35, 2.66, 1000)])).empty
    )


def test_two_factorized_cells_may_differ_in_d_embed_alone():
    """Same width, depth and MLP: two cells, with names of their own."""
    rows = [
        run(
            0.35,
            2.66,
            embedding="factorized",
            d_embed=d_embed,
            requested_share=None,
            requested_glu=None,
        )
        for d_embed in (32, 64)
    ]
    table = cells_table(pd.DataFrame(rows))
    assert len(table) == 2 and table.cell.is_unique and "d_embed 64" in table.cell[1]


@pytest.mark.parametrize(
    "changed",
    [
        {"mlp": "relu2"},
        {"parametrization": "completep"},
        {"optimizer": "muon"},
        {"weight_decay": 0.3},
        {"grad_clip": 0.5},
    ],
    ids=str,
)
def test_another_recipe_is_another_group(changed):
    """What trains differently is not ranked in one table; what old runs did not record is the default."""
    runs = pd.concat(
        [grid(), pd.DataFrame([run(0.35, 2.66, dev_loss=1.0, **changed)])], ignore_index=True
    )
    assert [len(group) for group in comparable_groups(runs)] == [12, 1] and cells_table(
        runs
    ).dev_loss.min() > 5


def test_the_baseline_of_an_arm_that_keeps_its_shape_is_its_35_percent():
    """Where no expansion was requested the share alone names it; without 35 % there is none."""
    table = cells_table(factorized("the MLP"))
    assert baseline_cell(table).cell.tolist() == ["35 %"] and baseline_cell(
        cells_table(grid())
    ).cell.tolist() == ["35 % × 2.66"]
    assert baseline_cell(table[table.requested_share != 0.35]).empty


@pytest.mark.parametrize("recorded", [1.0, 0.6], ids=["all", "most"])
def test_the_baseline_is_the_one_that_the_runs_were_trained_with(recorded):
    """Runs that recorded 45 % × 4 are compared with it, in the table, differences, effects and words;
    where they disagree, the most frequent one counts; where none is recorded, the default does."""
    runs = noisy(grid(seeds=3))
    own = np.arange(len(runs)) < recorded * len(runs)
    runs = runs.assign(
        baseline_share=np.where(own, 0.45, 0.35), baseline_glu=np.where(own, 4.0, 2.66)
    )
    assert baseline_cell(cells_table(runs)).cell.tolist() == ["45 % × 4"]
    assert "45 % × 4" not in set(differences(runs).cell)
    assert set(main_effects(runs).baseline) == {0.45, 4.0}
    assert "than 45 %" in str(reach_verdict(runs)) and "than 4 (" in str(reach_verdict(runs))
    unknown = runs.assign(baseline_share=None, baseline_glu=None)
    assert baseline_cell(cells_table(unknown)).cell.tolist() == ["35 % × 2.66"]


def test_runs_that_only_choose_do_not_make_a_group_the_study():
    """A check of learning rates at a fifth of the budget, of more runs than the grid has: the grid with its claim seeds stays in front,
    of two as large groups the longer one."""
    check = pd.concat(
        [grid().assign(seed=1000, lr=lr, tokens=60_000) for lr in (1e-3, 2e-3, 3e-3, 4e-3, 5e-3)]
        + [grid().assign(tokens=60_000)]
    )
    runs = pd.concat([check, grid()], ignore_index=True)
    assert (
        len(check) == 72
        and cells_table(runs).status.eq("completed").all()
        and set(eligible_runs(runs).tokens) == {300_000}
    )


def test_a_seed_counts_once():
    """The same cell and seed in another precision: the newer run stands for both, in the mean and in what the noise floor counts."""
    again = run(
        0.35, 2.66, dev_loss=6.0, precision="bf16", run_id="again", created="2024-11-02T10:00:00"
    )
    table = cells_table(pd.concat([grid(), pd.DataFrame([again])], ignore_index=True)).set_index(
        "cell"
    )
    assert table.dev_loss["35 % × 2.66"] == 6.0 and table.n_seeds["35 % × 2.66"] == 1
    eight = pd.DataFrame([run(0.35, 2.66, dev_loss=5 + i / 100, run_id=str(i)) for i in range(8)])
    assert noise_floor(eight) is None


def test_seeds_that_only_choose_are_named_where_nothing_else_is():
    """Twelve completed runs on seed 2024 answer nothing, and the verdict says why."""
    assert "12 completed runs have seeds from 1000 on" in str(
        reach_verdict(grid().assign(seed=2024))
    )
    assert "seeds from" not in str(
        reach_verdict(grid(*(unfinished(s, g, "failed") for s, g in [(0.35, 2.66)])))
    )


def test_cells_without_a_common_seed_are_not_on_one_front():
    """Two cells on seeds 0 and 1, two far worse ones on 2 and 3: the latter have no probability, and the limits name them."""
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


# ---- arms


def test_by_payer_tells_who_pays_for_the_share():
    """Tied: width and depth; factorized: the MLP or the depth; three shares each, in order, with intervals where seeds repeat."""
    found = by_tradeoff(
        noisy(
            pd.concat(
                [grid(seeds=2), factorized("the MLP", 2), factorized("the depth", 2)],
                ignore_index=True,
            )
        )
    )
    assert found.groupby("traded_against", sort=False).size().to_dict() == {
        "width and depth": 3,
        "the MLP": 3,
        "the depth": 3,
    }
    assert all(
        part.embed_share.is_monotonic_increasing for _, part in found.groupby("traded_against")
    )
    assert (found.low < found.dev_loss).all() and (found.dev_loss < found.high).all()
    beside = found[found.difference.notna()]
    assert (
        len(beside) == 6
        and (beside.difference_low < beside.difference).all()
        and not beside.cell.str.startswith("35 %").any()
    )


def test_an_arm_keeps_its_groups_apart():
    """Two budgets, 12 cells each: 24 rows, none averaged with another, in order of the budget."""
    later = grid(seeds=2).assign(tokens=1_000_000, dev_loss=lambda rows: rows.dev_loss - 0.5)
    found = arm(noisy(pd.concat([grid(seeds=2), later], ignore_index=True)), "tokens")
    assert (
        found.tokens.tolist() == [300_000] * 12 + [1_000_000] * 12
        and found.dev_loss[:12].min() > found.dev_loss[12:].max()
    )
    assert found.cell.nunique() == 12 and (found.n_seeds == 2).all() and found.low.notna().all()


def test_an_arm_is_at_the_rates_that_all_of_it_have():
    """Where a tuning run chose another rate at one budget alone, both budgets are compared at the common one, on all its seeds."""
    short = grid(seeds=2).assign(tokens=60_000)
    tuned = pd.concat(
        [
            grid().assign(tokens=60_000, lr=1.4e-3, dev_loss=5.0),
            grid().assign(tokens=60_000, lr=1.4e-3, seed=1000, dev_loss=5.0),
        ]
    )
    found = arm(noisy(pd.concat([grid(seeds=3), short, tuned], ignore_index=True)), "tokens")
    assert (
        found.groupby("tokens").n_seeds.unique().map(list).to_dict() == {60_000: [2], 300_000: [3]}
        and found.lr.nunique() == 1
    )
    apart = arm(
        noisy(pd.concat([grid(seeds=3), short.assign(lr=1.4e-3)], ignore_index=True)), "tokens"
    )
    assert apart.groupby("tokens").lr.unique().map(list).to_dict() == {
        60_000: [1.4e-3],
        300_000: [3e-3],
    }


def test_an_arm_over_vocabularies_is_in_bits_per_byte():
    """The column of the quality is the one asked for."""
    runs = pd.concat([grid(), grid().assign(vocab_size=8192)], ignore_index=True)
    found = arm(runs, "vocab_size", "dev_bpb")
    assert (
        found.vocab_size.unique().tolist() == [4096, 8192]
        and found.dev_bpb.notna().all()
        and "dev_loss" not in found
    )


def with_curves(runs: pd.DataFrame) -> pd.DataFrame:
    """Two probes a run: 7 nats at half of its tokens, its dev_loss at the end."""
    return runs.assign(
        dev_curve=[
            [[row.tokens_trained / 2, 7.0], [row.tokens_trained, row.dev_loss]]
            for row in runs.itertuples()
        ]
    )


def test_views_compare_at_what_all_cells_reached():
    """At equal tokens all stand at their end; at equal time the fastest cell is stopped short, at the slowest one's tokens per second."""
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
    """Of four watched runs three were flagged, one of which ended below the baseline of its seed; the baseline watches nobody but others."""
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


def test_a_sweep_that_flagged_nothing_is_no_sweep_that_watched_nothing():
    """In flag mode without a flag 11 runs were watched and no rate is known; with early stop off, or from before it was recorded, none."""
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


# ---- the surface and the verdict


def test_a_surface_without_noise_is_the_truth():
    """Losses that are a quadratic of the logarithms: its minimum, its values, no lack of fit."""
    runs = grid(seeds=2)
    u, v = np.log(runs.embed_share.astype(float)), np.log(runs.glu.astype(float))
    runs["dev_loss"] = (
        5 + 0.4 * (u - math.log(0.37)) ** 2 + 0.1 * (v - math.log(2.8)) ** 2 + 0.1 * runs.seed
    )
    found = fit_surface(runs)
    assert found.optimum["embed_share"][0] == pytest.approx(0.37, rel=0.01) and found.optimum[
        "glu"
    ][0] == pytest.approx(2.8, rel=0.01)
    grid_ = found.grid(9)
    truth = 5.05 + 0.4 * np.log(grid_.embed_share / 0.37) ** 2 + 0.1 * np.log(grid_.glu / 2.8) ** 2
    assert (
        len(grid_) == 81
        and grid_.dev_loss.to_numpy() == pytest.approx(truth.to_numpy(), abs=1e-6)
        and grid_.difference.min() >= 0
    )


def test_a_shape_that_is_no_quadratic_is_a_lack_of_fit():
    """A single cell far off the surface, with little noise: the F test says so; without it, it does not."""
    runs = noisy(grid(seeds=3), 0.001)
    off = runs.assign(
        dev_loss=runs.dev_loss
        + 0.1 * ((runs.requested_share == 0.35) & (runs.requested_glu == 3.0))
    )
    flat = noisy(grid(seeds=3).assign(dev_loss=5.0), 0.01, seed=3)
    assert (
        "does not describe these cells (lack of fit, p < 0.001): no optimum is reported"
        in fit_surface(off).text
        and set(fit_surface(off).optimum.values()) == {None}
    )
    assert fit_surface(off).lack_of_fit_p < 1e-6 and fit_surface(flat).lack_of_fit_p > 0.01


def test_flat_data_do_not_tell_an_optimum():
    """Noise alone: no interval for either axis, and the words for that."""
    found = fit_surface(noisy(grid(seeds=3).assign(dev_loss=5.0), 0.01, seed=3))
    assert (
        found.optimum == {"embed_share": None, "glu": None}
        and found.text.count("not distinguishable") == 2
        and "lack of fit" not in found.text
    )


def test_a_slope_has_its_optimum_at_or_beyond_the_edge():
    """Loss that falls with the share all the way: the interval starts at the largest share and is open."""
    runs = grid(seeds=3)
    falling = noisy(
        runs.assign(
            dev_loss=5
            - 0.5 * np.log(runs.embed_share.astype(float))
            + 0.2 * np.log(runs.glu.astype(float) / 2.8) ** 2
        ),
        0.001,
    )
    best, low, high = fit_surface(falling).optimum["embed_share"]
    assert (
        best == pytest.approx(runs.embed_share.max())
        and high == math.inf
        and "at or beyond 48 %" in fit_surface(falling).text
    )


def test_an_open_interval_that_starts_within_the_range_claims_its_bound_alone():
    """The fit's lowest point at the edge is no optimum that was found: only the bound is said of it."""
    said = describe_optimum(
        {"embed_share": (0.45, 0.29, math.inf)}, {"embed_share": (0.24, 0.45)}, 3
    )
    assert (
        said
        == "The fitted loss is lowest at the edge, 45 %; the best embedding share is at least 29 % (95 % confidence)."
    )


def test_a_sweep_of_one_axis_has_a_surface_of_it():
    """Three shares at one expansion, three seeds: an optimum of the share, none of the expansion; of too few runs, no surface."""
    sweep = grid(seeds=3)[lambda rows: rows.requested_glu == 2.66].assign(glu=2.66)
    found = fit_surface(noisy(sweep))
    assert (
        found.axes == ("embed_share",)
        and found.optimum["glu"] is None
        and len(found.grid(5)) == 5
        and "GLU" not in found.text
    )
    assert fit_surface(sweep[sweep.seed == 0]) is None and fit_surface(empty()) is None


def test_an_axis_that_varies_is_never_left_out():
    """Four cells whose expansion falls as the share grows, too few for both axes: no surface, rather than the expansion's effect as the share's."""
    few = pd.DataFrame(
        [
            run(share, glu, seed)
            for share, glu in ((0.25, 4.0), (0.35, 3.0), (0.35, 2.66), (0.45, 2.0))
            for seed in range(3)
        ]
    )
    assert fit_surface(noisy(few)) is None


def test_the_verdict_names_the_interval_the_seeds_and_the_noise():
    """With repeated seeds nothing is left to a rule of thumb: the difference to the baseline with its interval, the cells that may be the
    best, seeds and noise."""
    runs = noisy(
        grid(*[run(0.45, 4.0, seed, dev_loss=5.1 + 0.003 * seed) for seed in range(3)], seeds=3)
    )
    found = reach_verdict(runs)
    assert found.best == "45 % × 4" and found.close == ("45 % × 4",) and found.n_seeds == 3
    for words in (
        "better than the baseline, 35 % × 2.66 (simultaneous 95 % CI [",
        "Every other cell is distinguishably worse",
        "3 seeds a cell",
        "share is width",
    ):
        assert words in str(found)


def test_the_verdict_says_of_each_share_and_expansion_what_the_main_effects_do():
    """A level whose interval leaves out zero is above or below the baseline's, by so much; the others are not distinguishable from it."""
    runs = noisy(
        grid(seeds=3).assign(
            dev_loss=lambda rows: (
                5.0 + 0.05 * (rows.requested_share == 0.25) - 0.03 * (rows.requested_glu == 4.0)
            )
        ),
        0.003,
    )
    found, said = main_effects(runs).set_index("level"), str(reach_verdict(runs))
    share, glu = found.loc[0.25], found.loc[4.0]
    assert (
        f"Averaged over GLU expansions, a 25 % share is {share.difference:.3f} nats worse than 35 % "
        f"(95 % CI [{share.low:.3f}, {share.high:.3f}]); 45 % is not distinguishable (["
    ) in said
    assert (
        f"Averaged over shares, an expansion of 4 is {-glu.difference:.3f} nats better than 2.66 "
        f"(95 % CI [{-glu.high:.3f}, {-glu.low:.3f}]); 2 and 3 are not distinguishable (["
    ) in said
    sweep = noisy(grid(seeds=3).query("requested_glu == 2.66"))
    assert fit_surface(sweep).text.rstrip(".") in str(reach_verdict(sweep))


def test_what_the_noise_may_explain_is_said():
    """Cells that differ by noise alone: the lowest one is named, with all that may be the best."""
    found = reach_verdict(noisy(grid(seeds=3).assign(dev_loss=5.0), 0.01, seed=4))
    assert (
        len(found.close) == 12
        and "12 of 12 cells may be the best" in str(found)
        and "It is not distinguishable from the baseline, 35 % × 2.66: " in str(found)
    )


def test_a_rate_check_is_of_the_claims_own_recipe():
    """The gain of a cell is what its best tried rate was below its claim's; a rate that diverged is the worst; runs of another corpus,
    recipe or size say nothing, nor does a cell that did not try its claim's rate."""
    tuning = lambda share, lr, loss, **changed: run(share, 2.66, 1000, lr, dev_loss=loss, **changed)
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
    """The mean of the largest of five normal draws is 1.163 standard deviations (Harter 1961), of three 0.846; over 80 cells of equal
    rates the gains that rate_check finds have the mean and the maximum that it says of chance."""
    one = lambda count: pd.DataFrame({"tried": [tuple(range(count))], "seeds": [(1000,)]})
    assert [by_chance(one(count), 1.0)[0] for count in (5, 3)] == pytest.approx(
        [1.163, 0.846], abs=0.05
    )
    draw = np.random.default_rng(0)
    cells = [(share, glu) for share in np.linspace(0.2, 0.6, 40) for glu in (2.0, 4.0)]
    claimed = [run(*cell, seed) for cell in cells for seed in (0, 1)]
    tried = [
        run(*cell, 1000, lr, dev_loss=5 + 0.01 * draw.standard_normal())
        for cell in cells
        for lr in (1e-3, 2e-3, 3e-3, 4e-3, 5e-3)
    ]
    check = rate_check(pd.DataFrame(claimed + tried))
    mean, most = by_chance(check, 0.01)
    assert (
        len(check) == 80
        and check.gain.mean() == pytest.approx(mean, rel=0.25)
        and check.gain.max() == pytest.approx(most, rel=0.4)
    )


def test_rates_are_compared_on_the_seeds_that_all_of_them_have():
    """One rate has a second tuning seed with low losses: on the seed that both have it is the worse one, so nothing was to gain."""
    tuning = [
        run(0.35, 2.66, seed, lr, dev_loss=loss)
        for seed, lr, loss in ((1000, 3e-3, 5.20), (1000, 6e-3, 5.25), (1001, 6e-3, 5.00))
    ]
    runs = pd.DataFrame([run(0.35, 2.66, seed) for seed in (0, 1)] + tuning)
    assert rate_check(runs).gain.item() == 0


def test_the_edge_is_that_of_the_best_rate_tried():
    """Tried at three rates: best in the middle, no edge, though the claim is at the lowest; best at the highest, an edge, though it is in the middle."""
    claim = [run(0.35, 2.66, seed) for seed in (0, 1)]  # at 3e-3
    tried = lambda rates, losses: cells_table(
        pd.DataFrame(
            claim + [run(0.35, 2.66, 1000, lr, dev_loss=loss) for lr, loss in zip(rates, losses)]
        )
    ).lr_at_edge.item()
    assert not tried((3e-3, 4e-3, 5e-3), (5.3, 5.2, 5.3)) and tried(
        (2e-3, 3e-3, 4e-3), (5.3, 5.2, 5.1)
    )


def test_one_cell_with_many_seeds_gives_the_others_no_interval():
    """A grid of one seed beside eight more of the baseline: only the baseline has an interval, and no sentence says that no seed repeats."""
    runs = pd.concat(
        [grid(), pd.DataFrame([run(0.35, 2.66, seed) for seed in range(1, 9)])], ignore_index=True
    )
    found = means(runs).set_index("cell")
    assert found.low.notna().sum() == 1 and pd.notna(found.low["35 % × 2.66"])
    assert "No two cells have two seeds in common" in str(
        certainty(runs)
    ) and "no two cells with two seeds in common" in str(reach_verdict(runs))


def test_old_runs_do_not_count_as_watched():
    """Runs that recorded nothing but their flags: how many of them were flagged is known, of how many watched ones is not."""
    runs = grid().assign(early_stop=None, flagged_at_tokens=[1e5] * 3 + [None] * 9)
    assert wrong_kills(runs)["watched"] is None and wrong_kills(runs)["flagged"] == 3


def test_an_arm_keeps_a_cell_at_its_own_rate_where_the_others_have_no_run_of_it():
    """Tied cells of 25 % at a rate of their own, untied ones of 35 % only: the tied cell stays, at its rate; tuning runs of another budget change nothing."""
    tied = [
        run(share, 2.66, seed, lr) for share, lr in ((0.25, 1e-3), (0.35, 3e-3)) for seed in (0, 1)
    ]
    untied = [run(0.35, 2.66, seed, 3e-3, embedding="untied") for seed in (0, 1)]
    runs = pd.DataFrame(tied + untied)
    found = arm(runs, "embedding")
    assert len(found) == 3 and set(found.n_seeds) == {2}
    tuning = pd.DataFrame([run(0.35, 2.66, 1000, 6e-3, tokens=1e5)])
    assert (
        arm(pd.concat([runs, tuning], ignore_index=True), "embedding").dev_loss.tolist()
        == found.dev_loss.tolist()
    )
