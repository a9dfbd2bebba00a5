"""The cell + seed model against textbooks and other programs, and what it promises."""

import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import BASELINE_SEEDS, SEEDS, design, draw_losses, grid, noisy, run
from scipy import stats

from paramalloc.analysis import (
    Floor,
    cells_table,
    differences,
    eligible_runs,
    estimate_noise,
    fit,
    main_effects,
    means,
    noise_floor,
    views,
)
from paramalloc.analysis.comparisons import (
    compare_with,
    critical_value,
    draw_t,
    estimate_contrasts,
    may_be_best,
    step_down,
)
from paramalloc.analysis.noise import satterthwaite
from paramalloc.analysis.surface import fit_over
from paramalloc.analysis.variances import CELL_PRIOR, SHARE_PRIOR, cell_variances


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    return design()


def test_main_effects_of_a_whole_grid_are_differences_of_plain_means():
    """Balanced seeds: the mean of a share's runs less that of the baseline share's, and of an
    expansion's runs; with a hole in the grid the pairs that are left; without a second seed no
    interval.
    """
    runs = noisy(grid(seeds=3), 0.01)
    found = main_effects(runs)

    def at(column, level):
        return runs.dev_loss[runs[column] == level].mean()

    expected = [at("requested_share", s) - at("requested_share", 0.35) for s in (0.25, 0.45)] + [
        at("requested_glu", g) - at("requested_glu", 2.66) for g in (2.0, 3.0, 4.0)
    ]
    assert list(found.level) == [0.25, 0.45, 2.0, 3.0, 4.0] and list(found.n_pairs) == [
        4,
        4,
        3,
        3,
        3,
    ]
    assert found.difference.to_list() == pytest.approx(expected)
    holed = main_effects(runs[~((runs.requested_share == 0.25) & (runs.requested_glu < 3))])
    assert list(holed.n_pairs) == [2, 4, 2, 2, 2]
    assert main_effects(grid()).low.isna().all() and main_effects(grid().head(2)).empty


def test_balanced_data_give_the_two_way_analysis_of_variance():
    """sigma^2 is the error mean square of the textbook's two-way table, and a mean's variance is
    (MS_seed + (C - 1) MS_error) / (C n).
    """
    generator = np.random.default_rng(5)
    y = generator.normal(5, 0.01, (12, SEEDS)) + generator.normal(0, 0.02, SEEDS)
    runs = grid(seeds=SEEDS).assign(dev_loss=y.ravel())
    left = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    ms_error = (left**2).sum() / (11 * (SEEDS - 1))
    ms_seed = 12 * ((y.mean(axis=0) - y.mean()) ** 2).sum() / (SEEDS - 1)
    model, found = fit(eligible_runs(runs)), estimate_noise(runs)
    assert (
        found.sigma == pytest.approx(math.sqrt(ms_error))
        and found.df == 22
        and (found.n_cells, found.n_seeds) == (12, SEEDS)
    )
    assert found.sigma_seed**2 == pytest.approx((ms_seed - ms_error) / 12)
    assert model.total / SEEDS == pytest.approx((ms_seed + 11 * ms_error) / (12 * SEEDS))
    df = (ms_seed + 11 * ms_error) ** 2 / (
        ms_seed**2 / 2 + (11 * ms_error) ** 2 / 22
    )  # Satterthwaite by hand
    assert model.total_df == pytest.approx(df)


def test_unbalanced_differences_are_those_of_a_regression_on_dummies(study):
    """With runs missing here and there: coefficients of ordinary least squares, and their errors
    when each cell has a variance of its own (White 1980): those of the model, the baseline's at
    least.
    """
    runs = (
        draw_losses(study, 5.0, np.random.default_rng(6))
        .drop(index=[0, 7, 20])
        .reset_index(drop=True)
    )
    model = fit(runs)
    base = model.cells.index("35 % × 2.66")
    dummies = pd.get_dummies(runs.cell, dtype=float)[model.cells].drop(columns=model.cells[base])
    x = np.column_stack([dummies, pd.get_dummies(runs.seed, dtype=float)])
    beta, rss, rank, _ = np.linalg.lstsq(x, runs.dev_loss.to_numpy(float))
    others = np.delete(np.arange(len(model.cells)), base)
    unit = np.eye(len(model.cells))
    difference, covariance, df = estimate_contrasts(model, (unit - unit[base])[others])
    assert difference == pytest.approx(beta[: len(others)])
    variance = np.diag(model.variance[model.cell])
    inverse = np.linalg.inv(x.T @ x)
    expected = (inverse @ x.T @ variance @ x @ inverse)[: len(others), : len(others)]
    assert covariance == pytest.approx(expected) and df.max() <= len(runs) - rank == model.df
    assert model.sigma2 == pytest.approx(rss[0] / model.df)
    table = compare_with(model, base)
    width = stats.t.ppf(0.975, df) * np.sqrt(np.diag(covariance))
    assert table.difference.to_numpy() == pytest.approx(difference)
    assert ((table.high - table.low) / 2 >= width - 1e-12).all()


