"""A recommendation exists, meets its constraints, and says what it rests on and how far."""

import json
import math
import shlex
import time

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import empty, grid, noisy, run, timed_grid

from paramalloc.allocation import allocate, allocation, flops_per_token
from paramalloc.analysis import differences, recommend
from paramalloc.analysis.candidates import candidates
from paramalloc.analysis.coverage import missing_runs
from paramalloc.analysis.decoding import fit_decode_time
from paramalloc.analysis.evidence import nearest_first
from paramalloc.analysis.recipe import search_grid
from paramalloc.config import TrainConfig
from paramalloc.errors import UserError
from paramalloc.runs import read_results

SIZE = {"total_params": 1_000_000, "vocab_size": 4096}


def test_the_shape_is_near_the_minimum_that_made_the_data():
    """Share and expansion of the truth's minimum, as near as whole layers come, within the budget;
    nothing is extrapolated.
    """
    found = recommend(timed_grid(), **SIZE)
    assert found.shape.embed_share == pytest.approx(
        0.37, abs=0.04
    ) and found.shape.glu == pytest.approx(2.9, rel=0.15)
    assert (
        abs(found.shape.params["total"] / 1e6 - 1) <= 0.01
        and found.outside == ()
        and found.versus_best[0] == 0
    )
    assert found.alike["embed_share"][0] <= found.shape.embed_share <= found.alike["embed_share"][1]
    low, high = found.versus_baseline[1:]
    assert low <= found.versus_baseline[0] <= high


def test_the_prediction_is_compared_with_the_baseline_of_the_runs():
    """Another baseline, another difference, and its name in the row."""
    other = recommend(timed_grid().assign(baseline_share=0.25, baseline_glu=4.0), **SIZE)
    usual = recommend(timed_grid(), **SIZE)
    assert "versus 25 % × 4" in str(other) and "versus 35 % × 2.66" in str(usual)
    assert other.versus_baseline[0] < usual.versus_baseline[0]


@pytest.mark.parametrize("most", [0.55, 0.75, 1.0])
def test_a_limit_of_time_is_kept_and_has_its_price(most):
    """The predicted time is within it; the loss is not lower than without a limit; a tighter limit
    never lowers it.
    """
    found = recommend(timed_grid(), **SIZE, max_ms=most)
    assert found.decode_ms <= most and found.decode_ms == pytest.approx(
        0.2 + 0.1 * found.shape.model.n_layers, abs=0.02
    )
    assert found.versus_best[0] >= 0


def test_a_limit_of_flops_is_kept():
    """Training FLOPs per token, counted by the ledger at the runs' context."""
    free = recommend(timed_grid(), **SIZE)
    found = recommend(timed_grid(), **SIZE, max_flops=free.flops_per_token * 0.99)
    assert (
        found.flops_per_token
        == flops_per_token(found.shape.model, 256)["train"]
        <= free.flops_per_token * 0.99
    )


def test_an_impossible_limit_names_the_least_there_is():
    """One line with the least time and FLOPs that any shape near the data takes."""
    least = r"the least that any takes is .* ms per token and .* FLOPs per token"
    with pytest.raises(UserError, match=least):
        recommend(timed_grid(), **SIZE, max_ms=0.01)


def test_time_needs_runs_that_were_timed():
    """No decode_ms_per_token anywhere, or times that follow nothing: a limit on it is refused, and
    without a limit the time is left out.
    """
    untimed = noisy(grid(seeds=2))
    chance = untimed.assign(decode_ms_per_token=[1 + 7 * n % 5 for n in range(len(untimed))])
    for runs in (untimed, chance):
        with pytest.raises(UserError, match=r"max_ms cannot be judged.*`paramalloc time SWEEP`"):
            recommend(runs, **SIZE, max_ms=1)
        assert recommend(runs, **SIZE).decode_ms is None


def timings(shapes) -> pd.DataFrame:
    """Times made of a constant, layers, width and weights."""
    columns = ["n_layers", "d_model", "total_params"]
    rows = [(s.model.n_layers, s.model.d_model, s.params["total"]) for s in shapes]
    runs = pd.DataFrame(rows, columns=columns, dtype=float)
    milliseconds = 0.3 + runs @ [0.08, 0.002, 1e-7]
    return runs.assign(status="completed", decode_ms_per_token=milliseconds)


