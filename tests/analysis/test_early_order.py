"""How early the order of the cells was known is counted over pairs; few seeds claim little."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import empty, grid, noisy, run, unfinished
from scipy import stats

from paramalloc.analysis import NO_COMPARISON, early_order, fit, other_seeds, tokens_until_known
from paramalloc.analysis.comparisons import distinguishable_pairs, may_be_best
from paramalloc.plots import order_by_budget
from paramalloc.report import how_early
from paramalloc.report.published import read_published

PROBES = (30_000, 60_000, 150_000, 300_000)


def probed(runs: pd.DataFrame, losses) -> pd.DataFrame:
    """The runs with `losses` (N, 4) at PROBES."""
    curves = [[[t, float(loss)] for t, loss in zip(PROBES, row, strict=True)] for row in losses]
    return runs.assign(dev_curve=curves)


def scattered(seeds: int = 3, seed: int = 0) -> pd.DataFrame:
    """A noisy grid whose probes scatter less and less around the final losses."""
    runs = noisy(grid(seeds=seeds), 0.004, seed)
    noise = np.random.default_rng(seed).normal(0, [0.03, 0.02, 0.01, 0.002], (len(runs), 4))
    return probed(runs, runs.dev_loss.to_numpy()[:, None] + [1.5, 1.0, 0.4, 0.0] + noise)


def rows_of(table: pd.DataFrame, source: str = "cut short", pairs: str = "all") -> pd.DataFrame:
    return table[(table.source == source) & (table.pairs == pairs)].reset_index(drop=True)


def cell_means(runs: pd.DataFrame, values) -> dict:
    """Plain means by request, of runs with equal seeds."""
    request = [runs.requested_share, runs.requested_glu]
    return pd.Series(np.asarray(values, float), runs.index).groupby(request).mean().to_dict()


def brute_force(final: dict, early: dict) -> tuple[int, int]:
    """(pairs that differ in the end, how many of them have that order early)."""
    counted = right = 0
    for a, b in combinations(final, 2):
        if final[a] != final[b]:
            counted += 1
            right += (final[a] - final[b]) * (early[a] - early[b]) > 0
    return counted, right


# ---------------------------------------------------------------- the count


@pytest.mark.parametrize("seed", range(3))
def test_the_share_is_a_count_over_pairs(seed):
    """At each probe: pairs whose mean losses have the order of the final means, by brute force."""
    runs = scattered(seed=seed)
    table = rows_of(early_order(runs))
    final = cell_means(runs, runs.dev_loss)
    assert table.tokens.tolist() == list(PROBES)
    assert table.fraction.to_numpy() == pytest.approx(np.array(PROBES) / 300_000)
    for n, row in table.iterrows():
        early = cell_means(runs, [curve[n][1] for curve in runs.dev_curve])
        assert (row.n_pairs, row.right) == brute_force(final, early)
        assert row.share == row.right / row.n_pairs


def test_the_interval_is_that_of_the_jackknife_s_pseudo_values():
    """t over seeds, of n times the share less n - 1 times that without the seed; within 0 and 1."""
    runs = scattered()
    final = cell_means(runs, runs.dev_loss)

    def share(part: pd.DataFrame, n: int) -> float:
        counted, right = brute_force(final, cell_means(part, [c[n][1] for c in part.dev_curve]))
        return right / counted

    for n, row in rows_of(early_order(runs)).iterrows():
        pseudo = [3 * share(runs, n) - 2 * share(runs[runs.seed != s], n) for s in range(3)]
        if np.ptp(pseudo) < 1e-9:
            assert math.isnan(row.low) and math.isnan(row.high)
            continue
        low, high = stats.t.interval(0.95, 2, np.mean(pseudo), stats.sem(pseudo))
        half = (high - low) / 2
        assert row.low == pytest.approx(max(row.share - half, 0))
        assert row.high == pytest.approx(min(row.share + half, 1))


@pytest.mark.parametrize("sign, share", [(1, 1), (-1, 0)])
def test_a_known_order(sign, share):
    """Probes in the final order have every pair right, in the reverse order none."""
    runs = grid(seeds=2)  # seeds shift all cells alike
    losses = 6 + sign * (runs.dev_loss.to_numpy()[:, None] - 5) + np.zeros(4)
    table = early_order(probed(runs, losses))
    n_pairs = brute_force(*2 * [cell_means(runs, runs.dev_loss.round(9))])[0]
    assert rows_of(table).n_pairs.tolist() == [n_pairs] * 4
    assert rows_of(table).share.tolist() == [share] * 4
    assert rows_of(table).low.isna().all()  # without a scatter over seeds there is no interval
    known = tokens_until_known(table)
    assert known == PROBES[0] if share else math.isnan(known)


def test_ties():
    """Cells that are equal in the end have no order; equal at a probe, they have not the final."""
    rows = [run(0.25, 2.0, dev_loss=5.0), run(0.35, 2.0, dev_loss=5.0), run(0.45, 2.0, dev_loss=4)]
    runs = probed(pd.DataFrame(rows), [[6, 6, 6, 5], [6, 5, 5, 5], [6, 5, 4, 4]])
    table = rows_of(early_order(runs))
    assert table.n_pairs.tolist() == [2] * 4
    assert table.right.tolist() == [0, 1, 2, 2]


def test_curves_with_other_probes_are_read_in_between():
    """Budgets are those that all runs reached, and none beyond the first or the last probe."""
    rows = [run(0.25, 2.0, dev_loss=5.0), run(0.45, 2.0, dev_loss=4.0)]
    curves = [[[100_000, 7], [300_000, 5]], [[50_000, 7], [150_000, 6.4], [250_000, 4]]]
    table = rows_of(early_order(pd.DataFrame(rows).assign(dev_curve=curves)))
    assert table.tokens.tolist() == [100_000]
    assert table.right.tolist() == [1]  # 6.7 against 7


# ---------------------------------------------------------------- what is distinguishable


def test_the_distinguishable_pairs_are_those_that_rule_cells_out():
    """No pair of cells that may be the best is among them; each ruled out cell is worse in one."""
    model = fit(scattered().assign(cell=lambda runs: runs.requested_share.astype(str)))
    pairs, best = distinguishable_pairs(model), set(may_be_best(model))
    assert pairs
    assert {worse for _, worse in pairs} == set(model.cells) - best
    effect = dict(zip(model.cells, model.effect, strict=True))
    assert all(effect[better] < effect[worse] for better, worse in pairs)


def test_the_order_is_known_only_where_it_stays_known():
    """From 95 % on that hold at all further budgets; never where the last one has fewer."""
    shares = [0.96, 0.9, 0.95, 1.0]
    rows = pd.DataFrame({"pairs": "distinguishable", "tokens": PROBES, "share": shares})
    assert tokens_until_known(rows) == 150_000
    assert math.isnan(tokens_until_known(rows.assign(share=[1.0, 1.0, 1.0, 0.94])))
    assert math.isnan(tokens_until_known(rows.assign(pairs="all")))


# ---------------------------------------------------------------- separate runs


def test_separate_runs_count_at_the_rates_of_the_grid():
    """Shorter runs on a seed that only chooses; those at another rate, or longer, do not count."""
    whole = noisy(grid(seeds=3), 0.004)
    short = noisy(grid(), 0.01, seed=5).assign(seed=1000, tokens=60_000)
    other = short.assign(lr=6e-3, dev_loss=7 - short.dev_loss)
    longer = short.assign(tokens=600_000, seed=0).head(3)
    table = early_order(pd.concat([whole, short, other, longer], ignore_index=True))
    [row] = rows_of(table, "separate").itertuples()
    assert (row.tokens, row.fraction, row.n_seeds) == (60_000, 0.2, 1) and math.isnan(row.low)
    final, early = cell_means(whole, whole.dev_loss), cell_means(short, short.dev_loss)
    assert (row.n_pairs, row.right) == brute_force(final, early)
    assert len(rows_of(table)) == 0  # nothing recorded its probes


def test_separate_runs_on_several_seeds_have_an_interval():
    """An arm of three cells: three pairs, of which the shorter runs may get some wrong."""
    whole = noisy(grid(seeds=3), 0.004)
    short = noisy(grid(seeds=3), 0.05, seed=3).assign(tokens=60_000)
    short = short[short.requested_glu == 2.66]
    table = early_order(pd.concat([whole, short], ignore_index=True))
    [row] = rows_of(table, "separate").itertuples()
    final, early = cell_means(whole, whole.dev_loss), cell_means(short, short.dev_loss)
    assert (row.n_pairs, row.right) == brute_force({cell: final[cell] for cell in early}, early)
    assert row.n_seeds == 3


def test_whole_runs_of_a_seed_are_judged_by_the_others():
    """Each seed's losses against the means of the other seeds, by brute force."""
    runs = scattered()
    for row in other_seeds(runs).itertuples():
        alone = runs.seed == row.seed
        rest = cell_means(runs[~alone], runs.dev_loss[~alone])
        early = cell_means(runs[alone], runs.dev_loss[alone])
        assert (row.n_pairs, row.right) == brute_force(rest, early)
    assert len(other_seeds(runs)) == 3
    assert other_seeds(grid()).empty


