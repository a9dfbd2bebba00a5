"""The search: every shape in a request's domain that fits, ranked by the objective.

The equations of the domain and of the objective stand in `allocator.allocate`.
"""

import math
from bisect import insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..config import ModelConfig
from .ledger import count_parameters
from .request import ASPECT, ASPECT_LIMIT, GLU_LIMIT, Request

MOST_LAYERS = 1000


class Dimensions(NamedTuple):
    """What a shape adds to a request."""

    d_model: int
    d_embed: int | None
    n_layers: int
    d_head: int
    d_ff: int


class Rank(NamedTuple):
    """The order of shapes: the smaller the better. Ties in all but the width go to the narrower."""

    objective: float
    deviation: int  # from the budget, in parameters
    dimensions: Dimensions


def best_shapes(request: Request, k: int) -> list[ModelConfig]:
    """The `k` shapes of least rank, best first; fewer where fewer fit.

    Embeddings come in the order of the least share term that any layers could give them. The search
    ends when that term alone is worse than the k-th best: nothing is left out.
    """
    best: list[Rank] = []
    for least_objective, d_model, d_embed in sorted(_embeddings(request)):
        if len(best) == k and least_objective > best[-1].objective:
            break
        for dimensions in _layers(request, d_model, d_embed):
            rank = _rank(request, dimensions)
            if rank and (len(best) < k or rank < best[-1]):
                insort(best, rank)
                del best[k:]
    return [request.shape(*rank.dimensions) for rank in best]


def has_shape(request: Request) -> bool:
    """Whether any shape fits."""
    for _, d_model, d_embed in _embeddings(request):
        if any(_rank(request, dimensions) for dimensions in _layers(request, d_model, d_embed)):
            return True
    return False


# ----------------------------------------------------------------- embedding


def _embeddings(request: Request) -> Iterator[tuple[float, int, int | None]]:
    """(least share term, d_model, d_embed) of every embedding that leaves room for a layer."""
    for d_model in _widths(request):
        for d_embed in _embedding_widths(request, d_model):
            deviation = _least_share_deviation(request, d_model, d_embed)
            if request.limited and deviation > request.share_limit:
                continue
            yield round((deviation / 0.01) ** 2, 9), d_model, d_embed


def _least_share_deviation(request: Request, d_model: int, d_embed: int | None) -> float:
    """How far the share is from the requested one at the most favourable total of the budget."""
    if not request.seeks_share:
        return 0
    low, high = request.budget
    params = request.embedding_params(d_model, d_embed)
    return max(params / high - request.embed_share, request.embed_share - params / low, 0)


def _widths(request: Request) -> Iterator[int]:
    """Widths at which the embedding and the smallest layers are within the budget."""
    if request.d_model:
        yield request.d_model
        return
    step = request.multiple
    _, most = request.budget
    least_d_embed = step if request.factorized else None
    least_layer = 2.0  # parameters over d_model^2: attention with shared keys and values
    if request.limited and request.seeks_glu:
        least_layer += 3 * request.glu / GLU_LIMIT
    for d_model in range(step, int(math.sqrt(most / least_layer)) + 1, step):
        depth = 1
        if request.seeks_aspect:
            depth = math.ceil(d_model / ASPECT / ASPECT_LIMIT)
        layers = depth * least_layer * d_model**2
        if request.embedding_params(d_model, least_d_embed) + layers > most:
            return
        yield d_model


def _embedding_widths(request: Request, d_model: int) -> Iterable[int | None]:
    """Every d_embed that leaves the share within its limit; None unless factorized."""
    if not request.factorized:
        return [None]
    if request.d_embed:
        return [request.d_embed] if request.d_embed <= d_model else []
    low, high = request.budget
    step = request.multiple
    column = request.vocab_size + d_model
    least = (request.embed_share - request.share_limit) * low / column
    most = (request.embed_share + request.share_limit) * high / column
    first = max(step, math.ceil(least / step) * step)
    return range(first, min(d_model, int(most)) + 1, step)


