"""The best learning rate of a shape, how far it moves, and what one rate for all costs."""

import math

import numpy as np
import pandas as pd
import pytest

from paramalloc import plots
from paramalloc.analysis import moves, nats, optima, slopes
from paramalloc.analysis.transfer import loss_at, losses_by_rate, optimum, regret, transfer_verdict
from paramalloc.config import ROOT
from paramalloc.runs import read_results

RATES = [1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2]
SHAPES = [(48, 8), (96, 8), (192, 8), (96, 2), (96, 32)]


def runs(best: dict, curve: float = 0.1) -> pd.DataFrame:
    """Losses 4.5 + curve (log2 lr - log2 best)^2, where best[parametrization](d_model, n_layers) is
    the rate of the minimum.
    """
    return pd.DataFrame(
        [
            {
                "parametrization": name,
                "embed_lr": 3.0,
                "d_model": d,
                "n_layers": n,
                "lr": lr,
                "seed": 0,
                "status": "completed",
                "dev_loss": 4.5 + curve * math.log2(lr / rate(d, n)) ** 2,
            }
            for name, rate in best.items()
            for d, n in SHAPES
            for lr in RATES
        ]
    )


TWO = {"completep": lambda d, n: 3e-3, "standard": lambda d, n: 3e-3 * 96 / d}


def test_a_parabola_gives_its_own_vertex():
    """Between the rates that were tried the minimum is found exactly, and its loss."""
    found = optima(runs({"completep": lambda d, n: 3e-3}))
    assert (
        found.best_lr.to_numpy() == pytest.approx(3e-3)
        and found.best_loss.to_numpy() == pytest.approx(4.5)
        and not found.edge.any()
    )


def test_a_best_rate_at_the_edge_is_called_one():
    """Of losses that only fall, the last rate and its loss."""
    found = optima(runs({"standard": lambda d, n: 1.0}))
    assert found.edge.all() and (found.best_lr == RATES[-1]).all()


def test_a_diverged_run_is_no_best():
    """Without a loss a rate does not count."""
    frame = runs({"completep": lambda d, n: 8e-3})
    frame.loc[frame.lr == 1.6e-2, ["dev_loss", "status"]] = [np.nan, "diverged"]
    assert (optima(frame).best_lr == 8e-3).all()


def diverged(frame: pd.DataFrame, where) -> pd.DataFrame:
    """The runs with those of `where` diverged."""
    return frame.assign(
        status=frame.status.mask(where, "diverged"), dev_loss=frame.dev_loss.mask(where)
    )


def test_a_best_beside_a_divergence_is_at_the_edge():
    """Nothing is known above it, and a shape that diverged at all rates has no best one: named,
    with an infinite loss.
    """
    frame = runs({"completep": lambda d, n: 7e-3})
    found = optima(diverged(frame, (frame.lr > 8e-3) | (frame.d_model == 192))).set_index(
        ["d_model", "n_layers"]
    )
    assert found.edge.all() and (found.drop(index=(192, 8)).best_lr == 8e-3).all()
    assert math.isnan(found.best_lr[192, 8]) and found.best_loss[192, 8] == math.inf


def test_moves_are_octaves_and_the_loss_of_one_rate_for_all():
    """A best rate that halves with each doubling of the width moves by -2 octaves from 48 to 192,
    and by none with the depth; the rate of 96 is one octave off in the others: 0.1 nats, and a
    little where it lies beyond the parabola's points. Where the best rate stays, one rate for all
    costs nothing.
    """
    found = moves(runs(TWO), base=(96, 8)).set_index(["parametrization", "axis"])
    assert found.octaves.to_dict() == pytest.approx(
        {
            ("completep", "width"): 0,
            ("completep", "depth"): 0,
            ("standard", "width"): -2,
            ("standard", "depth"): 0,
        },
        abs=1e-9,
    )
    assert 0.1 <= found.regret["standard", "width"] < 0.13 and found.regret.drop(
        ("standard", "width")
    ).to_numpy() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_no_rate_is_better_than_the_best(seed):
    """Of any losses the regret at the best rate is exactly 0 and nowhere below; at a rate that was
    tried it is that loss less the best.
    """
    draw = np.random.default_rng(seed)
    losses = pd.Series(draw.normal(4.5, 0.2, 5), RATES)
    best = optimum(losses)
    assert (
        regret(losses, best["best_lr"])
        == 0.0
        <= min(regret(losses, lr) for lr in np.geomspace(1.001e-3, 1.599e-2, 200))
    )
    assert [regret(losses, lr) for lr in RATES] == pytest.approx(
        list(losses - best["best_loss"]), abs=1e-9
    )


