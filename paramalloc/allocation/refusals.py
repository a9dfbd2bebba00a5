"""Why no shape fits a request: which constraint binds, and the nearest request that has a shape."""

from dataclasses import replace

from .ledger import count_parameters
from .request import D_HEAD, Request
from .search import best_shapes, has_shape

DIMENSIONS = ("d_model", "n_layers", "d_ff", "d_embed")  # those that a budget may have no room for
SHARES: list[float] = [n / 1000 for n in (*range(1, 10), *range(10, 1000, 10))]
TOLERANCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)


def explain(request: Request) -> str:
    """One line: which constraint leaves no shape, and the nearest request that has one."""
    size = f"{request.total_params:,} parameters with vocab_size {request.vocab_size:,}"
    dimensions = _named_dimensions(request)
    if dimensions:
        return (
            f"no shape of {size} within {request.tolerance:.1%} has {dimensions} "
            f"at embed_share {request.embed_share:g}: {_advice(request)}"
        )
    left = request.total_params * (1 - request.embed_share)
    problem = (
        f"embed_share {request.embed_share:g} of {size} leaves {left:,.0f} for the layers, "
        f"and {_binding_constraint(request)}"
    )
    share = _nearest_share(request)
    if share is None:
        return f"{problem}; nor does any other share fit: change total_params or vocab_size"
    return f"{problem}: the nearest embed_share that fits is {share:g}"


def _named_dimensions(request: Request) -> str:
    values = {name: getattr(request, name) for name in DIMENSIONS}
    return ", ".join(f"{name} {value}" for name, value in values.items() if value)


def _binding_constraint(request: Request) -> str:
    """What stands in the way at the requested share."""
    if request.factorized:
        return (
            "no factorized embedding of that size (d_embed at most d_model) "
            f"leaves whole layers at glu {request.glu:g}"
        )
    width = request.embed_share * request.total_params / request.embedding_params(1, None)
    narrowest = D_HEAD[0]
    if width < narrowest / 1.5:
        return (
            f"that share of the budget is a width of {width:.0f}, less than one head of {narrowest}"
        )
    layer = width * width * (4 + 3 * request.glu)
    left = request.total_params * (1 - request.embed_share)
    if left < layer:
        return f"one layer of width {width:.0f} at glu {request.glu:g} holds {layer:,.0f}"
    return (
        f"no whole number of layers of width about {width:.0f} "
        f"comes within {request.tolerance:.1%} of the budget at glu {request.glu:g}"
    )


def _advice(request: Request) -> str:
    """What to change where dimensions are given by name: the share, else the total."""
    share = _nearest_share(request)
    if share is not None:
        return f"the nearest embed_share that fits is {share:g}"
    total = _nearest_total(request)
    if total is not None:
        return f"a total_params that fits is {total:,}"
    return "leave one of them out, or change total_params"


def _nearest_share(request: Request) -> float | None:
    """The nearest share with a shape; None where there is none, or the share is not sought."""
    if not (request.seeks_share and request.limited):
        return None
    shares = sorted(SHARES, key=lambda share: abs(share - request.embed_share))
    for share in shares:
        if has_shape(replace(request, embed_share=share)):
            return share
    return None


def _nearest_total(request: Request) -> int | None:
    """A total near the budget that the named dimensions can have."""
    for tolerance in TOLERANCES:
        wider = replace(request, tolerance=max(tolerance, request.tolerance))
        shapes = best_shapes(wider, 1)
        if shapes:
            return count_parameters(shapes[0])["total"]
    return None
