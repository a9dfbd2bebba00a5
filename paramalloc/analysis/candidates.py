"""The shapes that a recommendation chooses from, with what the runs predict for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from ..allocation import (
    Allocation,
    Request,
    best_shapes,
    check_request,
    count_parameters,
    flops_per_token,
)
from ..config import ModelConfig
from .quadratic import mesh
from .recipe import search_grid
from .surface import Surface

REQUESTS_PER_AXIS = 17  # of the grid of requests, shares x expansions
# Shapes are coarse: a share or expansion that far outside the data's range is within.
EDGE_TOLERANCE = 1.02
CANDIDATE_COLUMNS = [
    "shape",
    "requested_share",
    "requested_glu",
    "embed_share",
    "glu",
    "decode_ms",
    "flops",
]


@dataclass(frozen=True)
class DecodeTime:
    """Milliseconds to decode a token: a + b n_layers + c total_params. `error` is the residual."""

    weights: np.ndarray
    varies_in_size: bool
    error: float

    def predict(self, model: ModelConfig) -> float:
        """Milliseconds per token."""
        total = count_parameters(model)["total"]
        terms = _decode_terms(np.array(float(model.n_layers)), total, self.varies_in_size)
        return float(terms @ self.weights)


def _decode_terms(n_layers: np.ndarray, total_params: np.ndarray, varies: bool) -> np.ndarray:
    terms = [np.ones_like(n_layers), n_layers / 10, total_params / 1e7 * varies]
    return np.stack(terms, axis=-1)


def fit_decode_time(runs: pd.DataFrame) -> DecodeTime | None:
    """Decode time from the completed runs, no term below zero (Lawson & Hanson 1974).

    Of the inference device that most were measured on. None with fewer than 4 such runs. Runs of
    one size say nothing of its cost: that term is left out. A timing that runs share counts once.
    """
    timed = runs[(runs.status == "completed") & (runs.decode_ms_per_token > 0)]
    if "inference_device" in timed and timed.inference_device.notna().any():
        timed = timed[timed.inference_device == timed.inference_device.mode()[0]]
    timed = timed.drop_duplicates(["n_layers", "total_params", "decode_ms_per_token"])
    if len(timed) < 4:
        return None
    varies = bool(np.ptp(np.log(timed.total_params)) > 0.2)
    terms = _decode_terms(timed.n_layers.to_numpy(), timed.total_params.to_numpy(), varies)
    weights, residual = nnls(terms, timed.decode_ms_per_token.to_numpy())
    return DecodeTime(weights, varies, residual / math.sqrt(len(timed) - 3))


def candidates(
    eligible: pd.DataFrame,
    surface: Surface,
    total_params: int,
    vocab_size: int,
    decode: DecodeTime | None,
    wider: float = 0.0,
) -> pd.DataFrame:
    """The shapes that requests over the data's range get, `wider` as in `mesh`.

    Columns CANDIDATE_COLUMNS (embed_share and glu are realised, decode_ms in milliseconds, flops of
    training, both per token), and those of `Surface.predict`.
    """
    first, size = eligible.iloc[0], search_grid(eligible, total_params)
    shapes = {}
    for share, glu in mesh(surface.ranges, REQUESTS_PER_AXIS, wider).itertuples(index=False):
        shape = find_shape(total_params, share, glu, vocab_size, first, **size)
        if shape and shape.model not in shapes:
            shapes[shape.model] = (shape, share, glu)
    rows = []
    for shape, share, glu in shapes.values():
        decode_ms = decode.predict(shape.model) if decode else math.nan
        flops = flops_per_token(shape.model, int(first.seq_len))["train"]
        rows.append((shape, share, glu, shape.embed_share, shape.glu, decode_ms, flops))
    table = pd.DataFrame(rows, columns=CANDIDATE_COLUMNS)
    if not wider:
        for name, (low, high) in surface.ranges.items():
            table = table[table[name].between(low / EDGE_TOLERANCE, high * EDGE_TOLERANCE)]
    return surface.predict(table)


def find_shape(
    total_params: int, share: float, glu: float, vocab_size: int, example_run: pd.Series, **size
) -> Allocation | None:
    """The shape of a request with the kinds of embedding and MLP of the run `example_run`.

    None where none fits. `size`: multiple and tolerance.
    """
    request = Request(
        total_params,
        round(share, 4),
        round(glu, 3),
        vocab_size,
        example_run.embedding,
        mlp=example_run.mlp,
        **size,
    )
    # Not `allocate`: of hundreds of requests nobody reads what would fit instead.
    models = best_shapes(check_request(request), 1)
    if not models:
        return None
    [model] = models
    return Allocation(model, count_parameters(model), request.embed_share, request.glu)