# -------------------------------------------------------------------- layers


def _layers(request: Request, d_model: int, d_embed: int | None) -> Iterator[Dimensions]:
    """Every shape with this embedding within the budget and the limits."""
    # What the budget leaves to the layers, and what a unit of d_ff costs in each.
    low, high = request.budget
    embedding = request.embedding_params(d_model, d_embed)
    rest = (low - embedding - d_model, high - embedding - d_model)
    column = _mlp_matrices(request) * d_model
    limits = _mlp_limits(request, d_model)

    for d_head in request.head_sizes(d_model):
        # A layer holds `fixed` + `column` d_ff parameters.
        keys = (request.n_kv_heads or d_model // d_head) * d_head
        fixed = 2 * d_model * (d_model + keys) + 2 * d_model
        for n_layers in _depths(request, d_model, rest, fixed, limits):
            narrowest = max((rest[0] / n_layers - fixed) / column, limits[0])
            widest = min((rest[1] / n_layers - fixed) / column, limits[1])
            for d_ff in _mlp_widths(request, narrowest, widest):
                yield Dimensions(d_model, d_embed, n_layers, d_head, d_ff)


def _mlp_matrices(request: Request) -> int:
    return 3 if request.mlp == "swiglu" else 2


def _mlp_limits(request: Request, d_model: int) -> tuple[float, float]:
    """The least and the largest d_ff near the requested expansion."""
    if not (request.limited and request.seeks_glu):
        return 1, math.inf
    scale = 3 / _mlp_matrices(request) * d_model
    return request.glu / GLU_LIMIT * scale, request.glu * GLU_LIMIT * scale


def _depths(
    request: Request,
    d_model: int,
    rest: tuple[float, float],
    fixed: int,
    limits: tuple[float, float],
) -> Iterable[int]:
    """Numbers of layers that share `rest` parameters with each d_ff within its limits."""
    if request.n_layers:
        return [request.n_layers]
    column = _mlp_matrices(request) * d_model
    fewest = max(1, math.ceil(rest[0] / (fixed + column * limits[1])))
    most = min(MOST_LAYERS, int(max(rest[1], 0) / (fixed + column * limits[0])))
    if request.seeks_aspect:
        fewest = max(fewest, math.ceil(d_model / ASPECT / ASPECT_LIMIT))
        most = min(most, int(d_model / ASPECT * ASPECT_LIMIT))
    return range(fewest, most + 1)


def _mlp_widths(request: Request, narrowest: float, widest: float) -> Iterable[int]:
    """Every d_ff in that range; the one given by name, where there is one."""
    if request.d_ff:
        return [request.d_ff] if narrowest <= request.d_ff <= widest else []
    step = request.multiple
    return range(math.ceil(narrowest / step) * step, math.floor(widest / step) * step + 1, step)


# ---------------------------------------------------------------------- rank


def _rank(request: Request, dimensions: Dimensions) -> Rank | None:
    """The rank of a shape, or None where a limit is broken."""
    d_model, d_embed, n_layers, d_head, d_ff = dimensions
    model = request.shape(*dimensions)
    total = count_parameters(model)["total"]

    # Deviations from what is sought, and from nothing else.
    share = glu = aspect = 0.0
    if request.seeks_share:
        share = request.embedding_params(d_model, d_embed) / total - request.embed_share
    if request.seeks_glu:
        glu = math.log(d_ff * model.mlp_matrices / (3 * d_model * request.glu))
    if request.seeks_aspect:
        aspect = math.log(d_model / (ASPECT * n_layers))

    within_limits = (
        abs(share) <= request.share_limit
        and abs(glu) <= math.log(GLU_LIMIT)
        and abs(aspect) <= math.log(ASPECT_LIMIT)
    )
    if request.limited and not within_limits:
        return None
    objective = (
        (share / 0.01) ** 2 + (glu / math.log(1.05)) ** 2 + (64 / d_head - 1) ** 2 + aspect**2
    )
    return Rank(round(objective, 9), abs(total - request.total_params), dimensions)