# ---------------------------------------------------------------- what is not known


def test_one_seed_claims_nothing():
    """Its order is counted; without an interval, and no budget is named."""
    runs = scattered(seeds=1)
    table = early_order(runs)
    assert len(rows_of(table)) == 4 and table.low.isna().all() and table.high.isna().all()
    assert set(table.pairs) == {"all"} and math.isnan(tokens_until_known(table))
    text = how_early(runs)
    assert "1 seed: no interval" in text and "no budget is named" in text
    assert "CI" not in text


@pytest.mark.parametrize("runs", [empty(), grid(seeds=2), scattered().head(3)])
def test_without_smaller_budgets_nothing_is_said(runs):
    """No runs, no probes, or one cell alone: no rows, no words, and a note for the chart."""
    assert early_order(runs).empty and how_early(runs) == ""
    assert isinstance(order_by_budget(runs), str)


def test_a_sweep_with_kills_says_nothing():
    """Early stop decided by the probes which runs have an end: they cannot be judged by it."""
    killed = unfinished(0.25, 4.0, "stopped_early", 150_000)
    runs = pd.concat([scattered(), pd.DataFrame([killed])], ignore_index=True)
    runs = runs.assign(early_stop="kill")
    assert early_order(runs).empty and how_early(runs) == ""
    assert order_by_budget(runs) == NO_COMPARISON
    short = noisy(grid(), 0.01).assign(tokens=60_000, seed=1000)
    short.loc[3, ["status", "dev_loss"]] = ["stopped_early", None]
    runs = pd.concat([scattered(), short], ignore_index=True)
    assert set(early_order(runs).source) == {"cut short"}


# ---------------------------------------------------------------- the published rows


def test_the_published_orders():
    """As found by an independent analysis: 62 of 66 pairs at 20 % of the same runs, 54 of 66 by
    separate runs; all 32 pairs of a 25 % cell with another share are right in both.
    """
    table = early_order(read_published())
    row = rows_of(table)[lambda rows: rows.fraction.between(0.19, 0.21)].iloc[0]
    assert (row.right, row.n_pairs) == (62, 66)
    [short] = rows_of(table, "separate").itertuples()
    assert (short.tokens, short.right, short.n_pairs) == (1_000_000, 54, 66)
    [clear] = rows_of(table, "separate", "distinguishable").itertuples()
    assert clear.right == clear.n_pairs >= 32
    assert other_seeds(read_published()).right.tolist() == [54, 48, 55]
