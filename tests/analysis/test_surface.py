"""The surface is the truth where there is no noise, and says where it is not known."""

import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import empty, grid, noisy, run

from paramalloc.analysis import (
    fit_surface,
)
from paramalloc.analysis.optimum import describe_optimum


def test_a_surface_without_noise_is_the_truth():
    """Losses that are a quadratic of the logarithms: its minimum, its values, no lack of fit."""
    runs = grid(seeds=2)
    u, v = np.log(runs.embed_share.astype(float)), np.log(runs.glu.astype(float))
    runs["dev_loss"] = (
        5 + 0.4 * (u - math.log(0.37)) ** 2 + 0.1 * (v - math.log(2.8)) ** 2 + 0.1 * runs.seed
    )
    found = fit_surface(runs)
    assert found.optimum["embed_share"][0] == pytest.approx(0.37, rel=0.01) and found.optimum[
        "glu"
    ][0] == pytest.approx(2.8, rel=0.01)
    grid_ = found.grid(9)
    truth = 5.05 + 0.4 * np.log(grid_.embed_share / 0.37) ** 2 + 0.1 * np.log(grid_.glu / 2.8) ** 2
    assert (
        len(grid_) == 81
        and grid_.dev_loss.to_numpy() == pytest.approx(truth.to_numpy(), abs=1e-6)
        and grid_.difference.min() >= 0
    )


def test_a_shape_that_is_no_quadratic_is_a_lack_of_fit():
    """A single cell far off the surface, with little noise: the F test says so; without it, it does
    not.
    """
    runs = noisy(grid(seeds=3), 0.001)
    off = runs.assign(
        dev_loss=runs.dev_loss
        + 0.1 * ((runs.requested_share == 0.35) & (runs.requested_glu == 3.0))
    )
    flat = noisy(grid(seeds=3).assign(dev_loss=5.0), 0.01, seed=3)
    assert (
        "does not describe these cells (lack of fit, p < 0.001): no optimum is reported"
        in fit_surface(off).text
        and set(fit_surface(off).optimum.values()) == {None}
    )
    assert fit_surface(off).lack_of_fit_p < 1e-6 and fit_surface(flat).lack_of_fit_p > 0.01


def test_flat_data_do_not_tell_an_optimum():
    """Noise alone: no interval for either axis, and the words for that."""
    found = fit_surface(noisy(grid(seeds=3).assign(dev_loss=5.0), 0.01, seed=3))
    assert (
        found.optimum == {"embed_share": None, "glu": None}
        and found.text.count("not distinguishable") == 2
        and "lack of fit" not in found.text
    )


def test_a_slope_has_its_optimum_at_or_beyond_the_edge():
    """Loss that falls with the share all the way: the interval starts at the largest share and is
    open.
    """
    runs = grid(seeds=3)
    falling = noisy(
        runs.assign(
            dev_loss=5
            - 0.5 * np.log(runs.embed_share.astype(float))
            + 0.2 * np.log(runs.glu.astype(float) / 2.8) ** 2
        ),
        0.001,
    )
    best, _, high = fit_surface(falling).optimum["embed_share"]
    assert (
        best == pytest.approx(runs.embed_share.max())
        and high == math.inf
        and "at or beyond 48 %" in fit_surface(falling).text
    )


def test_an_open_interval_that_starts_within_the_range_claims_its_bound_alone():
    """The fit's lowest point at the edge is no optimum that was found: only the bound is said of
    it.
    """
    said = describe_optimum(
        {"embed_share": (0.45, 0.29, math.inf)}, {"embed_share": (0.24, 0.45)}, 3
    )
    assert said == (
        "The fitted loss is lowest at the edge, 45 %; "
        "the best embedding share is at least 29 % (95 % confidence)."
    )


def test_a_sweep_of_one_axis_has_a_surface_of_it():
    """Three shares at one expansion, three seeds: an optimum of the share, none of the expansion;
    of too few runs, no surface.
    """
    sweep = grid(seeds=3)[lambda rows: rows.requested_glu == 2.66].assign(glu=2.66)
    found = fit_surface(noisy(sweep))
    assert (
        found.axes == ("embed_share",)
        and found.optimum["glu"] is None
        and len(found.grid(5)) == 5
        and "GLU" not in found.text
    )
    assert fit_surface(sweep[sweep.seed == 0]) is None and fit_surface(empty()) is None


def test_an_axis_that_varies_is_never_left_out():
    """Four cells whose expansion falls as the share grows, too few for both axes: no surface,
    rather than the expansion's effect as the share's.
    """
    few = pd.DataFrame(
        [
            run(share, glu, seed)
            for share, glu in ((0.25, 4.0), (0.35, 3.0), (0.35, 2.66), (0.45, 2.0))
            for seed in range(3)
        ]
    )
    assert fit_surface(noisy(few)) is None
