"""The report's sentences: each stands only where the runs bear it out."""

import numpy as np
import pandas as pd
from analysis_fixtures import grid, noisy, run, unfinished

from paramalloc import report
from paramalloc.analysis import estimate_noise, reach_verdict
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
    shares = "25 % alone 8; 35 % alone 11; 45 % alone 14"
    heads = f"The attention heads move with the shape (8 to 14 of dimension 8; {shares})"
    assert heads in report.limits(runs)
    assert "heads move" not in report.limits(runs.assign(n_heads=8))
    wider = 8 + 8 * (runs.requested_share > 0.3)
    assert "(2 of dimension 8 to 16)" in report.limits(runs.assign(n_heads=2, d_head=wider))


def test_heads_that_only_one_share_has_are_named():
    """Counts that another share has as well are not."""
    runs = grid(seeds=2)
    n_heads = 1 + (runs.requested_share > 0.3) * (1 + (runs.requested_glu > 3))
    assert "(1 to 3 of dimension 8; 25 % alone 1)" in report.limits(runs.assign(n_heads=n_heads))


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
    """The lowest cell there with its loss; and that of dev's lowest where it is another."""
    runs = grid(seeds=2)
    runs = runs.assign(test_loss=runs.dev_loss + 0.5)
    best = reach_verdict(runs).best
    loss = runs.groupby(["requested_share", "requested_glu"]).test_loss.mean().min()
    same = f"On the test split, which chose nothing, {best} is the lowest, as on dev ({loss:.3f}"
    assert same in report.certainty(runs)
    turned = report.certainty(runs.assign(test_loss=9 - runs.dev_loss))
    assert "which chose nothing" in turned
    assert f"{best} is the lowest" not in turned
    assert f"; {best} " in turned
    assert "which chose nothing" not in report.certainty(runs.assign(test_loss=np.nan))


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


def rates_checked() -> pd.DataFrame:
    """The grid, and three cells at other rates on a tuning seed with fewer tokens."""
    losses = {
        (0.25, 2.0): {3e-3: 6.0125, 1e-3: 6.0},
        (0.35, 2.66): {3e-3: 6.0, 9e-3: 6.1},
        (0.45, 4.0): {3e-3: 6.0, 9e-3: 6.1},
    }
    tried = []
    for (share, glu), by_rate in losses.items():
        for lr, loss in by_rate.items():
            tried.append(run(share, glu, 1000, lr, tokens=100_000, dev_loss=loss))
    return join(grid(seeds=2), pd.DataFrame(tried))


def test_a_checked_learning_rate_is_not_a_chosen_one():
    """How much better the best one was, on average, by chance and by share."""
    runs = rates_checked()
    text = report.certainty(runs)
    rows = "(rows of `tokens` 100000 and `seed` 1000)"
    assert f"3 of 12 cells tried 2 rates at 100k tokens a run {rows}. The best rate gained " in text
    gains = "0.0042 nats over the grid's, averaged over cells, and 0.0125 at most (25 % × 2)."
    assert f"{gains} Equally good rates would give " in text
    shares = "0.0125 at 25 % (1 cell), 0.0000 at 35 % (1 cell), 0.0000 at 45 % (1 cell)"
    error = 2 * estimate_noise(runs).sigma  # of four runs
    difference = f"differ by 0.0125 at most (standard error about {error:.4f})"
    assert f"By share: {shares}. These {difference}. At 100k tokens, tuned rates would" in text
    one_share = runs[(runs.seed < 1000) | (runs.requested_share == 0.25)]
    assert "By share" not in report.certainty(one_share)
    assert "Each cell's is the best" not in report.methods(runs)
    assert "One base learning rate" in report.limits(runs)
    assert "learning rate fair" not in report.certainty(grid(seeds=2))


def test_a_check_of_rates_in_other_precisions_names_them():
    runs = rates_checked()
    mixed = runs.assign(precision=["fp32"] * (len(runs) - 1) + ["bf16"])
    assert "`seed` 1000, in bf16, fp32)" in report.certainty(mixed)
    assert "`seed` 1000)" in report.certainty(runs.assign(precision="fp32"))
