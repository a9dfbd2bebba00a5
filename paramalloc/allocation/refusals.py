"""What no search could answer is refused: which constraint binds, and the nearest request that fits."""

from dataclasses import replace

from ..config import EMBEDDINGS, MLPS, as_number
from ..errors import ConfigError, InfeasibleError
from .ledger import count_parameters
from .search import D_HEAD, Request

# ---------------------------------------------------------------- infeasible


FRACTIONS, TEXTS = ("embed_share", "glu", "tolerance"), ("embedding", "mlp")
DIMENSIONS = ("d_model", "n_layers", "d_ff", "d_embed")  # those that a budget may not have room for
SHARES = [n / 1000 for n in (*range(1, 10), *range(10, 1000, 10))]


def whole(name: str, value) -> int:
    try:
        number = as_number(name, value, int)
    except ConfigError as error:
        raise InfeasibleError(str(error)) from None
    if number < 1:
        raise InfeasibleError(f"{name} must be at least 1, not {number}")
    return number


def fraction(name: str, value) -> float:
    try:
        number = as_number(name, value)
    except ConfigError as error:
        raise InfeasibleError(str(error)) from None
    if number <= 0 or name != "glu" and number >= 1:
        raise InfeasibleError(
            f"{name} must be above 0{'' if name == 'glu' else ' and below 1'}, not {number:g}"
        )
    return number


def checked(request: Request) -> Request:
    """The request in plain whole numbers and floats. Refuses what no search could answer: values of a wrong kind or out
    of range, and dimensions that contradict each other."""
    required = ("total_params", "vocab_size", "multiple")
    values = {
        name: value
        if name in TEXTS
        else fraction(name, value)
        if name in FRACTIONS
        else whole(name, value)
        for name, value in vars(request).items()
        if value is not None or name in (*required, *FRACTIONS)
    }
    request = replace(request, **values)
    d_model, heads, keys, d_head = (
        request.d_model,
        request.n_heads,
        request.n_kv_heads,
        request.d_head,
    )
    split = d_model and (heads or d_head)
    size, count = (
        (d_head or (heads and d_model and d_model // heads)),
        (heads or (d_head and d_model and d_model // d_head)),
    )
    wrong = {
        f"embedding must be one of {', '.join(EMBEDDINGS)}, not '{request.embedding}'": request.embedding
        not in EMBEDDINGS,
        f"mlp must be one of {', '.join(MLPS)}, not '{request.mlp}'": request.mlp not in MLPS,
        "d_embed belongs to embedding 'factorized': leave it out": request.d_embed
        and not request.factorized,
        f"d_embed {request.d_embed} is larger than d_model {d_model}": d_model
        and (request.d_embed or 0) > d_model,
        f"d_model {d_model} is not n_heads {heads} x d_head {d_head}: leave one of them out": d_model
        and heads
        and d_head
        and d_model != heads * d_head,
        f"d_model {d_model} is not a multiple of n_heads {heads}": d_model
        and heads
        and d_model % heads,
        f"d_model {d_model} is not a multiple of d_head {d_head}": d_model
        and d_head
        and d_model % d_head,
        f"d_head {size} must be even: rotary embedding turns pairs": size and size % 2,
        f"n_heads {count} is not a multiple of n_kv_heads {keys}": count and keys and count % keys,
        f"no d_head from {D_HEAD[0]} to {D_HEAD[-1]} is even and a multiple of {request.multiple}: name d_head, or use multiple 8": not (
            split or d_head
        )
        and all(n % request.multiple or n % 2 for n in D_HEAD),
    }
    for message, holds in wrong.items():
        if holds:
            raise InfeasibleError(message)
    if d_model and not request.head_sizes(d_model):
        groups = f" into a multiple of {keys} heads" if keys else ""
        raise InfeasibleError(
            f"no d_head from {D_HEAD[0]} to {D_HEAD[-1]}, a multiple of {request.multiple}, divides d_model {d_model}"
            f"{groups}: name d_head or n_heads, or change d_model"
        )
    return request


def explain(request: Request) -> str:
    """Which constraint binds where nothing fits, and the nearest request that does."""
    asked = f"{request.total_params:,} parameters with vocab_size {request.vocab_size:,}"
    named = ", ".join(
        f"{name} {getattr(request, name)}" for name in DIMENSIONS if getattr(request, name)
    )
    shares = (
        sorted(SHARES, key=lambda share: abs(share - request.embed_share))
        if request.seeks_share and request.limited
        else []
    )
    near = next((share for share in shares if replace(request, embed_share=share).feasible()), None)
    if named:
        advice = (
            nearest_total(request)
            if near is None
            else f"the nearest embed_share that fits is {near:g}"
        )
        return f"no shape of {asked} within {request.tolerance:.1%} has {named} at embed_share {request.embed_share:g}: {advice}"
    left = request.total_params * (1 - request.embed_share)
    problem = f"embed_share {request.embed_share:g} of {asked} leaves {left:,.0f} for the layers, and {binding(request)}"
    if near is None:
        return f"{problem}; nor does any other share fit: change total_params or vocab_size"
    return f"{problem}: the nearest embed_share that fits is {near:g}"


def binding(request: Request) -> str:
    """What stands in the way at the requested share."""
    width = request.embed_share * request.total_params / request.embedding_size(1, 1)
    narrowest = D_HEAD[0]
    if request.factorized:
        return f"no factorized embedding of that size (d_embed at most d_model) leaves whole layers at glu {request.glu:g}"
    if width < narrowest / 1.5:
        return (
            f"that share of the budget is a width of {width:.0f}, less than one head of {narrowest}"
        )
    layer = width * width * (4 + 3 * request.glu)
    left = request.total_params * (1 - request.embed_share)
    if left < layer:
        return f"one layer of width {width:.0f} at glu {request.glu:g} holds {layer:,.0f}"
    return f"no whole number of layers of width about {width:.0f} comes within {request.tolerance:.1%} of the budget at glu {request.glu:g}"


def nearest_total(request: Request) -> str:
    """A total near the budget that the named dimensions can have."""
    for tolerance in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9):
        wider = replace(request, tolerance=max(tolerance, request.tolerance))
        if wider.feasible():
            total = count_parameters(request.shape(*wider.search(1)[0][-1]))["total"]
            return f"a total_params that fits is {total:,}"
    return "leave one of them out, or change total_params"