def test_decoding_is_fitted_on_layers_width_and_size():
    """Such times are predicted for other shapes among those that were timed, and for none beyond
    them; four shapes are too few.
    """
    shapes = [
        allocate(total, share, glu, 4096, multiple=4)
        for total in (1_000_000, 2_000_000, 4_000_000)
        for share in (0.15, 0.2, 0.25)
        for glu in (2.0, 4.0)
    ]
    fitted = fit_decode_time(timings(shapes))
    others = timings(
        [
            allocate(3_000_000, 0.2, 2.66, 4096, multiple=4),
            allocate(100_000_000, 0.2, 2.66, 16_000),
            allocate(3_000_000, 0.2, 2.66, 1024),
        ]
    )
    predicted = fitted.predict(others)
    assert predicted[0] == pytest.approx(others.decode_ms_per_token[0], rel=1e-6)
    assert np.isnan(predicted[1:]).all()
    assert fitted.error < 1e-6 and fit_decode_time(timings(shapes[:4])) is None


def test_what_is_far_from_the_data_is_said():
    """Ten times the parameters, four times the vocabulary: named, and no interval is given for
    there, in words or in JSON.
    """
    found = recommend(timed_grid(), 10_000_000, 16_000)
    for words in (
        "vocabulary 16,000 (trained: 4,096); width ",
        "not known: ",
        " nats per token is predicted, without an interval: none is known beyond what was trained",
        "\nmissing  ",
        "`paramalloc sweep grid --profile study`",
    ):
        assert words in str(found)
    assert found.details()["versus_baseline"] == [found.versus_baseline[0], None, None]
    near = recommend(timed_grid(), **SIZE)
    assert "not known" not in str(near) and "extrapolates" not in str(near)
    assert near.details()["versus_baseline"] == list(near.versus_baseline)


def elsewhere(*losses: float) -> pd.DataFrame:
    """Three shares at 10M parameters and vocabulary 16,000, one seed, with these losses."""
    rows = [
        run(
            share,
            2.66,
            total_params=10_000_000,
            vocab_size=16_000,
            data_fingerprint="f2",
            dev_loss=loss,
            run_id=f"e{share}",
        )
        for share, loss in zip((0.25, 0.35, 0.45), losses, strict=True)
    ]
    return pd.DataFrame(rows)


def test_rows_of_another_size_give_an_interval_there_as_wide_as_they_disagree():
    """Rows at 10M in the order that was predicted leave a narrow interval, in another a wide one;
    they are named; at the runs' own size they change nothing, and at 100M nothing is known.
    """
    own = timed_grid(3)
    wide, narrow = (
        recommend(pd.concat([own, rows], ignore_index=True), 10_000_000, 16_000)
        for rows in (elsewhere(4.0, 4.1, 4.2), elsewhere(4.07, 4.003, 4.02))
    )
    assert "the 3 cells at 10M parameters with vocabulary 16,000" in str(wide)
    assert width(wide) > 3 * width(narrow) > 0
    assert not wide.claims_better and "not distinguishable" in str(wide)
    both = pd.concat([own, elsewhere(4.0, 4.1, 4.2)], ignore_index=True)
    assert recommend(both, **SIZE).versus_baseline == recommend(own, **SIZE).versus_baseline
    far = recommend(both, 60_000_000, 60_000)
    assert math.isnan(far.versus_baseline[1])


def test_the_spot_check_contradicts_the_published_grid(root):
    """At 10M its order is another: with its rows the interval there spans both directions."""
    reference = root / "outputs" / "reference"
    tables = [reference / "results.csv", reference / "spot_check" / "results.csv"]
    runs = pd.concat([read_results(table) for table in tables], ignore_index=True)
    found = recommend(runs, 10_000_000, 16_000)
    assert found.versus_baseline[1] < -0.1 and found.versus_baseline[2] > 0.1
    assert "the 3 cells at 10M parameters" in found.misfit


