"""The convex hull of what was trained: beyond it a fitted surface says nothing.

Shapes: n points, k axes (one or two), m sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

# Whole layers make shapes coarse: what lies that much beyond a side, in logarithms, is within.
EDGE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Hull:
    """The points x with `normals` (m, k) x <= `limits` (m,)."""

    normals: np.ndarray
    limits: np.ndarray

    def contains(self, x: np.ndarray) -> np.ndarray:
        """(n,): whether the points (n, k) lie within, or at most EDGE_TOLERANCE outside."""
        return (x @ self.normals.T <= self.limits + EDGE_TOLERANCE).all(axis=1)


def hull_of(x: np.ndarray) -> Hull:
    """The hull of points (n, k) that do not lie on one line, where k is two."""
    if x.shape[1] == 1:
        return Hull(np.array([[1.0], [-1.0]]), np.array([x.max(), -x.min()]))
    sides = ConvexHull(x).equations
    return Hull(sides[:, :-1], -sides[:, -1])
