"""Where the minimum of a fitted quadratic may lie.

Its interval is the confidence region of the stationary point (Box & Hunter 1954): all x with
g(x)' V(x)^-1 g(x) <= k F(0.95; k, df), where g is the fitted gradient, V its covariance and k the
number of axes, projected on each axis (Myers, Montgomery & Anderson-Cook 2016, Response Surface
Methodology, sec. 6.3).
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from .hull import Hull
from .power import LEVEL
from .quadratic import AXES, Quadratic, gradient, quadratic_terms
from .wording import p_value

GRID_SIDE = 81  # of the grid on which the region is sought
WIDER = 0.1  # of the data's range, on the log scale: how far beyond it an optimum is located


def locate_optimum(
    model: Quadratic, ranges: dict[str, tuple[float, float]], hull: Hull
) -> dict[str, tuple[float, float, float] | None]:
    """The region of the stationary point projected on each axis; see `Surface.optimum`.

    Of a quadratic that is not convex with 95 % confidence there is none: its stationary point may
    be a saddle or a maximum.
    """
    optimum = dict.fromkeys(AXES)
    if not model.is_convex():
        return optimum
    ends = np.log([ranges[name] for name in model.axes]).T  # (2, k)
    inside = _grid(*ends)
    inside = inside[hull.contains(inside)]
    terms = quadratic_terms((inside - model.centre) / model.scale, model.products)
    least = inside[np.argmin(terms @ model.beta)]
    region = _region(model, ends)
    for i, name in enumerate(model.axes):
        optimum[name] = _project(least[i], region[:, i], ends[:, i])
    return optimum


def _region(model: Quadratic, ends: np.ndarray) -> np.ndarray:
    """(m, k): the points of the region, in logarithms.

    Sought on a coarse grid three times as wide as the data, then on one of the surroundings of what
    that found. The stationary point itself is added: a coarse grid may step over it.
    """
    limit = len(model.axes) * stats.f.ppf(1 - LEVEL, len(model.axes), model.df)

    def within(points: np.ndarray) -> np.ndarray:
        return points[_distance((points - model.centre) / model.scale, model) <= limit]

    width = np.ptp(ends, axis=0)
    low, high = ends[0] - width, ends[1] + width
    region = within(_grid(low, high))
    stationary = _stationary_point(model)
    if ((low < stationary) & (stationary < high)).all():
        region = np.concatenate([region, stationary[None]])
    if not len(region):
        return region
    step = (high - low) / (GRID_SIDE - 1)
    box_low = np.maximum(region.min(axis=0) - step, low)
    box_high = np.minimum(region.max(axis=0) + step, high)
    return np.concatenate([region, within(_grid(box_low, box_high))])


def _stationary_point(model: Quadratic) -> np.ndarray:
    """(k,): where the gradient is zero, in logarithms. It is linear in x."""
    k = len(model.axes)
    at_zero = gradient(np.zeros((1, k)), model.products)[0] @ model.beta
    at_units = np.stack([gradient(row[None], model.products)[0] @ model.beta for row in np.eye(k)])
    x = np.linalg.lstsq(at_units - at_zero, -at_zero, rcond=None)[0]
    return model.centre + model.scale * x


def _grid(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(GRID_SIDE^k, k) points between two corners."""
    axes = np.meshgrid(*np.linspace(low, high, GRID_SIDE).T, indexing="ij")
    return np.stack(axes, axis=-1).reshape(-1, len(low))


def _distance(x: np.ndarray, model: Quadratic) -> np.ndarray:
    """(n,): g' V^-1 g at coded points (n, k)."""
    slopes = gradient(x, model.products)
    g = slopes @ model.beta
    v = slopes @ model.covariance @ slopes.transpose(0, 2, 1)
    return (g * np.linalg.solve(v, g[..., None])[..., 0]).sum(axis=1)


def _project(least: float, region: np.ndarray, ends: np.ndarray) -> tuple | None:
    """(estimate, low, high) of one axis, from logarithms; None where nothing is known.

    The estimate is the lowest point within the range. Where it is an edge, and not a stationary
    point, the interval reaches out to it. Beyond WIDER of the range nothing was measured: an end
    there is open.
    """
    at_edge = np.isclose(least, ends)
    if not len(region):
        # No stationary point near the data: the minimum lies beyond the edge where they are lowest.
        if not at_edge.any():
            return None
        region = np.array([least, -math.inf if at_edge[0] else math.inf])
    margin = WIDER * np.ptp(ends)
    low, high = min(region.min(), least), max(region.max(), least)
    if low < ends[0] - margin:
        low = -math.inf
    if high > ends[1] + margin:
        high = math.inf
    if math.isinf(low) and math.isinf(high):
        return None
    estimate, low, high = (float(np.exp(value)) for value in (least, low, high))
    return estimate, low, high


def describe_optimum(optimum: dict, ranges: dict, n_seeds: int) -> str:
    """The optimum of the fitted axes in words."""
    clauses = [_describe_axis(name, place, ranges[name]) for name, place in optimum.items()]
    text = "; ".join(clauses)
    text = f"{text[0].upper()}{text[1:]}."
    if n_seeds < 2:
        text += " With one seed this rests on how far the cells scatter around the surface."
    return text


def describe_no_optimum(model: Quadratic, lack_of_fit_p: float) -> str:
    """Why no optimum is reported: the quadratic does not describe the cells, or is no bowl."""
    if lack_of_fit_p < LEVEL:
        return (
            f"A quadratic does not describe these cells (lack of fit, {p_value(lack_of_fit_p)}): "
            "no optimum is reported."
        )
    if model.straight:
        names = " and ".join(AXES[name] for name in model.straight)
        return (
            f"No optimum is reported: the {names} was trained at two levels, "
            "which show a slope and no curve."
        )
    return (
        "No optimum is reported: around a minimum the loss curves upwards in every direction, "
        "and these cells do not show that it does (95 % confidence)."
    )


def _describe_axis(name: str, place: tuple | None, ends: tuple[float, float]) -> str:
    show = _whole_percent if name == "embed_share" else "{:.2f}".format
    noun = AXES[name]
    if place is None:
        return f"a best {noun} is not distinguishable between {show(ends[0])} and {show(ends[1])}"
    best, low, high = place
    is_open = low == 0 or high == math.inf
    bound = f"at least {show(low)}" if low else f"at most {show(high)}"
    if is_open and np.isclose(best, ends).any():
        if np.isclose(low or high, best):
            return f"the best {noun} is at or beyond {show(best)}"
        return (
            f"the fitted loss is lowest at the edge, {show(best)}; "
            f"the best {noun} is {bound} (95 % confidence)"
        )
    ci = f"95 % confidence: {bound}" if is_open else f"95 % CI [{show(low)}, {show(high)}]"
    return f"the best {noun} is {show(best)} ({ci})"


def _whole_percent(share: float) -> str:
    return f"{100 * share:.0f} %"