def test_the_largest_t_is_adjusted_as_scipy_does_dunnetts_test():
    """One-way data: the first step of the step-down procedure is Dunnett's test; later steps are
    never stricter.
    """
    generator = np.random.default_rng(7)
    control, others = (
        generator.normal(0, 1, 6),
        [generator.normal(shift, 1, 6) for shift in (0.5, 1.5, 1.0, 0.0)],
    )
    theirs = stats.dunnett(*others, control=control, random_state=8)
    covariance = (np.eye(4) + 1) / 6
    ours = step_down(theirs.statistic, covariance, np.full(4, 25.0))
    worst = np.argmax(abs(theirs.statistic))
    assert ours[worst] == pytest.approx(theirs.pvalue[worst], abs=0.01)
    assert (ours <= theirs.pvalue + 0.01).all() and (
        np.diff(ours[np.argsort(-abs(theirs.statistic))]) >= 0
    ).all()


def test_uncorrelated_tests_are_adjusted_as_by_holm_and_sidak():
    """Without correlation, step k of m has p = 1 - (1 - p_k)^(m - k), never below the last."""
    t = np.array([2.9, 2.0, 2.5, 0.3])
    ordered = np.sort(2 * stats.norm.sf(t))
    expected = np.maximum.accumulate(1 - (1 - ordered) ** np.arange(4, 0, -1))
    assert np.sort(step_down(t, np.eye(4), np.full(4, 1e6))) == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize("cells, df", [(3, 10), (6, 22), (12, 22)])
def test_the_critical_value_of_all_pairs_is_tukeys(cells, df):
    """Equal variances: the studentised range of scipy, over the square root of two."""
    first, second = np.triu_indices(cells, 1)
    contrasts = np.eye(cells)[first] - np.eye(cells)[second]
    found = critical_value(contrasts @ contrasts.T, np.full(len(first), df))
    assert found == pytest.approx(
        stats.studentized_range.ppf(0.95, cells, df) / math.sqrt(2), rel=0.02
    )


def test_draws_have_the_moments_of_a_t():
    """Covariance S df / (df - 2), also where S is singular."""
    scale = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    found = np.cov(draw_t(scale, 12, 200_000, np.random.default_rng(9)).T)
    assert found == pytest.approx(scale * 12 / 10, abs=0.06)


def test_satterthwaite_of_one_part_is_that_part():
    """A known part (infinite df) adds variance and freedom; a lone one stays as it is."""
    assert satterthwaite((2.0, 7), (0.0, math.inf)) == pytest.approx((2.0, 7.0))
    assert satterthwaite((1.0, 5), (1.0, math.inf))[1] == pytest.approx(20.0)


def test_the_surface_and_its_intervals_are_those_of_a_regression(study):
    """A predicted difference of two points and its interval: ordinary least squares of the
    quadratic with dummies for the seeds, each cell with its variance.
    """
    runs = draw_losses(study, 5.0, np.random.default_rng(16))
    found = fit_over(runs, ("embed_share", "glu"))

    def terms(rows):
        u, v = np.log(rows.embed_share), np.log(rows.glu)
        return np.column_stack([u, v, u * u, u * v, v * v])

    x = np.column_stack([terms(runs), pd.get_dummies(runs.seed, dtype=float)])
    beta, rss, *_ = np.linalg.lstsq(x, runs.dev_loss.to_numpy(float))
    df = len(runs) - x.shape[1]
    here, there = (
        pd.DataFrame({"embed_share": [share], "glu": [glu]})
        for share, glu in ((0.3, 2.2), (0.4, 3.5))
    )
    apart = np.concatenate([(terms(here) - terms(there))[0], np.zeros(BASELINE_SEEDS)])
    row = found.predict(here, there).iloc[0]
    assert row.difference == pytest.approx(apart @ beta, abs=1e-8) and found.df <= df

    # Errors under the cells' variances, from the residuals of this regression.
    inverse = np.linalg.inv(x.T @ x)
    maker = np.eye(len(x)) - x @ inverse @ x.T
    cell, share = pd.factorize(runs.cell)[0], pd.factorize(runs.requested_share)[0]
    variance, _, _ = cell_variances(maker, maker @ runs.dev_loss, rss[0] / df, cell, share)
    error = np.sqrt(np.square(apart @ inverse @ x.T) @ variance[cell])
    half = stats.t.ppf(0.975, found.df) * error
    assert (row.high - row.low) / 2 == pytest.approx(half, rel=1e-6)


