"""Where early stop killed runs, a table screens: it names what is worth whole runs, no more."""

import re

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import SHARES, empty, grid, noisy, run, unfinished

from paramalloc import analysis, plots, report
from paramalloc.analysis import (
    cells_table,
    completed_cells,
    describe_earlier_screening,
    eligible_runs,
    estimate_noise,
    is_screening,
    reach_verdict,
    recommend,
    screened_out,
)
from paramalloc.config import ROOT
from paramalloc.errors import UserError
from paramalloc.report.results import write_results
from paramalloc.runs import MEASURED, Note, read_results
from paramalloc.sweep import load_sweep

OUTCOMES = {"dev_loss", "dev_ppl", "train_flops", "tokens_per_s", *MEASURED}
KEPT = ["35 % × 2.66", "45 % × 2", "45 % × 2.66", "45 % × 4"]  # of the published grid
CLAIMS = (
    r"lowest dev loss:|distinguishable|CI \[|may be the best|nats (better|worse|lower|higher)|"
    r"standard deviation|Pareto-efficient if|fitted loss|Main effects|\d %\)"
)


def killed(runs: pd.DataFrame, which: pd.Series) -> pd.DataFrame:
    """The runs, `which` of them ended by early stop after a quarter of their tokens."""
    measured = [name for name in OUTCOMES if name in runs]
    runs = runs.assign(tokens_trained=runs.tokens_trained.where(~which, 0.25 * runs.tokens))
    runs.loc[which, "status"] = "stopped_early"
    runs.loc[which, measured] = None
    return runs


def screened(**columns) -> pd.DataFrame:
    """A grid of two seeds under `kill`, in which early stop ended 25 % × 4 on seed 1."""
    runs = noisy(grid(seeds=2)).assign(early_stop="kill", **columns)
    request = (runs.requested_share == 0.25) & (runs.requested_glu == 4.0)
    return killed(runs, request & (runs.seed == 1))


def whole(cells: list[tuple[float, float]], seeds: range) -> pd.DataFrame:
    """Runs of cells that were trained whole, with `flag`."""
    rows = [run(*cell, seed, early_stop="flag") for cell in cells for seed in seeds]
    return noisy(pd.DataFrame(rows), seed=1)


def join(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True)


# ------------------------------------------------------------------ a screening


def test_one_killed_run_makes_the_whole_group_a_screening():
    """No run is eligible, no cell has a mean; the killed cell is screened out, the others are not.

    The baseline, which is never killed, is one of them.
    """
    runs = screened()
    table = cells_table(runs).set_index("cell")
    assert is_screening(runs) and not is_screening(grid(seeds=2)) and not is_screening(empty())
    assert eligible_runs(runs).empty and completed_cells(cells_table(runs)).empty
    assert screened_out(cells_table(runs)) == ["25 % × 4"]
    assert table.status["25 % × 4"] == "stopped_early"
    assert set(table.status.drop("25 % × 4")) == {"survived"}
    assert tuple(table.loc["25 % × 4", ["n_stopped", "n_survived", "n_seeds"]]) == (1, 1, 0)


def test_a_screening_counts_every_cell_once():
    """Worth whole runs, screened out, not complete yet: together all the cells, each in one."""
    runs = screened()
    open_cell = (runs.requested_share == 0.45) & (runs.requested_glu == 2.0)
    runs.loc[open_cell, ["status", "dev_loss"]] = ["missing", None]
    text = str(reach_verdict(runs))
    assert "early stop ended 1 of 22 runs" in text
    counts = re.findall(r"(\d+) of 12 cells", text)
    assert sorted(map(int, counts)) == [1, 1, 10]
    named = re.findall(r"\d+ % × \d(?:\.\d+)?", text)
    assert sorted(named) == sorted(cells_table(runs).cell)


def test_a_kill_at_a_rate_that_is_not_compared_screens_nothing():
    """Of two rates the killed one is not the best: all runs that are compared are whole."""
    other = unfinished(0.25, 4.0, "stopped_early", 90_000, lr=6e-3, early_stop="kill")
    runs = join(grid(seeds=2), pd.DataFrame([other]))
    assert not is_screening(runs)
    assert reach_verdict(runs).best == reach_verdict(grid(seeds=2)).best


def test_a_sweep_under_kill_that_killed_nothing_is_whole():
    """Its runs are those that `flag` would have trained: the same report."""
    runs = noisy(grid(seeds=2))
    assert str(reach_verdict(runs.assign(early_stop="kill"))) == str(reach_verdict(runs))


def test_a_killed_run_that_was_trained_on_screens_nothing():
    """`flag` goes on with a killed run: then none is cut off, and the table claims as any other."""
    runs = noisy(grid(seeds=2)).assign(early_stop="kill")
    runs.loc[0, "early_stop"] = "flag"
    assert not is_screening(runs)


# ------------------------------------------------------------------ a claim after a screening

CHOSEN = [(0.35, 2.66), (0.45, 2.0), (0.45, 4.0)]