@pytest.mark.parametrize(
    "total_params, vocab_size, words",
    [
        (10_000_000, 4096, "are other shapes than were trained"),
        (1_000_000, 8192, "are other shapes than were trained"),
        (10**9, 65_536, "are other shapes than were trained"),
        (50_000, 4096, "no shape of 50,000 parameters with vocab_size 4,096 lies among"),
    ],
)
def test_what_no_run_resembles_is_refused(total_params, vocab_size, words):
    """One layer of width 832, 52 x 13 where that was the worst: the missing runs in one line."""
    with pytest.raises(UserError, match=words) as error:
        recommend(timed_grid(), total_params, vocab_size)
    said = str(error.value)
    assert f"missing is a grid at {total_params:,} parameters with vocabulary" in said
    assert "\n" not in said


def test_the_missing_runs_come_with_their_command_where_a_profile_has_them():
    """The study's size is that of a profile; no other budget is."""
    assert missing_runs(10_000_000, 16_000).endswith("`paramalloc sweep grid --profile study`")
    assert missing_runs(1_000_000, 4096).endswith("`paramalloc sweep grid --profile reference`")
    assert "a copy of params/grid.yaml" in missing_runs(10_000_000, 8192)


@pytest.mark.parametrize("gap", [0.0, 0.005, 0.1])
def test_better_is_claimed_only_where_the_report_claims_it(gap):
    """A cell that is truly better by `gap`: the interval holds the report's for the nearest cell,
    and excludes zero only where that does. A large gap is claimed.
    """
    runs = grid(seeds=3)
    rise = np.log(runs.embed_share.astype(float) / 0.48)
    runs = noisy(runs.assign(dev_loss=5 - gap * 3 * rise), 0.004)
    found = recommend(runs, **SIZE)
    row = differences(runs).set_index("cell").loc[found.nearest]
    difference, low, high = found.versus_baseline
    assert low <= row.low_all and row.high_all <= high and low <= difference <= high
    assert found.claims_better == (high < 0) == (gap == 0.1)
    assert ("better" in dict(found.rows())["versus 35 % × 2.66"]) == (gap == 0.1)


def test_the_baseline_itself_is_not_better_than_itself():
    """Where the nearest trained cell is the baseline, nothing is claimed."""
    runs = grid(seeds=3)
    share = np.log(runs.embed_share.astype(float) / 0.36)
    glu = np.log(runs.glu.astype(float) / 2.66)
    found = recommend(noisy(runs.assign(dev_loss=5 + share**2 + glu**2), 0.0005), **SIZE)
    assert found.nearest == found.baseline and not found.claims_better


@pytest.mark.parametrize(
    "asked", [{"total_params": 9_999}, {"total_params": 2 * 10**9}, {"vocab_size": 256}]
)
def test_a_budget_that_cannot_be_trained_is_refused(asked):
    """The limits are those of TrainConfig."""
    with pytest.raises(UserError, match=f"{next(iter(asked))} must be between"):
        recommend(timed_grid(), **SIZE | asked)


def test_the_largest_budget_is_answered_soon():
    """A billion parameters take seconds of computation, not minutes, to be refused."""
    runs, start = timed_grid(), time.process_time()
    with pytest.raises(UserError):
        recommend(runs, 10**9, 65_536)
    assert time.process_time() - start < 10


def test_what_was_trained_can_be_recommended():
    """Shapes are as fine as the profile's of the runs: of the quick profile widths that are no
    multiple of 8 are among the candidates; at larger budgets coarser, and the study's own for runs
    of an unknown profile.
    """
    eligible, surface = nearest_first(timed_grid(), **SIZE)[0]
    widths = {
        shape.model.d_model % 8
        for shape in candidates(eligible, surface, **SIZE, decode=None)["shape"]
    }
    assert widths == {0, 4}
    assert search_grid(eligible, 1_000_000) == {"multiple": 4, "tolerance": 0.01}
    assert (
        search_grid(eligible, 10_000_000)["multiple"] == 8
        and search_grid(eligible, 10**9)["multiple"] == 64
    )
    assert search_grid(eligible.assign(profile=None), 1_000_000) == {
        "multiple": 8,
        "tolerance": 0.005,
    }