def test_losses_that_repeat_exactly_are_told_apart():
    """No noise at all: every true difference is distinguishable, an absent one is not, and nothing
    divides by zero.
    """
    table = differences(
        grid(run(0.45, 4.0, 0, dev_loss=5.0), run(0.45, 4.0, 1, dev_loss=5.003), seeds=2)
    ).set_index("cell")
    same = differences(grid(seeds=2).assign(dev_loss=5.0))
    assert (
        table.distinguishable["45 % × 4"]
        and np.isfinite(table.p).all()
        and not same.distinguishable.any()
    )


def test_what_a_seed_does_to_all_cells_moves_no_difference(study):
    """A constant added to all runs of a seed changes no difference and no sigma, only means."""
    runs = draw_losses(study, 5.0, np.random.default_rng(10))
    moved = runs.assign(dev_loss=runs.dev_loss + 0.3 * (runs.seed == 1))
    pd.testing.assert_frame_equal(differences(runs), differences(moved))
    assert (
        estimate_noise(runs).sigma == pytest.approx(estimate_noise(moved).sigma)
        and (means(moved).low < means(runs).low).all()
    )


def test_a_baseline_with_more_seeds_is_averaged_at_the_seeds_of_all():
    """Noiseless effects of cell and seed, and six more baseline seeds that are all easy: every mean
    is the cell's at seeds 0 and 1, in the middle of its interval, in `means`, in the table of cells
    and at equal tokens alike.
    """
    runs = grid(
        *(
            run(0.35, 2.66, seed, dev_loss=5.0 + (0.003 * seed if seed < 2 else -1.0))
            for seed in range(8)
        ),
        seeds=2,
    )
    found, table = means(runs).set_index("cell"), cells_table(runs).set_index("cell")
    curve = [[[row.tokens_trained, row.dev_loss]] for row in runs.itertuples()]
    tokens = views(runs.assign(dev_curve=curve))[lambda rows: rows["view"] == "tokens"].set_index(
        "cell"
    )
    assert (
        found.dev_loss["35 % × 2.66"] == pytest.approx(5.0015) and found.n_seeds["35 % × 2.66"] == 8
    )
    assert ((found.low + found.high) / 2).to_numpy() == pytest.approx(found.dev_loss.to_numpy())
    for other in (table, tokens):
        assert other.dev_loss[found.index].to_numpy() == pytest.approx(found.dev_loss.to_numpy())


def test_one_seed_has_no_intervals():
    """No seed repeated in two cells: no noise, intervals NaN, nothing distinguishable; means."""
    runs = grid()
    assert len(may_be_best(fit(eligible_runs(runs)))) == 12
    assert (
        estimate_noise(runs) is None
        and means(runs)[["low", "high"]].isna().all(axis=None)
        and (means(runs).n_seeds == 1).all()
    )
    table = differences(runs)
    assert len(table) == 11 and not table.distinguishable.any() and table.p_adjusted.isna().all()


def test_a_cell_that_shares_no_seed_has_no_difference():
    """Seeds 0 and 1 in eleven cells, 7 and 8 in the last: its difference is not known, the others
    are.
    """
    runs = grid(seeds=2)
    last = (runs.requested_share == 0.45) & (runs.requested_glu == 4.0)
    runs = runs.assign(
        seed=runs.seed.mask(last, runs.seed + 7),
        dev_loss=runs.dev_loss + np.random.default_rng(11).normal(0, 0.01, len(runs)),
    )
    table = differences(runs).set_index("cell")
    assert np.isnan(table.difference["45 % × 4"]) and not table.distinguishable["45 % × 4"]
    assert table.drop(index="45 % × 4").p.notna().all()


@pytest.mark.parametrize("changed", [{"status": "stopped_early"}, {"seed": 1000}], ids=str)
def test_killed_and_tuning_runs_enter_nothing(changed):
    """A run that early stop killed, or one on a tuning seed, changes no mean, no difference, no
    noise.
    """
    runs = grid(seeds=2).assign(
        dev_loss=lambda rows: rows.dev_loss + np.random.default_rng(12).normal(0, 0.01, len(rows))
    )
    more = pd.concat(
        [runs, pd.DataFrame([run(0.25, 2.0, seed=5, dev_loss=1.0) | changed])], ignore_index=True
    )
    pd.testing.assert_frame_equal(means(runs), means(more))
    pd.testing.assert_frame_equal(differences(runs), differences(more))
    assert estimate_noise(runs) == estimate_noise(more)


