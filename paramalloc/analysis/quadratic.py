"""A quadratic in the logarithms of one or two axes.

    y = b_0 + sum_i b_i x_i + sum_{i <= j} b_ij x_i x_j,   x_i = (ln value_i - centre_i) / scale_i

Shapes: n points, k axes, p terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

AXES = {"embed_share": "embedding share", "glu": "GLU expansion"}


@dataclass(frozen=True)
class Quadratic:
    """A fitted quadratic: coefficients `beta` (p,), their `covariance` (p, p) on `df` degrees."""

    axes: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    beta: np.ndarray
    covariance: np.ndarray
    df: int

    def coded(self, points: pd.DataFrame) -> np.ndarray:
        """(n, k): the points' columns of these axes in the coded x."""
        return (np.log(points[list(self.axes)].to_numpy(float)) - self.centre) / self.scale


def quadratic_terms(x: np.ndarray) -> np.ndarray:
    """(n, k) -> (n, p): 1, each x_i, each product x_i x_j with i <= j."""
    pairs = combinations_with_replacement(range(x.shape[1]), 2)
    return np.column_stack([np.ones(len(x)), x, *(x[:, i] * x[:, j] for i, j in pairs)])


def gradient(x: np.ndarray) -> np.ndarray:
    """(n, k) -> (n, k, p): the derivatives of `quadratic_terms` by each x_i."""
    n, k = x.shape
    unit = np.eye(k)
    constant = np.zeros((n, k))
    linear = [np.tile(axis, (n, 1)) for axis in unit]
    pairs = combinations_with_replacement(range(k), 2)
    products = [x[:, [j]] * unit[i] + x[:, [i]] * unit[j] for i, j in pairs]
    return np.stack([constant, *linear, *products], axis=2)


def mesh(ranges: dict[str, tuple[float, float]], n: int, wider: float = 0.0) -> pd.DataFrame:
    """All combinations of n values of each range, evenly spaced on the log scale.

    `wider` extends each range at both ends, by this fraction of its length. A range whose ends are
    equal has one value.
    """
    values = []
    for low, high in np.log(list(ranges.values())):
        margin = wider * (high - low)
        count = n if high > low else 1
        values.append(np.exp(np.linspace(low - margin, high + margin, count)))
    columns = [axis.ravel() for axis in np.meshgrid(*values, indexing="ij")]
    return pd.DataFrame(dict(zip(ranges, columns, strict=True)))