def test_the_nearest_group_of_runs_answers():
    """Of runs at two sizes those at the asked one are used, though the others are more."""
    large = [
        run(
            share,
            glu,
            seed,
            total_params=9_900_000 + seed,
            vocab_size=16_000,
            dev_loss=4 + share + glu / 100 + 0.001 * (share * glu * 7 % 1),
        )
        for share in (0.25, 0.35, 0.45)
        for glu in (2.0, 2.66, 3.0, 4.0)
        for seed in range(4)
    ]
    runs = pd.concat([timed_grid(), pd.DataFrame(large)], ignore_index=True)
    assert (
        "at 9.9M parameters" in recommend(runs, 10_000_000, 16_000).rests_on
        and "at 0.989M" in recommend(runs, **SIZE).rests_on
    )


def shares(size: float, **changed) -> pd.DataFrame:
    """Three shares at one GLU expansion, three seeds, trained at `size` parameters."""
    rows = [
        run(
            share,
            2.66,
            seed,
            total_params=size,
            dev_loss=5 + (share - 0.3) ** 2 + 0.001 * (share * 70 + seed * 3) % 0.004,
            **changed,
        )
        for share in (0.25, 0.35, 0.45)
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def test_a_grid_answers_before_a_nearer_group_that_held_an_axis():
    """Three shares at 2M say nothing of GLU: asked for 10M, the grid at 1M answers, and both axes
    have a range.
    """
    found = recommend(
        pd.concat([shares(2e6, tokens=600_000), timed_grid(3)], ignore_index=True),
        10_000_000,
        16_000,
    )
    assert "36 runs of 12 cells" in found.rests_on and "at 0.989M" in found.rests_on
    assert None not in found.alike.values() and "not compared" not in str(found)


def test_where_the_first_group_resembles_nothing_the_next_answers():
    """The grid at 1M has no shape like those of 2M with its vocabulary; shares trained there do."""
    there = shares(2e6, d_model=176, n_layers=2, n_heads=4, d_head=44)
    with pytest.raises(UserError, match="are other shapes than were trained"):
        recommend(timed_grid(3), 2_000_000, 4096)
    found = recommend(pd.concat([timed_grid(3), there], ignore_index=True), 2_000_000, 4096)
    assert "9 runs of 3 cells" in found.rests_on and "at 2M parameters" in found.rests_on


def test_a_long_label_does_not_run_into_its_text():
    """The baseline's name may be longer than every other label; the texts stay in one column."""
    runs = shares(1e6).assign(baseline_share=0.3512, baseline_glu=2.6667)
    recommendation = recommend(runs, **SIZE)
    starts = set()
    for line, (label, text) in zip(
        str(recommendation).splitlines(), recommendation.rows(), strict=True
    ):
        assert line.startswith(f"{label}  ")
        starts.add(line.rindex(text))
    assert len(starts) == 1


def test_an_axis_that_was_not_varied_is_not_compared():
    """Alone, those three shares answer: no range of GLU, in words or in JSON, and it is named."""
    found = recommend(shares(1e6), **SIZE)
    assert (
        found.alike["glu"] is None
        and found.alike["embed_share"][0]
        <= found.shape.embed_share
        <= found.alike["embed_share"][1]
    )
    [alike] = [text for what, text in found.rows() if what == "as good as"]
    assert (
        "GLU" not in alike
        and dict(found.rows())["not compared"] == "GLU expansion: the runs have one value"
    )
    assert json.loads(json.dumps(found.details()["alike"]))["glu"] is None


def test_of_equally_near_groups_the_one_with_more_tokens_answers():
    """A size that is rounded half a percent nearer counts for nothing, one that is a half nearer
    for all; then the runs count.
    """
    short, long = timed_grid(4), timed_grid(2).assign(tokens=600_000)

    def at(runs, factor):
        return runs.assign(total_params=runs.total_params * factor)

    def tokens(*parts):
        runs, _ = nearest_first(pd.concat(parts, ignore_index=True), 10_000_000, 4096)[0]
        return runs.tokens.median()

    assert (
        tokens(at(short, 1.005), long)
        == tokens(short, long)
        == tokens(short, at(long, 1.5))
        == 600_000
    )
    assert tokens(at(short, 1.5), long) == 300_000
    runs, _ = nearest_first(
        pd.concat([timed_grid(2), timed_grid(4).assign(optimizer="muon")], ignore_index=True),
        **SIZE,
    )[0]
    assert len(runs) == 48


def width(recommendation) -> float:
    """Of the interval of the difference to the baseline."""
    _, low, high = recommendation.versus_baseline
    return high - low


def test_a_surface_that_does_not_fit_is_said_and_is_wide():
    """One cell far off, three seeds: the prediction is called a guess, and its intervals hold how
    far the cells lie off the surface.
    """
    fits = timed_grid(3)
    off = fits.assign(
        dev_loss=fits.dev_loss
        + 0.1 * ((fits.requested_share == 0.35) & (fits.requested_glu == 3.0))
    )
    guess, fitted = recommend(off, **SIZE), recommend(fits, **SIZE)
    assert "is a guess" in str(guess) and "is a guess" not in str(fitted)
    assert width(guess) > 10 * width(fitted)


def test_one_seed_claims_nothing():
    """Without repeated runs the report has no interval, and neither has this; two seeds have."""
    one, two = recommend(timed_grid(1), **SIZE), recommend(timed_grid(4), **SIZE)
    assert "one seed" in one.rests_on and "one seed" not in two.rests_on
    assert "not known" in str(one) and not one.claims_better
    assert math.isnan(width(one)) and width(two) > 0


@pytest.mark.parametrize(
    "runs", [empty(), grid().assign(status="failed", dev_loss=math.nan)], ids=["none", "failed"]
)
def test_without_results_it_says_what_to_do(runs):
    """No run, or none complete: one line that names the command."""
    with pytest.raises(
        UserError,
        match="no finished runs to recommend from: train a grid first, `paramalloc sweep grid`",
    ):
        recommend(runs, **SIZE)


def test_too_few_cells_are_no_surface():
    """Two cells do not make a surface: said, with their number."""
    with pytest.raises(UserError, match="2 completed cells are too few"):
        recommend(pd.DataFrame([run(0.25, 2.66), run(0.45, 2.66)]), **SIZE)


def test_the_command_trains_the_shape_that_is_recommended():
    """What papermill would get from the command is the shape, in either profile."""
    found = recommend(timed_grid(), 10_000_000, 16_000)
    words = shlex.split(found.command)
    given = {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
    for profile in ("quick", "study"):
        assert (
            allocation(TrainConfig.from_dict(given | {"profile": profile, "device": "cpu"})).model
            == found.shape.model
        )


def test_the_command_trains_as_the_runs_were_trained():
    """Dataset, profile, optimizer, parametrization and rate are those of the runs, tokens as many a
    parameter; what rests on what is said.
    """
    runs = timed_grid().assign(
        dataset="a corpus", optimizer="muon", parametrization="standard", warmup=0.2
    )
    found = recommend(runs, 4_000_000, 10_240)
    words = shlex.split(found.command)
    config = TrainConfig.from_dict(
        {words[i + 1]: words[i + 2] for i, word in enumerate(words) if word == "-p"}
        | {"device": "cpu"}
    )
    ratio = 4_000_000 / runs.total_params.median()
    assert (
        config.dataset,
        config.profile,
        config.optimizer,
        config.parametrization,
        config.warmup,
    ) == ("a corpus", "quick", "muon", "standard", 0.2)
    assert config.lr == pytest.approx(
        3e-3 / ratio**0.5, rel=1e-2
    ) and config.tokens == pytest.approx(300_000 * ratio, rel=1e-2)
    assert config.multiple == 8 and config.batch_tokens == 2048
    assert "on 2 seeds (0, 1)" in found.rests_on and "of a corpus" in found.rests_on