def test_a_claim_rests_on_the_fresh_seeds_alone():
    """Means, noise and differences are those of the fresh runs as if there were no others."""
    fresh = whole(CHOSEN, range(2, 5))
    both = join(screened(), fresh)
    assert not is_screening(both)
    assert set(eligible_runs(both).seed) == {2, 3, 4}
    assert estimate_noise(both) == estimate_noise(fresh)
    pd.testing.assert_frame_equal(analysis.differences(both), analysis.differences(fresh))
    assert set(completed_cells(cells_table(both)).cell) == set(cells_table(fresh).cell)


def test_a_claim_says_which_seeds_screened_and_of_which_cells_nothing_is_said():
    """The limits name the seeds and the nine cells that have no whole run on another one."""
    both = join(screened(), whole(CHOSEN, range(2, 5)))
    text = describe_earlier_screening(both)
    assert text in report.limits(both) and "Seed 0 and 1 screened" in text
    assert text.count(" × ") == 9 and "45 % × 2.66" in text and "45 % × 4" not in text
    assert describe_earlier_screening(screened()) == describe_earlier_screening(grid()) == ""


def test_one_whole_cell_is_no_comparison():
    """The baseline's own noise floor, say: its further seeds make no claim of a screening."""
    assert is_screening(join(screened(), whole([(0.35, 2.66)], range(2, 10))))


def test_a_whole_run_on_a_seed_that_screened_is_not_used():
    """Its cell was chosen on that seed."""
    both = join(screened(), whole([*CHOSEN, (0.3, 3.0)], range(2)))
    assert is_screening(both)


def test_survivors_look_better_and_surer_than_they_are():
    """Why: ten equal cells, of which early stop leaves the runs that came out low.

    The survivors' mean lies below the truth and their noise below sigma, in the mean of 200 draws;
    a later claim on fresh seeds has neither fault.
    """
    generator = np.random.default_rng(0)
    losses = generator.normal(5.0, 0.01, (200, 10, 3))
    left = np.where(losses < 5.01, losses, np.nan)
    assert np.nanmean(left) < 5.0 - 0.002
    assert np.nanmean(np.nanstd(left, axis=(1, 2))) < 0.9 * 0.01


# ------------------------------------------------------------------ the command


def test_the_command_trains_what_was_left_on_fresh_seeds():
    """Every cell but the killed one, at three seeds that no row has, with `flag`: as `paramalloc
    sweep` reads it.
    """
    runs = screened(dataset="builtin")
    command = analysis.screening.claim_command(runs)
    words = command.split()
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert words[:3] == ["paramalloc", "sweep", "SWEEP"] and options["--early-stop"] == "flag"
    assert options["--seed"] == "2,3,4"
    sweep = load_sweep("grid", cells=options["--cells"], profile=options["--profile"])
    requests = {(cell.config.embed_share, cell.config.glu) for cell in sweep.cells}
    assert len(requests) == 11 and (0.25, 4.0) not in requests


# ------------------------------------------------------------------ the published grid


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    """The published rows with the grid's 17 flagged runs killed where they were flagged."""
    runs = read_results(ROOT / "outputs" / "reference" / "results.csv")
    flagged = runs.flagged_at_tokens > 0
    assert flagged.sum() == 17
    runs = killed(runs, flagged)
    return runs.assign(tokens_trained=runs.tokens_trained.where(~flagged, runs.flagged_at_tokens))


def test_the_published_grid_with_its_flagged_runs_killed_claims_nothing(published):
    """It names four cells that are worth whole runs, and has no winner, interval or difference."""
    verdict = reach_verdict(published)
    assert is_screening(published)
    assert (verdict.best, verdict.close, verdict.meaning, verdict.next_gap) == (None, (), (), None)
    assert "4 of 12 cells are worth whole runs, as none of their runs was stopped: " in str(verdict)
    assert all(cell in verdict.sentences[1] for cell in KEPT)
    assert all(f"{share:.0%}".replace("%", " %") in str(verdict) for share in SHARES)
    assert not re.search(CLAIMS, str(verdict))
    with pytest.raises(UserError, match="screening"):
        recommend(published, 1_000_000, 4_096)
    frames = (analysis.differences, analysis.main_effects, analysis.means, analysis.views)
    assert all(compute(published).empty for compute in frames)
    unknown = (analysis.estimate_noise, analysis.fit_surface, analysis.wrong_kills)
    assert not any(compute(published) for compute in unknown)


def test_no_part_of_its_report_claims(published, tmp_path):
    """RESULTS.md, and each part of the notebook that report.html is made of."""
    figures = {
        name: plots.show(getattr(plots, name)(published))
        for name in (
            "share_glu_heatmap",
            "difference_forest",
            "response_surface",
            "learning_curves",
        )
    }
    write_results(published, figures, tmp_path)
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "This is a screening and claims nothing" in text.splitlines()[2]
    parts = [report.effects, report.certainty, report.fronts, report.surface_minimum]
    parts += [report.conclusion, report.reasons, report.methods, report.limits, report.corpus]
    parts += [report.cell_results, report.cell_shapes, report.scale, report.unfinished]
    for part in [text, *(repr(part(published)) for part in parts)]:
        assert not re.search(CLAIMS, part)
        assert not re.search(r"\bnan\b", part, re.IGNORECASE)
    assert isinstance(figures["difference_forest"], Note)
