"""The report's sentences: each stands only where the runs bear it out."""

import numpy as np
import pandas as pd
from analysis_fixtures import grid, noisy, run, unfinished

from paramalloc import report
from paramalloc.analysis import reach_verdict
from paramalloc.report.confounds import confound


def join(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True)


# ---- open runs and provenance


def test_every_open_run_is_listed():
    """One of another group is named with what tells it from the study's; none: all is complete."""
    other = unfinished(0.35, 2.66, "stopped_early", 100_000, embedding="untied", seed=7)
    text = report.unfinished(join(grid(seeds=2), pd.DataFrame([other])))
    assert "**stopped early**" in text
    assert "seed 7" in text
    assert "of another group: embedding `untied`" in text
    assert "Every run is complete" in report.unfinished(grid())


def test_provenance_tells_the_runs_from_the_reporter():
    """Who trained the runs comes before what made the report; what was not recorded is said."""
    runs = grid()
    recorded = runs.assign(commit=["abc"] * 11 + [None], torch="2.0")
    text = report.provenance(recorded, "make reports")
    assert "- by commit: `abc`, not recorded\n- with torch: `2.0`\n" in text
    assert text.index("abc") < text.index("this report was made by")
    assert "other runs" not in text
    assert "by commit: not recorded" in report.provenance(runs, "make reports")


def test_provenance_says_who_trained_the_runs_of_other_questions():
    runs = grid()
    others = runs.head(2).assign(tokens=1e5, commit="def")
    text = report.provenance(join(runs.assign(commit="abc"), others), "")
    assert "- by commit: `abc`\n" in text
    assert "- the 2 other runs: made " in text
    assert "; by commit `def`; " in text


# ---- limits


def test_what_diverged_is_said():
    diverged = pd.DataFrame([unfinished(0.25, 4.0, "diverged", 100_000, seed=2)])
    assert "Runs of 25 % × 4 diverged" in report.limits(join(grid(seeds=2), diverged))
    assert "diverged" not in report.limits(grid(seeds=2))


def test_how_rates_were_chosen_is_said():
    """On the seeds that are averaged, or at the edge of those tried."""
    losses = {1e-3: 0.2, 3e-3: 0.0, 9e-3: 0.1}
    tried = [at_rate(grid(), lr, worse) for lr, worse in losses.items()]
    at_edge = (tried[2].requested_share == 0.35) & (tried[2].requested_glu == 2.0)
    tried[2] = tried[2].assign(dev_loss=tried[2].dev_loss - 0.3 * at_edge)
    text = report.limits(join(*tried))
    assert "learning rate of every cell was chosen on" in text
    assert "rate of 35 % × 2 lies at the edge" in text
    without = report.limits(grid(seeds=2))
    assert "was chosen on" not in without
    assert "at the edge" not in without


def at_rate(runs: pd.DataFrame, lr: float, worse: float, **changed) -> pd.DataFrame:
    """The runs at another learning rate, at which all losses are higher by `worse`."""
    return runs.assign(lr=lr, dev_loss=runs.dev_loss + worse, **changed)


def test_heads_that_move_with_the_shape_are_told():
    runs = noisy(grid(seeds=2), 0.02)
    shares = "25 % alone 1; 35 % alone 2; 45 % alone 4"
    heads = f"The attention heads move with the shape (1 to 4 of dimension 28 to 64; {shares})"
    assert heads in report.limits(runs)
    assert "heads move" not in report.limits(runs.assign(n_heads=8, d_head=8))
    wider = 8 + 8 * (runs.requested_share > 0.3)
    assert "(2 of dimension 8 to 16)" in report.limits(runs.assign(n_heads=2, d_head=wider))


def test_heads_that_only_one_share_has_are_named():
    """Counts that another share has as well are not."""
    runs = grid(seeds=2)
    n_heads = 1 + (runs.requested_share > 0.3) * (1 + (runs.requested_glu > 3))
    assert "(1 to 3 of dimension 28 to 64; 25 % alone 1)" in report.limits(
        runs.assign(n_heads=n_heads)
    )


