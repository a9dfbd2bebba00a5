"""The surface is the truth where there is no noise, and says where it is not known."""

import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import design, draw_losses, empty, grid, noisy, run
from scipy import stats
from scipy.spatial import Delaunay

from paramalloc.analysis import LEVEL, fit_surface
from paramalloc.analysis.optimum import describe_optimum
from paramalloc.analysis.quadratic import AXES, mesh
from paramalloc.analysis.surface import fit_over
from paramalloc.analysis.variances import cell_variances
from paramalloc.runs import read_results


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
        len(grid_) > 60
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
    assert found.optimum == {"embed_share": None, "glu": None}
    assert "No optimum is reported" in found.text and "lack of fit" not in found.text


def curved(share: float, glu: float, centre: tuple[float, float] = (0.36, 2.8)) -> pd.DataFrame:
    """Three seeds of the grid whose loss curves by so much along each axis around the centre."""
    runs = grid(seeds=3)
    u, v = (np.log(runs[name].astype(float)) for name in ("embed_share", "glu"))
    u, v = u - math.log(centre[0]), v - math.log(centre[1])
    return noisy(runs.assign(dev_loss=5 + share * u**2 + glu * v**2), 0.001)


@pytest.mark.parametrize("share, glu", [(0.4, -0.2), (-0.4, -0.2), (0.4, 0.0)])
def test_what_is_no_bowl_has_no_optimum(share, glu):
    """A saddle, a maximum, a valley: the gradient is zero there and no minimum is named."""
    found = fit_surface(curved(share, glu))
    assert set(found.optimum.values()) == {None} and "No optimum is reported" in found.text
    assert None not in fit_surface(curved(0.4, 0.2)).optimum.values()


def test_a_bowl_beyond_the_edge_has_its_optimum_at_or_beyond_the_edge():
    """Losses fall with the share all the way: its interval starts at the edge and is open."""
    found = fit_surface(curved(0.4, 0.2, (0.8, 2.8)))
    best, _, high = found.optimum["embed_share"]
    assert best == pytest.approx(0.479, rel=0.03) and high == math.inf
    assert "at or beyond 48 %" in found.text


def test_a_bowl_is_told_by_the_t_test_of_its_curvature():
    """One axis: convex exactly where the one-sided p of ordinary least squares is below 5 %, each
    cell with its variance.
    """
    answers = set()
    for seed in range(30):
        runs = grid(seeds=2)[lambda rows: rows.requested_glu == 2.66].assign(glu=2.66)
        share = np.log(runs.embed_share.astype(float))
        runs = noisy(runs.assign(dev_loss=5 + 0.05 * (share - math.log(0.36)) ** 2), 0.003, seed)
        design = np.column_stack([share, share**2, runs.seed == 0, runs.seed == 1]).astype(float)
        beta, [rss], _, _ = np.linalg.lstsq(design, runs.dev_loss.to_numpy(float))
        df = len(runs) - 4
        weights = np.linalg.pinv(design)
        maker = np.eye(len(runs)) - design @ weights
        cell = share = pd.factorize(runs.requested_share)[0]
        variance, _, _ = cell_variances(maker, maker @ runs.dev_loss, rss / df, cell, share)
        error = math.sqrt(np.square(weights[1]) @ variance[cell])
        p = stats.t.sf(beta[1] / error, df)
        found = fit_surface(runs)
        if found.lack_of_fit_p < LEVEL:
            continue
        assert found.quadratic.is_convex() == (p < 0.05)
        answers.add(p < 0.05)
    assert answers == {True, False}


def test_a_bowl_is_told_by_the_draws_of_its_coefficients():
    """Convex where the Hessian is positive definite in 95 % of 4,000 draws of the coefficients, by
    Cholesky's test, and not where it is in fewer; draws that are near 95 % are not judged.
    """
    generator, answers = np.random.default_rng(9), []
    for glu in (0.0, 0.005, 0.01, 0.02, 0.04, 0.1):
        model = fit_surface(curved(0.4, glu)).quadratic
        law = stats.multivariate_t(
            model.beta[1:], model.covariance[1:, 1:], df=model.df, seed=generator
        )
        held = np.mean([is_bowl(*draw[2:]) for draw in law.rvs(4000)])
        if not 0.9 < held < 0.98:
            assert model.is_convex() == (held > 0.95), (glu, held)
            answers.append(held > 0.95)
    assert set(answers) == {True, False}


