"""A response surface of dev loss over embedding share and GLU expansion.

    y = b_s + b_u u + b_v v + b_uu u^2 + b_uv u v + b_vv v^2 + e

with u = ln share and v = ln glu (realised), a block b_s for each seed and a variance of e for each
cell (`variances`), from which the covariance of least squares follows. It holds for these dev
documents, which all cells share, and within the convex hull of the cells. An axis with two levels
has no square.
Shapes: N runs, C cells, n points, p terms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .comparisons import T_DRAWS, draw_t
from .hull import EDGE_TOLERANCE, Hull, hull_of
from .least_squares import EXACT
from .noise import fit, satterthwaite
from .optimum import GRID_SIDE, describe_no_optimum, describe_optimum, locate_optimum
from .power import LEVEL
from .quadratic import AXES, Quadratic, mesh, products_for, quadratic_terms
from .selection import eligible_runs
from .variances import cell_variances

VARIES = 0.05  # range of a logarithm: below, an axis was not varied, only rounded
FEWEST_CELLS = 3
CONDITION = 200  # of the standardised terms: above, the axes do not vary apart from each other


@dataclass(frozen=True)
class Surface:
    """The fitted surface.

    `optimum`: for each axis (estimate, low, high), 95 %, where an end that the data do not bound is
    0 or inf. None where no optimum is distinguishable, the axis was not fitted, the fit is not
    convex with 95 % confidence, or a quadratic does not describe the cells. `lack_of_fit_p`: of the
    F test against the scatter of seeds; NaN without any. `sigma`: residual, nats per token, pooled;
    where a quadratic does not describe the cells, how far they lie off it.
    """

    quadratic: Quadratic
    optimum: dict
    lack_of_fit_p: float
    sigma: float
    n_seeds: int
    ranges: dict
    hull: Hull

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes that were fitted."""
        return self.quadratic.axes

    @property
    def df(self) -> float:
        """Degrees of freedom of the intervals."""
        return self.quadratic.df

    @property
    def text(self) -> str:
        """The optimum in a sentence or two, or why there is none."""
        if self.lack_of_fit_p < LEVEL or not self.quadratic.is_convex():
            return describe_no_optimum(self.quadratic, self.lack_of_fit_p)
        fitted = {name: self.optimum[name] for name in self.axes}
        return describe_optimum(fitted, self.ranges, self.n_seeds)

    def contains(self, points: pd.DataFrame) -> np.ndarray:
        """(n,): whether the points lie within the convex hull of the cells, on the log scale."""
        inside = self.hull.contains(np.log(points[list(self.axes)].to_numpy(float)))
        for name, ends in self.ranges.items():
            low, high = np.log(ends)
            value = np.log(points[name].to_numpy(float))
            inside &= (low - EDGE_TOLERANCE <= value) & (value <= high + EDGE_TOLERANCE)
        return inside

    def predict(
        self, points: pd.DataFrame, to: pd.DataFrame | None = None, together: bool = False
    ) -> pd.DataFrame:
        """The points (columns embed_share and glu) with dev_loss, difference, low and high.

        `difference` is to the point `to`, or to the lowest predicted within the hull where it is
        None; `low` and `high` its 95 % interval, the compared point taken as given. With `together`
        the intervals of all points hold at once, which a point that was picked by its prediction
        needs. Nats per token; NaN outside of the hull.
        """
        beta, covariance = self.quadratic.beta, self.quadratic.covariance
        terms = self.quadratic.terms(points)
        terms[~self.contains(points)] = np.nan
        apart = terms - (self._lowest() if to is None else self.quadratic.terms(to))
        variance = np.einsum("ij,jk,ik->i", apart, covariance, apart).clip(0)
        critical = stats.t.ppf(1 - LEVEL / 2, self.df)
        if together:
            critical = self._critical_value(apart[variance > 0])
        difference = apart @ beta
        half = critical * np.sqrt(variance)
        return points.assign(
            dev_loss=terms @ beta,
            difference=difference,
            low=difference - half,
            high=difference + half,
        )

    def _critical_value(self, contrasts: np.ndarray) -> float:
        """The |t| that all contrasts (n, p) of the coefficients stay below at once in 95 %.

        `comparisons.critical_value`, from draws of the coefficients: the contrasts are many more.
        """
        if not len(contrasts):
            return 0.0
        covariance, generator = self.quadratic.covariance, np.random.default_rng(0)
        error = np.sqrt(np.einsum("ij,jk,ik->i", contrasts, covariance, contrasts))
        draws = draw_t(covariance, self.df, T_DRAWS, generator) @ contrasts.T
        largest = np.abs(draws / error).max(axis=1)
        return float(np.quantile(largest, 1 - LEVEL, method="higher"))

    def _lowest(self) -> np.ndarray:
        """The terms (1, p) of the lowest predicted point within the hull."""
        terms = self.quadratic.terms(self._mesh(GRID_SIDE))
        return terms[[np.argmin(terms @ self.quadratic.beta)]]

    def _mesh(self, n: int) -> pd.DataFrame:
        """Of n x n points over the data's range those within the hull."""
        points = mesh(self.ranges, n)
        return points[self.contains(points)].reset_index(drop=True)

    def grid(self, n: int = 41) -> pd.DataFrame:
        """An n x n grid over the data's range, as far as the hull, as `predict` describes it."""
        return self.predict(self._mesh(n))


