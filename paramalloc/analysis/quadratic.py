"""A quadratic in the logarithms of one or two axes.

    y = b_0 + sum_i b_i x_i + sum_{i <= j} b_ij x_i x_j,   x_i = (ln value_i - centre_i) / scale_i

An axis with two levels has no square. Shapes: n points, k axes, p terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
from scipy import stats

from .power import LEVEL

AXES = {"embed_share": "embedding share", "glu": "GLU expansion"}
SAME_LEVEL = 0.1  # in logarithms: the realised values of one request differ by less
Products = tuple[tuple[int, int], ...]  # the axes (i, j) of each x_i x_j


@dataclass(frozen=True)
class Quadratic:
    """A fitted quadratic: coefficients `beta` (p,), their `covariance` (p, p) on `df` degrees."""

    axes: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    products: Products
    beta: np.ndarray
    covariance: np.ndarray
    df: float

    def terms(self, points: pd.DataFrame) -> np.ndarray:
        """(n, p): the terms at the points' columns of these axes."""
        x = (np.log(points[list(self.axes)].to_numpy(float)) - self.centre) / self.scale
        return quadratic_terms(x, self.products)

    @property
    def straight(self) -> list[str]:
        """The axes without a square."""
        return [name for i, name in enumerate(self.axes) if (i, i) not in self.products]

    def is_convex(self) -> bool:
        """Whether it curves upwards in every direction, with 95 % confidence.

        The t test, one-sided, that the least eigenvalue of its Hessian is above zero, in the
        direction in which the fit curves least.
        """
        k = len(self.axes)
        curvature = self.beta[1 + k :]
        hessian = np.zeros((k, k))
        for (i, j), value in zip(self.products, curvature, strict=True):
            hessian[i, j] += value
            hessian[j, i] += value
        values, directions = np.linalg.eigh(hessian)
        least = directions[:, 0]
        weights = np.array([2 * least[i] * least[j] for i, j in self.products])
        error = np.sqrt(weights @ self.covariance[1 + k :, 1 + k :] @ weights)
        return bool(values[0] > stats.t.ppf(1 - LEVEL, self.df) * error)


def products_for(x: np.ndarray) -> Products:
    """All products of the axes of x (n, k), but the squares of axes with fewer than three levels.

    x in logarithms. Two levels tell a slope, and no curve.
    """
    levels = [1 + int((np.diff(np.sort(axis)) > SAME_LEVEL).sum()) for axis in x.T]
    pairs = combinations_with_replacement(range(x.shape[1]), 2)
    return tuple((i, j) for i, j in pairs if i != j or levels[i] > 2)


def quadratic_terms(x: np.ndarray, products: Products) -> np.ndarray:
    """(n, k) -> (n, p): 1, each x_i, each product."""
    return np.column_stack([np.ones(len(x)), x, *(x[:, i] * x[:, j] for i, j in products)])


def gradient(x: np.ndarray, products: Products) -> np.ndarray:
    """(n, k) -> (n, k, p): the derivatives of `quadratic_terms` by each x_i."""
    n, k = x.shape
    unit = np.eye(k)
    constant = np.zeros((n, k))
    linear = [np.tile(axis, (n, 1)) for axis in unit]
    curves = [x[:, [j]] * unit[i] + x[:, [i]] * unit[j] for i, j in products]
    return np.stack([constant, *linear, *curves], axis=2)


def mesh(ranges: dict[str, tuple[float, float]], n: int) -> pd.DataFrame:
    """All combinations of n values of each range, evenly spaced on the log scale.

    A range whose ends are equal has one value.
    """
    values = []
    for low, high in np.log(list(ranges.values())):
        values.append(np.exp(np.linspace(low, high, n if high > low else 1)))
    columns = [axis.ravel() for axis in np.meshgrid(*values, indexing="ij")]
    return pd.DataFrame(dict(zip(ranges, columns, strict=True)))