def test_the_curve_is_the_parabola_and_straight_beyond_its_points():
    """Of a parabola's losses: its own value between the neighbours of the best rate; beyond them,
    half-way between two rates their mean.
    """
    losses = pd.Series([4.5 + 0.1 * math.log2(lr / 3e-3) ** 2 for lr in RATES], RATES)
    assert loss_at(losses, 2.5e-3) == pytest.approx(
        4.5 + 0.1 * math.log2(2.5 / 3) ** 2
    ) and loss_at(losses, 5e-3) == pytest.approx(4.5 + 0.1 * math.log2(5 / 3) ** 2)
    assert loss_at(losses, 1e-3 * 2**0.5) == pytest.approx((losses[1e-3] + losses[2e-3]) / 2)


def test_a_shape_that_diverges_at_the_rate_of_the_base_has_no_finite_regret():
    """Infinite where it diverged at that rate, between it and one that did not, or at all rates;
    one of two seeds suffices.
    """
    frame = runs(TWO)
    wide = (frame.parametrization == "standard") & (frame.d_model == 192)
    half = pd.concat([frame, diverged(frame.assign(seed=1), wide & (frame.lr == 4e-3))])
    for case in (diverged(frame, wide & (frame.lr >= 4e-3)), diverged(frame, wide), half):
        found = moves(case, base=(96, 8)).set_index(["parametrization", "axis"]).regret
        assert found["standard", "width"] == math.inf and found["standard", "depth"] < 1e-9
        assert "0.000 nats under `completep` and diverges under `standard`" in transfer_verdict(
            case, base=(96, 8)
        )
    assert nats(math.inf) == "diverges" and nats(0.0471) == "0.047"


def test_a_rate_that_was_not_tried_is_not_known():
    """Outside of the tried range the regret is NaN, of the axis too; above a rate that diverged it
    is infinite.
    """
    frame = runs(TWO)
    found = (
        moves(frame[~((frame.d_model == 192) & (frame.lr > 2e-3))], base=(96, 8))
        .set_index(["parametrization", "axis"])
        .regret
    )
    assert found[:, "width"].isna().all() and found[:, "depth"].notna().all()
    losses = losses_by_rate(diverged(frame, frame.lr > 8e-3)).loc["completep", 3.0, 96, 8]
    assert (
        loss_at(losses, 2e-2) == math.inf
        and math.isnan(loss_at(losses, 5e-4))
        and math.isnan(regret(losses.iloc[:-1], 2e-2))
    )


def test_the_verdict_names_the_one_that_loses_less():
    """With its multiplier, or says that there is nothing to compare, as where the two were trained
    with different ones.
    """
    said, other = transfer_verdict(runs(TWO), base=(96, 8)), runs(TWO)
    assert (
        "loses 0.000 nats under `completep` and loses 0.124 nats under `standard`** (embed_lr 3)"
        in said
    )
    assert "no runs to compare" in transfer_verdict(
        runs({"completep": TWO["completep"]}), base=(96, 8)
    )
    assert "no runs to compare" in transfer_verdict(
        other.assign(embed_lr=other.parametrization.map({"completep": 10.0, "standard": 3.0})),
        base=(96, 8),
    )