def test_without_a_baseline_there_are_no_differences_but_to_a_named_cell():
    """The table is empty, with its columns; to another cell it is not."""
    runs = grid(seeds=2)[lambda rows: rows.requested_share != 0.35]
    assert differences(runs).empty and "p_adjusted" in differences(runs)
    assert len(differences(runs, to="25 % × 2")) == 7


def test_documents_widen_intervals_as_a_bootstrap_of_them_would():
    """The standard error from 32 groups of documents is that of 2,000 resamplings of the groups; in
    a difference they are paired.
    """
    generator, tokens = np.random.default_rng(13), np.random.default_rng(14).integers(900, 1100, 32)
    common = generator.normal(5, 0.3, 32)  # how hard each group is, for every cell
    losses = [common + generator.normal(0, 0.02, 32) for _ in range(2)]
    rows = [
        run(
            share,
            2.66,
            dev_loss=float(loss @ tokens / tokens.sum()),
            dev_by_group=np.stack([tokens, loss * tokens], 1).tolist(),
        )
        for share, loss in zip((0.35, 0.45), losses, strict=True)
    ]
    model = fit(eligible_runs(pd.DataFrame(rows)))
    picks = generator.integers(0, 32, (2000, 32))
    resampled = np.stack([(loss * tokens)[picks].sum(1) / tokens[picks].sum(1) for loss in losses])
    errors = np.sqrt(np.diag(model.documents))
    assert errors == pytest.approx(resampled.std(axis=1), rel=0.08)
    paired = np.sqrt([1, -1] @ model.documents @ [1, -1])
    assert (
        paired == pytest.approx((resampled[0] - resampled[1]).std(), rel=0.08)
        and paired < errors.min() / 5
    )


def test_the_interval_of_a_mean_is_over_seeds():
    """It is that without documents, whose part `Noise.documents` says: the root mean square."""
    generator = np.random.default_rng(4)
    runs = noisy(grid(seeds=3), 0.01)
    groups = [
        np.stack([np.full(8, 100), 100 * (loss + generator.normal(0, 0.3, 8))], 1).tolist()
        for loss in runs.dev_loss
    ]
    with_documents = runs.assign(dev_by_group=groups)
    pd.testing.assert_frame_equal(means(with_documents), means(runs))
    variance = np.diag(fit(eligible_runs(with_documents)).documents)
    assert estimate_noise(with_documents).documents == pytest.approx(np.sqrt(variance.mean()))
    assert estimate_noise(runs).documents == 0


def test_the_noise_of_runs_is_not_counted_among_the_documents():
    """Runs scatter group by group. Where the two cells are equal in every group, their difference
    has less than a quarter of the variance that the groups' scatter alone would say; where they
    differ truly, what that difference says.
    """
    generator, shares = np.random.default_rng(25), (0.35, 0.45)
    runs = pd.DataFrame([run(share, 2.66, seed) for share in shares for seed in range(SEEDS)])
    runs = eligible_runs(runs)
    for truly in (0.0, 0.1):
        found, naive = [], []
        for _ in range(60):
            true = truly * generator.standard_normal((2, 1, 30))
            losses = 5 + true + 0.05 * generator.standard_normal((2, SEEDS, 30))
            groups = [[[1, nats] for nats in loss] for loss in losses.reshape(-1, 30)]
            drawn = runs.assign(dev_loss=losses.mean(axis=2).ravel(), dev_by_group=groups)
            found.append([1, -1] @ fit(drawn).documents @ [1, -1])
            naive.append(np.var(losses[0].mean(axis=0) - losses[1].mean(axis=0), ddof=1) / 30)
        if truly:
            assert np.mean(found) == pytest.approx(2 * truly**2 / 30, rel=0.15)
        else:
            assert np.mean(found) < np.mean(naive) / 4


def test_documents_are_left_out_where_a_run_lacks_them():
    """One run without groups: their variance is zero for all, not for some."""
    groups = [[10, 50.0], [10, 52.0]]
    runs = pd.DataFrame([run(0.35, 2.66, dev_by_group=groups), run(0.45, 2.66, dev_by_group=None)])
    assert (
        not fit(eligible_runs(runs)).documents.any()
        and fit(eligible_runs(runs.iloc[:1])).documents.any()
    )