def test_a_worse_share_of_single_heads_is_confounded():
    """Where only the worse share has one head, at one rate for all: first of the limits."""
    runs = grid(seeds=3)
    losses = 5 + 0.1 * (runs.requested_share == 0.25)
    single = noisy(runs.assign(dev_loss=losses, n_heads=1 + (runs.requested_share > 0.3)), 0.01)
    sentence = "The one claim, that 25 % is worse, is confounded: only those cells have a single"
    assert confound(single).startswith(sentence)
    assert report.limits(single).startswith(f"- {sentence}")
    assert not confound(single.assign(n_heads=2))


def test_a_worse_share_is_not_called_the_one_claim_where_it_is_not():
    """Another level is distinguishable as well, or not only the worse share has single heads."""
    runs = grid(seeds=3)
    share, glu = runs.requested_share, runs.requested_glu
    worse = 5 + 0.1 * (share == 0.25)
    n_heads = 1 + (share > 0.3)
    for other in (-0.1 * (share == 0.45), 0.1 * (share == 0.45), -0.1 * (glu == 4.0)):
        assert not confound(noisy(runs.assign(dev_loss=worse + other, n_heads=n_heads), 0.01))
    single_elsewhere = n_heads.mask((share == 0.45) & (glu == 4.0), 1)
    assert not confound(noisy(runs.assign(dev_loss=worse, n_heads=single_elsewhere), 0.01))
    two_heads_once = n_heads.mask((share == 0.25) & (glu == 4.0), 2)
    assert not confound(noisy(runs.assign(dev_loss=worse, n_heads=two_heads_once), 0.01))


def test_speeds_that_do_not_repeat_are_told():
    assert "differ by a factor of" in report.limits(noisy(grid(seeds=2), 0.02))
    assert "differ by a factor of" not in report.limits(grid(seeds=2))


def test_what_is_smaller_than_the_study_says_so():
    """At 1M parameters the study's sizes and the command that answers it; at 10M nothing of it."""
    small = report.limits(grid(seeds=2))
    assert "are not the study's 10M and 50M" in small
    assert "make reference PROFILE=study" in small
    study = grid(seeds=2).assign(total_params=10_000_000, tokens=50_000_000)
    assert "are not the study's" not in report.limits(study)
    short = report.limits(study.assign(tokens=2_000_000))
    assert "10M parameters and 2M tokens are not the study's" in short


def test_the_lowest_cell_at_an_edge_says_so():
    """The ends at which it lies are named, not the others; in the middle of both, nothing is."""
    one_end = "The lowest cell has the largest share of these: a lower one may lie beyond."
    assert one_end in limits_with_lowest(0.45, 3.0)
    two_ends = "The lowest cell has the smallest share and the largest expansion of these"
    assert two_ends in limits_with_lowest(0.25, 4.0)
    assert "lie beyond" not in limits_with_lowest(0.35, 2.66)


def limits_with_lowest(share: float, glu: float) -> str:
    """The limits of a grid whose lowest cell is this one."""
    runs = grid(seeds=2)
    loss = 4 + runs.requested_share.ne(share) + runs.requested_glu.ne(glu)
    return report.limits(runs.assign(dev_loss=loss))


# ---- methods and certainty


def test_the_recipe_is_told():
    """Where the runs recorded it."""
    runs = grid(seeds=2).assign(warmup=0.1, weight_decay=0.1)
    schedule = "The rate rises over 10 % of the steps and falls linearly to zero"
    assert schedule in report.methods(runs)
    assert "windows" not in report.methods(grid())


def test_the_test_split_confirms_or_corrects_the_lowest_cell():
    """The lowest cell there with its loss; and that of dev's lowest where it is another.

    Neither is a replication.
    """
    runs = grid(seeds=2)
    runs = runs.assign(test_loss=runs.dev_loss + 0.5)
    best = reach_verdict(runs).best
    loss = runs.groupby(["requested_share", "requested_glu"]).test_loss.mean().min()
    same = f"On the test split, {best} is the lowest, as on dev ({loss:.3f} nats per token)."
    assert f"{same} That is no replication" in report.certainty(runs)
    turned = report.certainty(runs.assign(test_loss=9 - runs.dev_loss))
    assert "On the test split" in turned
    assert f"{best} is the lowest" not in turned
    assert f"; {best} " in turned
    assert "That is no replication" in turned
    assert "test split" not in report.certainty(runs.assign(test_loss=np.nan))


