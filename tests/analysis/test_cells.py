"""Only what was trained to the end, and compares, is averaged; what is missing is counted."""

import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import broken_grid, factorized, grid, noisy, run, screened_grid, unfinished

from paramalloc.analysis import (
    baseline_cell,
    cells_table,
    comparable,
    comparable_groups,
    differences,
    eligible_runs,
    front_table,
    main_effects,
    noise_floor,
    pareto_front,
    reach_verdict,
    screened_out,
)


def test_means_equal_a_computation_by_hand():
    """dev_loss, dev_ppl and dev_bpb are means over seeds, tokens_per_s is the geometric mean."""
    seeds = [(0, 5.0, 1.0), (1, 5.2, 2.0), (2, 5.3, 9.0)]
    runs = pd.DataFrame(
        [run(0.35, 2.66, seed, dev_loss=loss, tokens_per_s=speed) for seed, loss, speed in seeds]
    )
    cell = cells_table(runs).iloc[0]
    assert cell.dev_loss == pytest.approx((5.0 + 5.2 + 5.3) / 3)
    assert cell.dev_ppl == pytest.approx((math.exp(5.0) + math.exp(5.2) + math.exp(5.3)) / 3)
    assert cell.tokens_per_s == pytest.approx((1.0 * 2.0 * 9.0) ** (1 / 3))
    assert (cell.n_seeds, cell.status) == (3, "completed")


@pytest.mark.parametrize("luck", [-0.3, 0.3])
def test_more_seeds_of_the_baseline_move_no_rank(luck):
    """45 % × 4 is 0.02 better than all others on three seeds; the baseline has six more, all lucky
    or all unlucky. Table, front and verdict hold what the paired differences hold, in every
    quality, and the baseline counts as it did without them.
    """
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
    """Seeds 0 and 1 here, 2 and 3 there: nothing links the cells, so nothing is adjusted; a chain
    of seeds does link them.
    """
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


@pytest.mark.parametrize("status", ["diverged", "failed", "missing"])
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
        "diverged",
        "failed",
        "missing",
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


def test_a_killed_seed_is_counted_beside_the_completed_ones():
    """Two completed seeds and a killed one, on which nothing else was trained: both numbers are
    there, and the cell is compared on the seeds on which all are whole.
    """
    killed = unfinished(0.45, 4.0, "stopped_early", 100_000, seed=2)
    table = cells_table(
        pd.concat([grid(seeds=2), pd.DataFrame([killed])], ignore_index=True)
    ).set_index("cell", drop=False)
    assert tuple(table.loc["45 % × 4", ["n_seeds", "n_stopped", "status"]]) == (2, 1, "completed")
    assert (
        screened_out(table) == []
        and screened_out(cells_table(grid())) == []
        and screened_out(cells_table(screened_grid())) == ["25 % × 4"]
    )


def test_a_diverged_seed_is_counted_and_the_verdict_says_it():
    """Two seeds of the lowest cell completed, one diverged: counted, and the best only with these
    words.
    """
    best = [run(0.45, 4.0, seed, dev_loss=4.9) for seed in range(2)]
    runs = grid(*best, unfinished(0.45, 4.0, "diverged", 100_000, seed=2), seeds=2)
    table = cells_table(runs).set_index("cell", drop=False)
    assert tuple(table.loc["45 % × 4", ["n_seeds", "n_diverged", "status"]]) == (2, 1, "completed")
    assert "1 of its 3 runs diverged" in str(reach_verdict(runs)) and "diverged" not in str(
        reach_verdict(grid(*best, seeds=2))
    )


def test_a_cell_that_was_only_tuned_is_missing():
    """Tuning runs alone make no claim: the cell is there, its status missing, its loss NaN."""
    cell = cells_table(pd.DataFrame([run(0.35, 2.66, 1000)])).iloc[0]
    assert cell.n_missing == cell.n_failed == 0
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
    """What trains differently is not ranked in one table; what old runs did not record is the
    default.
    """
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
    """Runs that recorded 45 % × 4 are compared with it, in the table, differences, effects and
    words; where they disagree, the most frequent one counts; where none is recorded, the default
    does.
    """
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
    """A check of learning rates at a fifth of the budget, of more runs than the grid has: the grid
    with its claim seeds stays in front, of two as large groups the longer one.
    """
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


def test_of_equal_groups_the_corpus_decides():
    """Whatever else differs, so that the ranking does not depend on the order of the columns."""
    first = grid().assign(data_fingerprint="a", mlp="swiglu")
    second = grid().assign(data_fingerprint="b", mlp="gelu")
    for runs in ([first, second], [second, first]):
        table = cells_table(pd.concat(runs, ignore_index=True))
        assert set(table.data_fingerprint) == {"a"}


def test_a_seed_counts_once():
    """The same cell and seed in another precision: the newer run stands for both, in the mean and
    in what the noise floor counts.
    """
    again = run(
        0.35, 2.66, dev_loss=6.0, precision="bf16", run_id="again", created="2024-11-02T10:00:00"
    )
    table = cells_table(pd.concat([grid(), pd.DataFrame([again])], ignore_index=True)).set_index(
        "cell"
    )
    assert table.dev_loss["35 % × 2.66"] == 6.0 and table.n_seeds["35 % × 2.66"] == 1
    eight = pd.DataFrame([run(0.35, 2.66, dev_loss=5 + i / 100, run_id=str(i)) for i in range(8)])
    assert noise_floor(eight) is None