def fit_surface(runs: pd.DataFrame) -> Surface | None:
    """The surface over the axes that vary: both, or one where the other does not.

    None where cells or runs are too few for the terms and a residual, or both axes vary as one: the
    effect of an axis left out would count as that of the one kept.
    """
    eligible = eligible_runs(runs)
    eligible = eligible[(eligible.embed_share > 0) & (eligible.glu > 0)]
    if len(eligible) < 4:
        return None
    ranges = {name: np.ptp(np.log(eligible[name].to_numpy(float))) for name in AXES}
    axes = tuple(name for name in AXES if ranges[name] >= VARIES)
    return fit_over(eligible, axes) if axes else None


def fit_over(eligible: pd.DataFrame, axes: tuple[str, ...]) -> Surface | None:
    """The surface over these axes, or None (`fit_surface`)."""
    # The terms, standardised, and the same with the seeds taken out.
    x = np.log(eligible[list(axes)].to_numpy(float))
    centre, scale = x.mean(axis=0), x.std(axis=0)
    products = products_for(x)
    terms = quadratic_terms((x - centre) / scale, products)[:, 1:]
    y = eligible.dev_loss.to_numpy(float)
    seeds = _seed_dummies(eligible)
    design = _without_seeds(terms, seeds)
    df = len(eligible) - seeds.shape[1] - design.shape[1]
    fewest = max(FEWEST_CELLS, 1 + terms.shape[1])
    if df < 2 or eligible.cell.nunique() < fewest or _is_collinear(design):
        return None

    # Least squares; where a quadratic does not describe the cells, the variance is the misfit's.
    response = _without_seeds(y, seeds)
    weights = np.linalg.pinv(design)  # (p - 1, N) of the runs
    beta = weights @ response
    residual = response - design @ beta
    rss = float(np.square(residual).sum())
    p, misfit, misfit_df = lack_of_fit(eligible, rss, df)
    if p < LEVEL:
        variance, df, variances = misfit, misfit_df, np.full(len(eligible), misfit)
    else:
        variance = max(rss / df, EXACT)
        maker = _without_seeds(np.eye(len(eligible)), seeds) - design @ weights
        variances, df = _variances_of_runs(eligible, maker, residual, variance, df, weights)
    covariance = np.zeros((1 + len(beta), 1 + len(beta)))
    covariance[1:, 1:] = weights * variances @ weights.T
    beta = np.concatenate([[(y - terms @ beta).mean()], beta])

    quadratic = Quadratic(axes, centre, scale, products, beta, covariance, df)
    ranges = {name: (eligible[name].min(), eligible[name].max()) for name in AXES}
    hull = hull_of(x)
    optimum = dict.fromkeys(AXES) if p < LEVEL else locate_optimum(quadratic, ranges, hull)
    sigma, n_seeds = math.sqrt(variance), eligible.seed.nunique()
    return Surface(quadratic, optimum, p, sigma, n_seeds, ranges, hull)


def _variances_of_runs(
    eligible: pd.DataFrame,
    maker: np.ndarray,
    residual: np.ndarray,
    sigma2: float,
    df: int,
    weights: np.ndarray,
) -> tuple[np.ndarray, float]:
    """The variance of each run (N,), that of its cell, and the lowest df of any coefficient."""
    cell = pd.factorize(eligible.cell)[0]
    share = pd.factorize(eligible.requested_share, use_na_sentinel=False)[0]
    variance, variance_df, _ = cell_variances(maker, residual, sigma2, cell, share)
    of_cells = np.square(weights) @ np.eye(len(variance))[cell] * variance  # (p - 1, C)
    _, dfs = satterthwaite(*zip(of_cells.T, variance_df, strict=True))
    return variance[cell], min(df, float(dfs.min()))


def _seed_dummies(runs: pd.DataFrame) -> np.ndarray:
    """(N, seeds) of zeros and ones."""
    has_unknown = bool(runs.seed.isna().any())
    return pd.get_dummies(runs.seed, dtype=float, dummy_na=has_unknown).to_numpy()


def _without_seeds(a: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """`a` (N,) or (N, p) less its projection on the seeds."""
    return a - seeds @ np.linalg.lstsq(seeds, a, rcond=None)[0]


def _is_collinear(design: np.ndarray) -> bool:
    return bool(np.linalg.cond(design / np.linalg.norm(design, axis=0)) > CONDITION)


def lack_of_fit(eligible: pd.DataFrame, rss: float, df: int) -> tuple[float, float, int]:
    """The F test of the surface's residual against that of the cell + seed model.

    Returns its p value, the mean square by which the cells' means lie off the surface, and the
    degrees of freedom of that. NaN, NaN, 0 where nothing repeats.
    """
    model = fit(eligible)
    if not model.df or df <= model.df:
        return math.nan, math.nan, 0
    extra_df = df - model.df
    extra = (rss - model.sigma2 * model.df) / extra_df
    p = stats.f.sf(extra / model.sigma2, extra_df, model.df)
    return float(p), extra, extra_df
