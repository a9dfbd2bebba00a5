"""The Pareto front is its definition; only what was trained to the end is averaged; one seed proves nothing."""

import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import broken_grid, empty, grid, run, unfinished
from hypothesis import given
from hypothesis import strategies as st

from paramalloc.analyze import cells_table, comparable, front_table, pareto_front, verdict

VALUES = st.one_of(st.integers(0, 5).map(float), st.just(math.nan))  # few values, so that ties are common


def dominates(a, b, sense):
    """a is at least as good as b in cost and quality, and better in one."""
    cost = a[0] >= b[0] if sense == "more" else a[0] <= b[0]
    return cost and a[1] <= b[1] and (a[0] != b[0] or a[1] != b[1])


@given(st.lists(st.tuples(VALUES, VALUES), max_size=12), st.sampled_from(["more", "less"]))
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


def test_front_table_trades_loss_for_cost():
    """From the lowest loss on, every further cell of the front is faster."""
    front = front_table(cells_table(grid()), "tokens_per_s")
    assert front.dev_loss.is_monotonic_increasing and front.tokens_per_s.is_monotonic_increasing and len(front) > 1


def test_means_equal_a_computation_by_hand():
    """dev_loss, dev_ppl and dev_bpb are means over seeds, tokens_per_s is the median."""
    seeds = [(0, 5.0, 1.0), (1, 5.2, 2.0), (2, 5.3, 9.0)]
    runs = pd.DataFrame([run(0.35, 2.66, seed, dev_loss=loss, tokens_per_s=speed) for seed, loss, speed in seeds])
    cell = cells_table(runs).iloc[0]
    assert cell.dev_loss == pytest.approx((5.0 + 5.2 + 5.3) / 3)
    assert cell.dev_ppl == pytest.approx((math.exp(5.0) + math.exp(5.2) + math.exp(5.3)) / 3)
    assert (cell.tokens_per_s, cell.n_seeds, cell.status) == (2.0, 3, "completed")


def test_best_lr_has_the_lowest_mean_not_the_luckiest_seed():
    """1e-3 holds the single best run, 3e-3 the better mean."""
    losses = {(1e-3, 0): 5.0, (1e-3, 1): 5.6, (3e-3, 0): 5.1, (3e-3, 1): 5.1}
    runs = [run(0.35, 2.66, seed, lr, dev_loss=loss) for (lr, seed), loss in losses.items()]
    cell = cells_table(pd.DataFrame(runs)).iloc[0]
    assert cell.lr == 3e-3 and cell.dev_loss == pytest.approx(5.1) and cell.n_seeds == 2


@pytest.mark.parametrize("status", ["stopped_early", "diverged", "failed", "missing"])
def test_an_unfinished_run_is_never_averaged_in(status):
    """Even with a loss on record, a run that did not complete changes no mean."""
    runs = pd.DataFrame([run(0.35, 2.66, dev_loss=5.0), run(0.35, 2.66, 1, dev_loss=4.0, status=status)])
    cell = cells_table(runs).iloc[0]
    assert cell.dev_loss == 5.0 and cell.n_seeds == 1 and len(cell.run_ids) == 1


def test_unfinished_cells_are_nan_and_on_no_front():
    """All 12 cells stay in the table, the four without a loss as NaN and with their status."""
    table = cells_table(broken_grid())
    without = table[table.dev_loss.isna()]
    assert len(table) == 12 and sorted(without.status) == ["diverged", "failed", "missing", "stopped_early"]
    assert without.tokens_per_s.isna().all() and (without.n_seeds == 0).all()
    assert not pareto_front(table, "tokens_per_s")[without.index].any()


def test_a_missing_seed_belongs_to_its_cell():
    """A run that never got a shape does not open a second row."""
    shapeless = dict.fromkeys(["d_model", "n_layers", "d_ff", "n_heads", "d_head", "total_params", "data_fingerprint"])
    runs = pd.DataFrame([run(0.35, 2.66), unfinished(0.35, 2.66, "missing", **shapeless)])
    assert len(cells_table(runs)) == 1


OTHERS = [{"data_fingerprint": "f2"}, {"tokens": 1_000_000}, {"total_params": 10_000_000}, {"embedding": "untied"}]


@pytest.mark.parametrize("changed", OTHERS)
def test_what_does_not_compare_is_left_out(changed):
    """Another corpus, budget, size or embedding never meets the grid in one table."""
    runs = pd.concat([grid(), pd.DataFrame([run(0.35, 2.66, dev_loss=1.0, **changed)])], ignore_index=True)
    assert len(comparable(runs)) == 12 and cells_table(runs).dev_loss.min() > 5


def test_verdict_gaps_are_differences_of_dev_loss():
    """The gaps are nats per token to the next cell and to the baseline."""
    table = cells_table(grid())
    losses = np.sort(table.dev_loss)
    found = verdict(grid())
    assert found.best == "35 % × 3" and found.next_gap == pytest.approx(losses[1] - losses[0])
    base = table[(table.requested_share == 0.35) & (table.requested_glu == 2.66)].dev_loss.item()
    assert found.baseline_gap == pytest.approx(base - losses[0])
    assert found.n_close == int((losses <= losses[0] + 0.02).sum())


def test_one_seed_is_called_one_seed():
    """With one seed the verdict speaks of seed noise, counts the close cells, and says that share is width."""
    found = verdict(grid())
    for words in ("may be seed noise", f"{found.n_close} of 12 cells", "share is width"):
        assert words in str(found)
    assert "may be seed noise" not in str(verdict(grid(seeds=3)))


def test_the_lowest_loss_of_some_is_not_the_lowest_of_all():
    """With cells missing, the verdict says of how many completed cells it speaks."""
    assert str(verdict(broken_grid())).startswith("Of the 8 completed cells (12 in all)")


def test_nothing_to_judge_is_said():
    """No runs, no completed run, one cell: each has its sentence and no gap."""
    assert "no runs yet" in str(verdict(empty()))
    assert "no answer yet" in str(verdict(pd.DataFrame([unfinished(0.35, 2.66, "missing")])))
    alone = verdict(pd.DataFrame([run(0.35, 2.66)]))
    assert "One cell" in str(alone) and alone.next_gap is None