def is_bowl(square: float, product: float, other_square: float) -> bool:
    try:
        np.linalg.cholesky([[2 * square, product], [product, 2 * other_square]])
    except np.linalg.LinAlgError:
        return False
    return True


def test_the_published_surface_is_a_saddle_and_names_no_optimum(root):
    """By the eigenvalues of the Hessian, here by finite differences of what it predicts."""
    found = fit_surface(read_results(root / "outputs" / "reference" / "results.csv"))
    step = 0.02 * np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    points = pd.DataFrame(np.array([0.36, 2.8]) * np.exp(step), columns=list(AXES))
    loss = found.predict(points).dev_loss.to_numpy().reshape(3, 3)
    bend = [loss[0, 1] - 2 * loss[1, 1] + loss[2, 1], loss[1, 0] - 2 * loss[1, 1] + loss[1, 2]]
    twist = (loss[2, 2] - loss[2, 0] - loss[0, 2] + loss[0, 0]) / 4
    low, high = np.linalg.eigvalsh([[bend[0], twist], [twist, bend[1]]])
    assert low < 0 < high
    assert set(found.optimum.values()) == {None} and "No optimum is reported" in found.text


def test_two_levels_are_a_straight_line_and_nothing_is_said_beyond_them(root):
    """The published rows without 25 %: no square of the share, and 25 % is not predicted."""
    runs = read_results(root / "outputs" / "reference" / "results.csv")
    found = fit_surface(runs[runs.requested_share != 0.25])
    assert found.quadratic.straight == ["embed_share"]
    assert "the embedding share was trained at two levels" in found.text
    points = pd.DataFrame({"embed_share": [0.25, 0.33, 0.36, 0.40, 0.44], "glu": 2.7})
    loss = found.predict(points).dev_loss
    assert list(loss.isna()) == [True, True, False, False, False]
    slopes = np.diff(loss[2:]) / np.diff(np.log(points.embed_share[2:]))
    assert slopes[0] == pytest.approx(slopes[1])
    assert set(found.optimum.values()) == {None}


def test_what_is_predicted_lies_in_the_hull_of_the_cells():
    """Against the Delaunay triangulation of the cells; a sliver outside counts as within."""
    runs = curved(0.4, 0.2)
    runs = runs[(runs.requested_share < 0.45) | (runs.requested_glu < 3.5)]  # a corner is missing
    found = fit_surface(runs)
    points = mesh({"embed_share": (0.2, 0.55), "glu": (1.7, 4.5)}, 60)
    x = np.log(points[list(AXES)].to_numpy(float))
    triangles = Delaunay(np.log(runs[list(AXES)].to_numpy(float)))
    known = found.predict(points).dev_loss.notna()
    assert known[triangles.find_simplex(x) >= 0].all()
    centre = x[known].mean(axis=0)
    shrunk = centre + (x[known] - centre) * 0.85
    assert (triangles.find_simplex(shrunk) >= 0).all()
    assert not known[(points.embed_share > 0.45) & (points.glu > 4)].any()


def test_intervals_of_many_points_hold_together():
    """No true difference: those of 25 points to the baseline hold zero at once in 92 to 98.5 % of
    200 studies; taken alone, in fewer than 90 %.
    """
    study, generator = design(), np.random.default_rng(6)
    baseline = study[study.cell == "35 % × 2.66"].head(1)
    held = []
    for _ in range(200):
        surface = fit_over(draw_losses(study, 5.0, generator), tuple(AXES))
        if surface.lack_of_fit_p < LEVEL:
            continue
        points = mesh(surface.ranges, 5)
        points = points[surface.contains(points)]
        tables = [surface.predict(points, baseline, together) for together in (True, False)]
        held.append([((table.low <= 0) & (table.high >= 0)).all() for table in tables])
    together, alone = np.mean(held, axis=0)
    assert 0.92 <= together <= 0.985 and alone < 0.9


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
