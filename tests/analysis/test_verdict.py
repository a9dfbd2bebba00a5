"""The answer says which cell, by how much and how surely; one seed proves nothing."""

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import broken_grid, empty, grid, noisy, run, unfinished

from paramalloc.analysis import (
    cells_table,
    differences,
    fit_surface,
    main_effects,
    means,
    reach_verdict,
)
from paramalloc.analysis.wording import p_value
from paramalloc.config import ROOT
from paramalloc.report import certainty
from paramalloc.runs import read_results


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
    """With one seed the verdict speaks of seed noise, counts the close cells, and says that share
    is width.
    """
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


def test_seeds_that_only_choose_are_named_where_nothing_else_is():
    """Twelve completed runs on seed 2024 answer nothing, and the verdict says why."""
    assert "12 completed runs have seeds from 1000 on" in str(
        reach_verdict(grid().assign(seed=2024))
    )
    assert "seeds from" not in str(
        reach_verdict(grid(*(unfinished(s, g, "failed") for s, g in [(0.35, 2.66)])))
    )


def test_the_verdict_names_the_interval_the_seeds_and_the_noise():
    """With repeated seeds nothing is left to a rule of thumb: the difference to the baseline with
    its interval, the cells that may be the best, seeds and noise.
    """
    runs = noisy(
        grid(*[run(0.45, 4.0, seed, dev_loss=5.1 + 0.003 * seed) for seed in range(3)], seeds=3)
    )
    found = reach_verdict(runs)
    assert found.best == "45 % × 4" and found.close == ("45 % × 4",) and found.n_seeds == 3
    for words in (
        "It is distinguishably better than the baseline, 35 % × 2.66: −0.",
        "simultaneous 95 % CI [−0.",
        "Every other cell is distinguishably worse",
        "3 seeds a cell",
        "share is width",
    ):
        assert words in str(found)


def test_the_verdict_says_of_each_share_and_expansion_what_the_main_effects_do():
    """A level whose interval leaves out zero is above or below the baseline's, by so much; the
    others are not distinguishable from it.
    """
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
        f"Averaged over GLU expansions, a share of 25 % is {share.difference:.3f} nats worse than "
        f"35 % (95 % CI [{share.low:.3f}, {share.high:.3f}]); "
        "a share of 45 % is not distinguishable from 35 % (95 % CI ["
    ) in said
    assert (
        f"Averaged over shares, an expansion of 4 is {-glu.difference:.3f} nats better than 2.66 "
        f"(95 % CI [{-glu.high:.3f}, {-glu.low:.3f}]); "
        "expansions of 2 and 3 are not distinguishable from 2.66 (all 95 % CIs within ["
    ) in said
    assert said.count("These 95 % CIs are simultaneous.") == 1
    sweep = noisy(grid(seeds=3).query("requested_glu == 2.66"))
    assert fit_surface(sweep).text.rstrip(".") in str(reach_verdict(sweep))


def test_what_the_noise_may_explain_is_said():
    """Cells that differ by noise alone: the lowest one is named, with all that may be the best."""
    found = reach_verdict(noisy(grid(seeds=3).assign(dev_loss=5.0), 0.01, seed=4))
    assert (
        len(found.close) == 12
        and "12 of 12 cells, the lowest included, may be the best" in str(found)
        and "It is not distinguishable from the baseline, 35 % × 2.66: " in str(found)
    )


def test_the_verdict_names_the_levels_that_were_compared():
    """Of a level that is not complete at two values of the other axis it says nothing."""
    runs = noisy(grid(seeds=3).assign(dev_loss=5.0), 0.01)
    runs = runs[(runs.requested_glu != 4.0) | (runs.requested_share == 0.35)]
    verdict = str(reach_verdict(runs))
    assert "expansions of 2 and 3 are not distinguishable from 2.66" in verdict
    assert "shares of 25 % and 45 % are not distinguishable from 35 %" in verdict


@pytest.mark.parametrize("shift", [0.0, 0.004, 0.01])
def test_the_verdict_calls_distinguishable_what_the_table_does(shift):
    """At 0.004 nats the step-down test finds a difference whose interval just includes zero."""
    runs = read_results(ROOT / "outputs" / "reference" / "results.csv")
    lowest = (runs.requested_share == 0.45) & (runs.requested_glu == 4.0)
    runs = runs.assign(dev_loss=runs.dev_loss - shift * lowest)
    row = differences(runs).set_index("cell").loc["45 % × 4"]
    verdict = str(reach_verdict(runs))
    assert ("It is distinguishably better than the baseline" in verdict) == row.distinguishable
    assert ("It is not distinguishable from the baseline" in verdict) != row.distinguishable
    assert f"(adjusted {p_value(row.p_adjusted)}, simultaneous 95 % CI [" in verdict


def test_one_cell_with_many_seeds_gives_the_others_no_interval():
    """A grid of one seed beside eight more of the baseline: only the baseline has an interval, and
    no sentence says that no seed repeats.
    """
    runs = pd.concat(
        [grid(), pd.DataFrame([run(0.35, 2.66, seed) for seed in range(1, 9)])], ignore_index=True
    )
    found = means(runs).set_index("cell")
    assert found.low.notna().sum() == 1 and pd.notna(found.low["35 % × 2.66"])
    assert "No two cells have two seeds in common" in str(
        certainty(runs)
    ) and "no two cells with two seeds in common" in str(reach_verdict(runs))