def test_the_documents_part_of_a_mean_is_told_once():
    """Where the runs recorded their losses by groups of documents."""
    runs = noisy(grid(seeds=2), 0.01)
    groups = [[100, 500.0], [100, 540.0], [100, 520.0]]
    by_group = report.certainty(runs.assign(dev_by_group=[groups] * len(runs)))
    error = np.std([5.0, 5.4, 5.2], ddof=1) / np.sqrt(3)
    assert f"The choice of dev documents adds a standard error of {error:.3f} nats" in by_group
    assert "Intervals hold for this dev split" in report.certainty(runs)


def test_an_interaction_is_told():
    """The cell farthest off the sum of its two effects; else that none is distinguishably."""
    runs = noisy(grid(seeds=3), 0.003)
    assert "Share and expansion do not interact distinguishably" in report.certainty(runs)
    cell = (runs.requested_share == 0.45) & (runs.requested_glu == 4.0)
    text = report.certainty(runs.assign(dev_loss=runs.dev_loss - 0.1 * cell))
    assert "Share and expansion interact: 45 % × 4 is −0.0" in text
    assert "interact" not in report.certainty(runs[~cell])


# ---- learning rates


def test_a_tuned_sweep_says_what_was_chosen_among():
    """Though all cells chose one rate: the values and the seed; no limit of one rate for all."""
    losses = {1e-3: 0.1, 3e-3: 0.0, 9e-3: 0.2}
    run_ids = grid().run_id + "t"
    tuning = [at_rate(grid(), lr, worse, seed=1000, run_id=run_ids) for lr, worse in losses.items()]
    tuned = join(grid(seeds=2), *tuning)
    choice = "Each cell's is the best of those that it tried on seed 1000, which no mean includes"
    assert f"{choice}: 0.001, 0.003, 0.009." in report.methods(tuned)
    assert "One base learning rate" not in report.limits(tuned)
    assert "One base learning rate" in report.limits(grid(seeds=2))
    assert "Each cell's is the best" not in report.methods(grid())


def test_a_sweep_off_its_tuned_rates_does_not_call_them_the_best():
    losses = {1e-3: 0.1, 3e-3: 0.0, 9e-3: 0.2}
    run_ids = grid().run_id + "t"
    tuning = [at_rate(grid(), lr, worse, seed=1000, run_id=run_ids) for lr, worse in losses.items()]
    tuned = join(grid(seeds=2), *tuning)
    better = (tuned.lr == 9e-3) & (tuned.requested_share == 0.25)
    other = tuned.assign(
        dev_loss=tuned.dev_loss - 0.5 * better, lr=tuned.lr.where(tuned.seed >= 1000, 3e-3)
    )
    assert "Each cell's is the best" not in report.methods(other)


GAINS = {(0.25, 2.0): 0.0125, (0.35, 2.0): 0.0, (0.45, 2.0): 0.0}  # of 1e-3, in nats


def rates_checked(gains: dict = GAINS) -> pd.DataFrame:
    """The grid, and some cells at another rate on a tuning seed with fewer tokens."""
    tried = []
    for (share, glu), gain in gains.items():
        for lr, loss in ((3e-3, 6.0), (1e-3, 6.0 - gain), (9e-3, 6.1)):
            tried.append(run(share, glu, 1000, lr, tokens=100_000, dev_loss=loss))
    return join(noisy(grid(seeds=2), 0.005), pd.DataFrame(tried))