def test_noise_floor_is_the_standard_deviation_with_its_chi_square_interval():
    """Eight seeds of the baseline; with seven there is none."""
    losses = np.random.default_rng(15).normal(5, 0.01, 8)
    runs = pd.DataFrame([run(0.35, 2.66, seed, dev_loss=loss) for seed, loss in enumerate(losses)])
    floor = noise_floor(runs)
    assert floor.sd == pytest.approx(losses.std(ddof=1)) and floor.n_seeds == 8
    assert floor.low == pytest.approx(
        floor.sd * math.sqrt(7 / 16.013), rel=1e-3
    )  # chi-square tables: 16.013 and 1.690 at 7 df
    assert floor.high == pytest.approx(floor.sd * math.sqrt(7 / 1.690), rel=1e-3)
    assert noise_floor(runs.iloc[:7]) is None


@pytest.mark.parametrize("effect, seeds", [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17)])
def test_seeds_needed_are_those_of_the_tables(effect, seeds):
    """Cohen (1988), table 2.4.1: subjects a group for a power of 80 % at a two-sided 5 %."""
    floor = noise_floor(
        pd.DataFrame([run(0.35, 2.66, seed, dev_loss=5 + 0.01 * seed) for seed in range(8)])
    )
    assert floor.seeds_needed(effect * floor.sd) == seeds


@pytest.mark.parametrize("effect, seeds", [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_seeds_needed_in_pairs_are_those_of_a_t_test_of_differences(effect, seeds):
    """Effects in standard deviations of a paired difference, sqrt(2) sigma; the numbers are those
    of G*Power 3 (Faul et al. 2007).
    """
    scatter = estimate_noise(
        grid(seeds=2).assign(
            dev_loss=lambda rows: 5 + np.random.default_rng(19).normal(0, 0.01, len(rows))
        )
    )
    assert scatter.seeds_needed(effect * math.sqrt(2) * scatter.sigma) == seeds


def test_two_seeds_are_enough_without_scatter():
    """Runs that repeat to the last digit: the least that a test can be made with, and no division
    by zero.
    """
    assert Floor(0.0, 0.0, 0.0, 8).seeds_needed(0.01) == 2


def test_the_sample_variance_of_a_cell_is_its_own():
    """Balanced, unbalanced, and cells of few seeds: in the mean of 4,000 draws the sample variance
    of a cell four times as noisy is its true one, though its residuals hold the noise of others.
    """
    generator = np.random.default_rng(21)
    for dropped in ([], [0, 7, 20, 21]):
        runs = grid(seeds=SEEDS).drop(index=dropped)
        cell, seed = (
            pd.factorize(runs[["requested_share", "requested_glu"]].apply(tuple, axis=1))[0],
            runs.seed,
        )
        x = np.column_stack([np.eye(12)[cell], np.eye(SEEDS)[seed]])
        maker = np.eye(len(runs)) - x @ np.linalg.pinv(x)
        noise = generator.standard_normal((4000, len(runs))) * np.where(cell == 5, 2.0, 1.0)
        share = np.zeros_like(cell)
        found = [cell_variances(maker, maker @ row, 1.0, cell, share)[2][5] for row in noise]
        assert np.mean(found) == pytest.approx(4.0, rel=0.08)


def test_a_variance_lies_between_the_runs_of_the_cell_those_of_its_share_and_all():
    """Balanced seeds, by hand: residuals' sums of squares of a cell hold (1 - 2 / C) (S - 1) of its
    own variance and (S - 1) / C of the mean, then Smyth's average twice.
    """
    runs = noisy(eligible_runs(grid(seeds=SEEDS)), 0.01)
    model = fit(runs)
    y = runs.dev_loss.to_numpy(float).reshape(12, SEEDS)
    left = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    own, mean = np.square(left).sum(axis=1), np.square(left).sum() / 22

    def shrink(rss, n, prior, weight):
        df = n * (SEEDS - 1) * (1 - 2 / 12 + n / 12**2)
        others = n * (SEEDS - 1) * (1 - 1 / 12) - df
        sample = max((rss - others * mean) / df, 0.0)
        return (weight * prior + df * sample) / (weight + df), weight + df

    for i in range(12):
        at_share = 4 * (i // 4)
        prior, _ = shrink(own[at_share : at_share + 4].sum(), 4, mean, SHARE_PRIOR)
        expected = shrink(own[i], 1, prior, CELL_PRIOR)
        assert (model.variance[i], model.variance_df[i]) == pytest.approx(expected)
