"""Simulated critical values and p values: nothing here is paramalloc's."""

import numpy as np

DRAWS = 50_000


def draw_sizes(correlation: np.ndarray, df: float) -> np.ndarray:
    """(DRAWS, k): sizes |t| of estimates whose truth is zero."""
    generator = np.random.default_rng(7)
    normal = generator.multivariate_normal(
        np.zeros(len(correlation)), correlation, DRAWS, check_valid="ignore"
    )
    return np.abs(normal) / np.sqrt(generator.chisquare(df, (DRAWS, 1)) / df)


def step_down(sizes: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Holm's procedure on the largest |t|: of each hypothesis among those not yet rejected."""
    adjusted, floor = np.empty(len(sizes)), 0.0
    left = list(np.argsort(-sizes))
    while left:
        floor = max(floor, float((draws[:, left].max(axis=1) >= sizes[left[0]]).mean()))
        adjusted[left.pop(0)] = floor
    return adjusted
