"""The time to decode a token, fitted to what the runs took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls

# What the time depends on: steps in sequence, their size, and the weights that are read for each.
PREDICTORS = ["n_layers", "d_model", "total_params"]
VARIED = 1.2  # largest over least: below, the runs say nothing of what a predictor costs
BEYOND = 1.1  # a shape that lies farther outside the timed ones than this factor is not predicted


@dataclass(frozen=True)
class DecodeTime:
    """Milliseconds to decode a token: a + b n_layers + c d_model + d total_params.

    `error` is the root mean square by which it misses a shape that it was not fitted to. `ranges`
    are those of the shapes that were timed.
    """

    weights: np.ndarray
    ranges: dict[str, tuple[float, float]]
    error: float

    def predict(self, shapes: pd.DataFrame) -> np.ndarray:
        """(n,): milliseconds per token; NaN for a shape unlike those that were timed."""
        time = _terms(shapes, self.ranges) @ self.weights
        for name, (low, high) in self.ranges.items():
            time[~shapes[name].between(low / BEYOND, high * BEYOND)] = np.nan
        return time


def _terms(shapes: pd.DataFrame, ranges: dict[str, tuple[float, float]]) -> np.ndarray:
    """(n, 4): one, and each predictor in units of its largest; zero where it was not varied."""
    terms = [np.ones(len(shapes))]
    for name, (low, high) in ranges.items():
        terms.append(shapes[name].to_numpy(float) / high * (high / low > VARIED))
    return np.column_stack(terms)


def fit_decode_time(runs: pd.DataFrame) -> DecodeTime | None:
    """Decode time from the completed runs, no term below zero (Lawson & Hanson 1974).

    Of the inference device that most were measured on, each shape by the median of its timings. A
    predictor that the timed shapes do not vary is left out. None where the shapes are too few, or
    where the fit predicts a shape that it has not seen no better than the mean of the others does.
    """
    timed = runs[(runs.status == "completed") & (runs.decode_ms_per_token > 0)]
    if "inference_device" in timed and timed.inference_device.notna().any():
        timed = timed[timed.inference_device == timed.inference_device.mode()[0]]
    shapes = timed.groupby(PREDICTORS, as_index=False).decode_ms_per_token.median()
    if len(shapes) < len(PREDICTORS) + 2:
        return None
    ranges = {name: (shapes[name].min(), shapes[name].max()) for name in PREDICTORS}
    terms, y = _terms(shapes, ranges), shapes.decode_ms_per_token.to_numpy(float)
    error = _error_of_others(terms, y)
    if error >= _error_of_others(terms[:, :1], y):
        return None
    return DecodeTime(nnls(terms, y)[0], ranges, error)


def _error_of_others(terms: np.ndarray, y: np.ndarray) -> float:
    """The root mean square error for each shape, of the fit to all others."""
    rest = ~np.eye(len(y), dtype=bool)
    errors = [y[i] - terms[i] @ nnls(terms[keep], y[keep])[0] for i, keep in enumerate(rest)]
    return float(np.sqrt(np.mean(np.square(errors))))
