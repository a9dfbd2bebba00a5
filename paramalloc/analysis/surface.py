"""A response surface of dev loss over embedding share and GLU expansion, and where its minimum may lie.

    y = b_s + b_u u + b_v v + b_uu u^2 + b_uv u v + b_vv v^2 + e,   u = ln share, v = ln glu (realised)

with a block for each seed and the residual pooled; of these dev documents, which all cells share. The interval of the
minimum is the confidence region of the stationary point (Box & Hunter 1954): all x with g(x)' V(x)^-1 g(x) <= k F(0.95; k, df),
where g is the fitted gradient, V its covariance and k the number of axes, projected on each axis (Myers, Montgomery &
Anderson-Cook 2016, Response Surface Methodology, sec. 6.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from scipy import stats

from .least_squares import EXACT
from .noise import fit
from .power import LEVEL
from .selection import eligible_runs

AXES = {"embed_share": "embedding share", "glu": "GLU expansion"}
GRID_SIDE = 81  # of the grid that the region is looked for on, a side
WIDER = (
    0.1  # of the data's range, on the log scale: an optimum is located so far beyond it, no farther
)
VARIES = 0.05  # range of a logarithm: below, an axis was not varied, only rounded
CONDITION = 200  # of the standardised terms: above, the axes do not vary apart from each other


@dataclass(frozen=True)
class Surface:
    """The fitted surface. `optimum`: for each axis (estimate, low, high), 95 %, where an end that the data do not bound is 0
    or inf, or None where they do not tell one value from another, the axis was not fitted, or a quadratic does not describe the
    cells. `lack_of_fit_p`: of the F test against the scatter of seeds; NaN without any. `sigma`: residual, nats per token, with
    `df` degrees of freedom; where a quadratic does not describe the cells, how far they lie off it."""

    axes: tuple[str, ...]
    optimum: dict
    lack_of_fit_p: float
    sigma: float
    df: int
    n_seeds: int
    ranges: dict
    text: str
    centre: np.ndarray
    scale: np.ndarray
    beta: np.ndarray
    covariance: np.ndarray

    def predict(self, points: pd.DataFrame, to: pd.DataFrame | None = None) -> pd.DataFrame:
        """For columns embed_share and glu: dev_loss, and its `difference` to the point `to` (the lowest predicted within the
        data's range where it is None) with `low` and `high`, 95 %, the compared point taken as given. Nats per token."""
        terms = quadratic(self.coded(points))
        least = self.lowest() if to is None else quadratic(self.coded(to))
        apart = terms - least
        half = stats.t.ppf(1 - LEVEL / 2, self.df) * np.sqrt(
            np.einsum("ij,jk,ik->i", apart, self.covariance, apart).clip(0)
        )
        difference = apart @ self.beta
        return points.assign(
            dev_loss=terms @ self.beta,
            difference=difference,
            low=difference - half,
            high=difference + half,
        )

    def coded(self, points: pd.DataFrame) -> np.ndarray:
        return (np.log(points[list(self.axes)].to_numpy(float)) - self.centre) / self.scale

    def lowest(self) -> np.ndarray:
        """The terms (1, p) of the lowest predicted point within the data's range."""
        terms = quadratic(self.coded(mesh(self.ranges, GRID_SIDE)))
        return terms[[np.argmin(terms @ self.beta)]]

    def grid(self, n: int = 41) -> pd.DataFrame:
        """An n x n grid over the data's range, as `predict` describes it."""
        return self.predict(mesh(self.ranges, n))


def mesh(ranges: dict, n: int, wider: float = 0.0) -> pd.DataFrame:
    """All pairs of n values, evenly spaced on the log scale, of each range (one value where both ends are equal)."""
    ends = {
        name: (a - wider * (b - a), b + wider * (b - a))
        for name, (a, b) in ((k, np.log(v)) for k, v in ranges.items())
    }
    values = [np.exp(np.linspace(a, b, n if b > a else 1)) for a, b in ends.values()]
    return pd.DataFrame(
        dict(zip(ends, (axis.ravel() for axis in np.meshgrid(*values, indexing="ij"))))
    )


def quadratic(x: np.ndarray) -> np.ndarray:
    """(n, k) -> (n, p): 1, each x_i, each product x_i x_j with i <= j."""
    pairs = combinations_with_replacement(range(x.shape[1]), 2)
    return np.column_stack([np.ones(len(x)), x, *(x[:, i] * x[:, j] for i, j in pairs)])


def gradient(x: np.ndarray) -> np.ndarray:
    """(n, k) -> (n, k, p): the derivatives of `quadratic` by each x_i."""
    n, k = x.shape
    unit = np.eye(k)
    products = [
        x[:, [j]] * unit[i] + x[:, [i]] * unit[j]
        for i, j in combinations_with_replacement(range(k), 2)
    ]
    return np.stack(
        [np.zeros((n, k)), *(np.tile(axis, (n, 1)) for axis in unit), *products], axis=2
    )


def fit_surface(runs: pd.DataFrame) -> Surface | None:
    """The surface over the axes that vary: both, or one where the other does not, since the effect of an axis left out would count as
    that of the one kept. None where the cells or runs are too few for a quadratic with a residual, or both axes vary as one."""
    claimed = eligible_runs(runs)
    claimed = claimed[(claimed.embed_share > 0) & (claimed.glu > 0)]
    if len(claimed) < 4:
        return None
    axes = tuple(name for name in AXES if np.ptp(np.log(claimed[name].to_numpy(float))) >= VARIES)
    return fitted(claimed, axes) if axes else None


def fitted(claimed: pd.DataFrame, axes: tuple[str, ...]) -> Surface | None:
    """The surface over these axes, or None."""
    x = np.log(claimed[list(axes)].to_numpy(float))
    centre, scale = x.mean(axis=0), x.std(axis=0)
    terms = quadratic((x - centre) / scale)
    seeds = pd.get_dummies(
        claimed.seed, dtype=float, dummy_na=bool(claimed.seed.isna().any())
    ).to_numpy()
    blocked = lambda a: a - seeds @ np.linalg.lstsq(seeds, a, rcond=None)[0]
    y, design = claimed.dev_loss.to_numpy(float), blocked(terms[:, 1:])
    n_cells, df = claimed.cell.nunique(), len(claimed) - seeds.shape[1] - design.shape[1]
    if (
        df < 2
        or n_cells < terms.shape[1]
        or np.linalg.cond(design / np.linalg.norm(design, axis=0)) > CONDITION
    ):
        return None
    beta = np.linalg.lstsq(design, blocked(y), rcond=None)[0]
    rss = float(np.square(blocked(y) - design @ beta).sum())
    covariance = np.zeros((terms.shape[1],) * 2)
    lack, misfit, misfit_df = lack_of_fit(claimed, rss, df)
    variance, df = (misfit, misfit_df) if lack < LEVEL else (rss / df, df)
    covariance[1:, 1:] = max(variance, EXACT) * np.linalg.inv(design.T @ design)
    beta = np.concatenate([[(y - terms[:, 1:] @ beta).mean()], beta])
    ranges = {name: (claimed[name].min(), claimed[name].max()) for name in AXES}
    optimum = (
        dict.fromkeys(AXES)
        if lack < LEVEL
        else located(axes, ranges, centre, scale, beta, covariance, df)
    )
    return Surface(
        axes,
        optimum,
        lack,
        math.sqrt(variance),
        df,
        claimed.seed.nunique(),
        ranges,
        described({name: optimum[name] for name in axes}, ranges, claimed.seed.nunique(), lack),
        centre,
        scale,
        beta,
        covariance,
    )


def lack_of_fit(claimed: pd.DataFrame, rss: float, df: int) -> tuple[float, float, int]:
    """The p value of the F test of the surface's residual against that of the cell + seed model, the mean square by which the cells'
    means lie off the surface, and its degrees of freedom."""
    model = fit(claimed)
    if not model.df or df <= model.df:
        return math.nan, math.nan, 0
    extra = (rss - model.sigma2 * model.df) / (df - model.df)
    return float(stats.f.sf(extra / model.sigma2, df - model.df, model.df)), extra, df - model.df


def located(axes, ranges, centre, scale, beta, covariance, df) -> dict:
    """The region of the stationary point projected on each axis; see `Surface.optimum`. It is sought on a coarse grid, then on one of
    its surroundings; it starts from the stationary point itself, which a coarse grid may step over."""
    ends = np.log([ranges[name] for name in axes]).T
    inside = grid_of(*ends)
    least = inside[np.argmin(quadratic((inside - centre) / scale) @ beta)]
    slopes = (
        gradient(np.zeros((1, len(axes))))[0] @ beta,
        np.stack([gradient(row[None])[0] @ beta for row in np.eye(len(axes))]),
    )
    stationary = centre + scale * np.linalg.lstsq(slopes[1] - slopes[0], -slopes[0], rcond=None)[0]
    limit = len(axes) * stats.f.ppf(1 - LEVEL, len(axes), df)
    within = lambda points: points[distance((points - centre) / scale, beta, covariance) <= limit]
    low, high = ends[0] - np.ptp(ends, axis=0), ends[1] + np.ptp(ends, axis=0)
    region = within(grid_of(low, high))
    if ((low < stationary) & (stationary < high)).all():
        region = np.concatenate([region, stationary[None]])
    if len(region):
        step = (high - low) / (GRID_SIDE - 1)
        box = (
            np.maximum(region.min(axis=0) - step, low),
            np.minimum(region.max(axis=0) + step, high),
        )
        region = np.concatenate([region, within(grid_of(*box))])
    return dict.fromkeys(AXES) | {
        name: _projected(least[i], region[:, i], ends[:, i]) for i, name in enumerate(axes)
    }


def grid_of(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(STEPS^k, k) points between two corners."""
    return np.stack(
        np.meshgrid(*np.linspace(low, high, GRID_SIDE).T, indexing="ij"), axis=-1
    ).reshape(-1, len(low))


def distance(x: np.ndarray, beta: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """g' V^-1 g at coded points (n, k)."""
    slopes = gradient(x)
    g, v = slopes @ beta, slopes @ covariance @ slopes.transpose(0, 2, 1)
    return (g * np.linalg.solve(v, g[..., None])[..., 0]).sum(axis=1)


def _projected(least: float, region: np.ndarray, ends: np.ndarray) -> tuple | None:
    """(estimate, low, high) of one axis from logarithms. Beyond WIDER of the range nothing was seen: an end there is open. The estimate
    is the lowest point within the range; where it is an edge, and not a stationary point, the interval reaches out to it."""
    margin, at_edge = WIDER * np.ptp(ends), np.isclose(least, ends)
    if not len(
        region
    ):  # no stationary point near the data: the minimum lies beyond the edge at which they are lowest
        region = np.array(
            [least, (-math.inf if at_edge[0] else math.inf) if at_edge.any() else math.nan]
        )
    low, high = min(region.min(), least), max(region.max(), least)
    low, high = (
        (-math.inf if low < ends[0] - margin else low),
        (math.inf if high > ends[1] + margin else high),
    )
    known = not math.isnan(low) and (math.isfinite(low) or math.isfinite(high))
    return tuple(float(np.exp(value)) for value in (least, low, high)) if known else None


def described(optimum: dict, ranges: dict, n_seeds: int, lack: float = math.nan) -> str:
    """The optimum of the fitted axes in a sentence or two, or that a quadratic does not describe the cells: then none is claimed."""
    if lack < LEVEL:
        return f"A quadratic does not describe these cells (lack of fit, p {'< 0.001' if lack < 0.001 else f'= {lack:.3f}'}): no optimum is claimed."
    parts = [_axis(name, found, ranges[name]) for name, found in optimum.items()]
    few = (
        " With one seed this rests on how far the cells scatter around the surface."
        if n_seeds < 2
        else ""
    )
    return "; ".join(parts).capitalize().replace("glu", "GLU") + "." + few


def _axis(name: str, found: tuple | None, ends: tuple[float, float]) -> str:
    show = (lambda value: f"{100 * value:.0f} %") if name == "embed_share" else "{:.2f}".format
    what = AXES[name]
    if found is None:
        return f"a best {what} is not distinguishable between {show(ends[0])} and {show(ends[1])}"
    best, low, high = found
    if np.isclose(best, ends).any() and (low == 0 or high == math.inf):
        if np.isclose(low or high, best):
            return f"the best {what} is at or beyond {show(best)}"
        bound = f"at least {show(low)}" if low else f"at most {show(high)}"
        return f"the fitted loss is lowest at the edge, {show(best)}; the best {what} is {bound} (95 %)"
    interval = (
        f"{show(low)} to {show(high)}"
        if low and high < math.inf
        else f"at least {show(low)}"
        if low
        else f"at most {show(high)}"
    )
    return f"the best {what} is {show(best)} (95 %: {interval})"
