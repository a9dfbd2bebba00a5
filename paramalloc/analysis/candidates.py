"""The shapes that a recommendation chooses from, with what the runs predict for each."""

from __future__ import annotations

import math
from functools import lru_cache

import pandas as pd

from ..allocation import (
    Allocation,
    Request,
    best_shapes,
    check_request,
    count_parameters,
    flops_per_token,
)
from ..errors import UserError
from .coverage import describe_unlike, missing_runs, outside, resemble
from .decoding import DecodeTime
from .quadratic import mesh
from .recipe import search_grid
from .surface import Surface

REQUESTS_PER_AXIS = 17  # of the grid of requests, shares x expansions
SHAPE_FIELDS = ["vocab_size", "d_model", "n_layers", "n_heads"]
CANDIDATE_COLUMNS = ["shape", "embed_share", "glu", "flops", "total_params"]


def candidates(
    eligible: pd.DataFrame,
    surface: Surface,
    total_params: int,
    vocab_size: int,
    decode: DecodeTime | None,
) -> pd.DataFrame:
    """The shapes that requests over the data's range get, within the hull of what was trained.

    Columns CANDIDATE_COLUMNS (embed_share and glu are realised, flops of training per token),
    SHAPE_FIELDS, `decode_ms` (milliseconds per token, NaN where unknown), `outside`
    (`coverage.outside`) and those of `Surface.predict`. Where shapes lie within all that was
    trained, only these; else all that resemble trained ones: one set for a budget, whatever the
    limits. UserError where there is none.
    """
    shapes = _shapes(eligible, surface, total_params, vocab_size)
    table = _table(shapes, int(eligible.seq_len.iloc[0]))
    table = table[surface.contains(table)]
    if table.empty:
        raise UserError(
            f"no shape of {total_params:,} parameters with vocab_size {vocab_size:,} lies among "
            f"the runs' shares and expansions; missing is {missing_runs(total_params, vocab_size)}"
        )
    alike = table[resemble(table, eligible)]
    if alike.empty:
        unlike = describe_unlike(table, eligible, vocab_size)
        raise UserError(f"{unlike}; missing is {missing_runs(total_params, vocab_size)}")
    decode_ms = decode.predict(alike) if decode else math.nan
    alike = alike.assign(outside=outside(alike, eligible), decode_ms=decode_ms)
    within = alike[alike.outside.map(len) == 0]
    return surface.predict((within if len(within) else alike).reset_index(drop=True))


def _table(shapes: list[Allocation], seq_len: int) -> pd.DataFrame:
    """A row each, with the columns CANDIDATE_COLUMNS and SHAPE_FIELDS."""
    rows = []
    for shape in shapes:
        flops = flops_per_token(shape.model, seq_len)["train"]
        fields = [getattr(shape.model, name) for name in SHAPE_FIELDS]
        total = shape.params["total"]
        rows.append((shape, shape.embed_share, shape.glu, flops, total, *fields))
    return pd.DataFrame(rows, columns=[*CANDIDATE_COLUMNS, *SHAPE_FIELDS])


def _shapes(
    eligible: pd.DataFrame, surface: Surface, total_params: int, vocab_size: int
) -> list[Allocation]:
    """The shapes of a grid of requests over the data's range, each once."""
    first, size = eligible.iloc[0], search_grid(eligible, total_params)
    shapes = {}
    for share, glu in mesh(surface.ranges, REQUESTS_PER_AXIS).itertuples(index=False):
        request = Request(
            total_params,
            round(share, 4),
            round(glu, 3),
            vocab_size,
            first.embedding,
            mlp=first.mlp,
            **size,
        )
        shape = _find_shape(request)
        if shape:
            shapes.setdefault(shape.model, shape)
    return list(shapes.values())


@lru_cache(maxsize=4096)
def _find_shape(request: Request) -> Allocation | None:
    """The shape of a request, None where none fits.

    Not `allocate`: of hundreds of requests nobody reads what would fit instead.
    """
    models = best_shapes(check_request(request), 1)
    if not models:
        return None
    [model] = models
    return Allocation(model, count_parameters(model), request.embed_share, request.glu)