def test_a_checked_learning_rate_is_not_a_chosen_one():
    """Which rates were tried on which rows, what each cell's best gained, and chance's part."""
    runs = rates_checked()
    text = report.certainty(runs)
    rows = "(rows of `tokens` 100000 and `seed` 1000)"
    assert f"3 of 12 cells tried 3 rates at 100k tokens a run {rows}. No other rate is" in text
    assert "best rate gains 0.004 nats on average, 0.013 at most (25 % × 2)." in text
    assert "by chance, if runs of one cell" in text
    assert "Each cell's is the best" not in report.methods(runs)
    assert "One base learning rate" in report.limits(runs)
    assert "learning rate fair" not in report.certainty(grid(seeds=2))


def test_how_far_the_shares_lie_apart_at_each_rate_is_told():
    """Over the expansions that every share tried; the baseline's own gain narrows the distance."""
    gains = {(share, glu): 0.0 for share in (0.25, 0.35, 0.45) for glu in (2.0, 4.0)}
    gains |= {(0.35, 2.0): 0.02, (0.35, 3.0): 0.5}
    text = report.certainty(rates_checked(gains))
    first = "25 % − 35 % is 0.000 with the grid's rate, +0.010 with 0.001 and +0.010 with each"
    assert f"At 100k tokens, {first} cell's own best; 45 % − 35 % is 0.000, +0.010" in text
    only_worse = {request: 0.0 for request in gains if request[0] == 0.25}
    assert "Does the rate move the shares" not in report.certainty(rates_checked(only_worse))


def test_a_rate_that_is_better_for_all_is_no_chance():
    """Every cell gains from it, by more than the gains scatter; and each cell's own is named."""
    cells = [(share, glu) for share in (0.25, 0.35, 0.45) for glu in (2.0, 4.0)]
    gains = {cell: 0.02 + 0.001 * (-1) ** number for number, cell in enumerate(cells)}
    text = report.certainty(rates_checked(gains))
    assert "Not quite: one lower rate for all, 0.001 in place of 0.003, gains 0.020 nats" in text
    assert "p < 0.001, adjusted for 2 rates)" in text
    assert "by chance" not in text
    assert "By the criterion of `lr_check`, one rate suits all cells." in text
    other = rates_checked(gains | {(0.25, 2.0): -0.1})
    assert "each cell wants a rate of its own: the best ones differ (0.001 to" in report.certainty(
        other
    )


def test_a_check_of_rates_in_other_precisions_names_them():
    runs = rates_checked()
    mixed = runs.assign(precision=["fp32"] * (len(runs) - 1) + ["bf16"])
    assert "`seed` 1000, in bf16, fp32)" in report.certainty(mixed)
    assert "`seed` 1000)" in report.certainty(runs.assign(precision="fp32"))


def test_runs_at_each_cells_own_rate_are_told():
    """On another seed, at the check's tokens: beside the rates, and where the claim is confounded.

    A run at a rate that is not its cell's best is not among them.
    """
    gains = {(share, glu): 0.02 for share in (0.25, 0.35, 0.45) for glu in (2.0, 4.0)}
    checked = rates_checked(gains)
    losses = {(0.25, 2.0): 6.1, (0.25, 4.0): 6.2, (0.35, 2.0): 6.0, (0.35, 4.0): 6.05}
    own = [run(*cell, 5, 1e-3, tokens=100_000, dev_loss=loss) for cell, loss in losses.items()]
    other = run(0.45, 2.0, 5, 3e-3, tokens=100_000, dev_loss=5.0)
    runs = join(checked, pd.DataFrame([*own, other]))
    text = report.certainty(runs)
    assert "4 cells were also trained at the best rate of each, on `seed` 5, which did not" in text
    assert "There 25 % − 35 % is +0.125 nats" in text
    assert "One seed claims nothing." in text
    losses = 5 + 0.1 * (runs.requested_share == 0.25)
    worse = runs.assign(
        dev_loss=runs.dev_loss.mask(runs.tokens > 1e5, losses),
        n_heads=1 + (runs.requested_share > 0.3),
    )
    assert "own rate (1 seed, 100k tokens), 25 % is still 0.125 nats worse." in confound(worse)
    assert "own rate" not in confound(worse[worse.seed != 5])