def test_the_verdict_does_not_call_unknown_nothing():
    """A shape that was not tried at the rate: its cost is not known, and the other parametrization
    is named first.
    """
    frame = runs(TWO)
    few = frame[
        ~((frame.parametrization == "completep") & (frame.d_model == 192) & (frame.lr > 2e-3))
    ]
    assert (
        "loses 0.124 nats under `standard` and loses an amount that is not known"
        in transfer_verdict(few, base=(96, 8))
    )


def test_the_verdict_compares_what_both_have():
    """Without one's widths only the depths are compared; a shape that diverged at all rates is not
    in the mean of the best losses.
    """
    frame = runs(TWO)
    depths = frame[~((frame.parametrization == "standard") & (frame.d_model != 96))]
    assert (
        "loses 0.000 nats under `completep` and loses 0.000 nats under `standard`"
        in transfer_verdict(depths, base=(96, 8))
    )
    lost = diverged(frame, (frame.parametrization == "standard") & (frame.d_model == 192))
    assert (
        "mean dev loss is 4.500 under `completep` and 4.500 under `standard`"
        in transfer_verdict(lost, base=(96, 8))
    )


def test_the_verdict_counts_the_seeds():
    """One, several, or from the fewest to the most of a shape and rate; runs of other multipliers
    do not count.
    """
    frame = runs(TWO)
    both, more = pd.concat([frame, frame.assign(seed=1)]), frame.iloc[:3].assign(seed=1)
    other = frame[frame.parametrization == "completep"].assign(embed_lr=10.0, seed=7)
    for case, words in (
        (frame, "One seed."),
        (both, "2 seeds."),
        (pd.concat([frame, more]), "1 to 2 seeds."),
        (pd.concat([frame, other]), "One seed."),
    ):
        assert transfer_verdict(case, base=(96, 8)).endswith(f" {words}")


def test_slopes_are_exponents():
    """Changes that grow with the root of the width and fall with the depth: 0.5 and -1."""
    rows = [
        {
            "parametrization": "x",
            "axis": axis,
            "what": "logits",
            "step": 1,
            "d_model": d,
            "n_layers": n,
            "change": d**0.5 / n,
        }
        for axis, sizes in (
            ("width", [(64, 4), (128, 4), (256, 4)]),
            ("depth", [(64, 2), (64, 8), (64, 32)]),
        )
        for d, n in sizes
    ]
    assert slopes(pd.DataFrame(rows)).set_index("axis").slope.to_dict() == pytest.approx(
        {"width": 0.5, "depth": -1.0}
    )


def test_charts_draw_every_shape_and_rate():
    """The chart of rates holds each mean once per panel that its shape belongs to, and a note where
    nothing was trained.
    """
    frame = runs(TWO)
    spec = plots.best_rates(frame, optima(frame)).to_dict()
    rows = [row for data in spec["datasets"].values() for row in data if "dev_loss" in row]
    assert len(rows) == 2 * 2 * 3 * len(RATES)
    assert "no runs yet" in plots.best_rates(frame.iloc[:0], optima(frame.iloc[:0]))


def test_the_page_of_sweeps_says_what_was_measured():
    """Octaves by width and depth under both, recomputed from the published runs."""
    published = read_results(ROOT / "outputs" / "reference" / "transfer" / "results.csv")
    found = (
        moves(published, base=(96, 8))
        .set_index(["embed_lr", "parametrization", "axis"])
        .octaves.abs()
        .sort_index()
    )
    fast, found = found.xs((10.0, "completep")), found.xs(3.0)
    page = " ".join((ROOT / "params" / "README.md").read_text(encoding="utf-8").split())
    width, depth = found["completep", "width"], found["completep", "depth"]
    assert (
        f"moves by {width:.1f} octaves (doublings) from width 48 to 192 and by {depth:.1f} "
        "from depth 2 to 32."
    ) in page
    width, depth = found["standard", "width"], found["standard", "depth"]
    assert f"Under `standard` it moves by at least {width:.1f} and {depth:.1f}." in page
    assert (
        "learn ten instead of three times as fast, the best rate under `completep` moves by "
        f"{fast['width']:.1f} and {fast['depth']:.1f} octaves."
    ) in page
