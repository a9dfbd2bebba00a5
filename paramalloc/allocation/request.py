"""A request to the allocator: what it fixes and leaves open, and its checks."""

import math
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any

from ..config import EMBEDDINGS, MLPS, ModelConfig, as_number
from ..errors import ConfigError, InfeasibleError

D_HEAD = range(24, 65)  # narrower heads are slow, wider ones leave fewer than three at these widths
SHARE_LIMIT = 0.05  # a share further off than this, or than half of it, is not what was requested
GLU_LIMIT = 1.25  # nor is an expansion that differs by more than this factor
ASPECT = 48  # d_model / n_layers where nothing else fixes it: d_model 288 x 6 layers at 10M
ASPECT_LIMIT = 2.0  # the largest factor between that ratio and the shape's

TEXTS = ("embedding", "mlp")
FRACTIONS = ("embed_share", "glu", "tolerance")  # every other argument is a whole number


@dataclass(frozen=True)
class Request:
    """The arguments of `allocate`, and what follows from them for the search."""

    total_params: int
    embed_share: float
    glu: float
    vocab_size: int
    embedding: str = "tied"
    mlp: str = "swiglu"
    tolerance: float = 0.005
    multiple: int = 8
    d_model: int | None = None
    n_layers: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_head: int | None = None
    d_ff: int | None = None
    d_embed: int | None = None

    @cached_property
    def factorized(self) -> bool:
        return self.embedding == "factorized"

    @cached_property
    def seeks_share(self) -> bool:
        """Whether the share is in the objective: the named dimensions leave the embedding open."""
        return not (self.d_model and (self.d_embed or not self.factorized))

    @cached_property
    def seeks_glu(self) -> bool:
        """Whether the expansion is in the objective: the named dimensions leave d_ff open."""
        return not (self.d_ff or (self.d_model and self.n_layers))

    @cached_property
    def seeks_aspect(self) -> bool:
        """Whether d_model / n_layers is in the objective: nothing else would fix it."""
        return self.factorized and not (self.d_model or self.n_layers)

    @cached_property
    def limited(self) -> bool:
        """Whether the realised share and expansion must lie near the requested ones."""
        return self.factorized or not (self.d_model or self.n_layers or self.d_ff)

    @cached_property
    def share_limit(self) -> float:
        """The largest deviation from the requested share."""
        return min(SHARE_LIMIT, self.embed_share / 2)

    @cached_property
    def budget(self) -> tuple[float, float]:
        """The least and the largest total; any where the dimensions are all named."""
        if self.d_model and self.n_layers and self.d_ff and not self.seeks_share:
            return 0, math.inf
        return self.total_params * (1 - self.tolerance), self.total_params * (1 + self.tolerance)

    def embedding_params(self, d_model: int, d_embed: int | None) -> int:
        """Parameters of the embedding, head included; `d_embed` is None unless factorized."""
        if d_embed is not None:
            return (self.vocab_size + d_model) * d_embed
        tables = 2 if self.embedding == "untied" else 1
        return self.vocab_size * d_model * tables

    def head_sizes(self, d_model: int) -> tuple[int, ...]:
        """Every d_head that divides the width into heads, and the heads into groups."""
        return _head_sizes(
            d_model,
            self.n_heads,
            self.d_head,
            self.n_kv_heads or 1,
            self.multiple,
            bool(self.d_model),
        )

    def shape(
        self, d_model: int, d_embed: int | None, n_layers: int, d_head: int, d_ff: int
    ) -> ModelConfig:
        """The decoder of these dimensions."""
        n_heads = d_model // d_head
        return ModelConfig(
            vocab_size=self.vocab_size,
            d_model=d_model,
            n_layers=n_layers,
            n_heads=n_heads,
            n_kv_heads=self.n_kv_heads or n_heads,
            d_head=d_head,
            d_ff=d_ff,
            embedding=self.embedding,
            d_embed=d_embed,
            mlp=self.mlp,
        )


@cache
def _head_sizes(
    d_model: int,
    n_heads: int | None,
    d_head: int | None,
    n_kv_heads: int,
    multiple: int,
    width_given: bool,
) -> tuple[int, ...]:
    candidates = [size for size in D_HEAD if size % multiple == 0]
    if n_heads and width_given:
        candidates = [d_model // n_heads]
    if d_head:
        candidates = [d_head]

    def fits(size: int) -> bool:
        if size == 0 or size % 2 or d_model % size:
            return False
        heads = d_model // size
        return heads % n_kv_heads == 0 and n_heads in (None, heads)

    return tuple(size for size in candidates if fits(size))


# -------------------------------------------------------------------- checks


def check_request(request: Request) -> Request:
    """The request in plain ints and floats.

    Raises InfeasibleError for what no search could answer: values of a wrong kind or out of range,
    and dimensions that contradict each other.
    """
    request = replace(request, **_plain_values(request))
    _check_embedding(request)
    _check_heads(request)
    return request


def check_whole(name: str, value: Any) -> int:
    """`value` as a plain int of at least 1."""
    number: int = _as_number(name, value, int)
    if number < 1:
        raise InfeasibleError(f"{name} must be at least 1, not {number}")
    return number


def _check_fraction(name: str, value: Any) -> float:
    number: float = _as_number(name, value, float)
    if name == "glu" and number <= 0:
        raise InfeasibleError(f"{name} must be above 0, not {number:g}")
    if name != "glu" and not 0 < number < 1:
        raise InfeasibleError(f"{name} must be above 0 and below 1, not {number:g}")
    return number


def _as_number(name: str, value: Any, kind: type) -> Any:
    try:
        return as_number(name, value, kind)
    except ConfigError as error:
        raise InfeasibleError(str(error)) from None


def _plain_values(request: Request) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in fields(request):
        name = field.name
        value = getattr(request, name)
        left_open = value is None and field.default is None
        if name in TEXTS or left_open:
            continue
        if name in FRACTIONS:
            values[name] = _check_fraction(name, value)
        else:
            values[name] = check_whole(name, value)
    return values


def _check_embedding(request: Request) -> None:
    d_model = request.d_model
    d_embed = request.d_embed
    if request.embedding not in EMBEDDINGS:
        known = ", ".join(EMBEDDINGS)
        raise InfeasibleError(f"embedding must be one of {known}, not '{request.embedding}'")
    if request.mlp not in MLPS:
        raise InfeasibleError(f"mlp must be one of {', '.join(MLPS)}, not '{request.mlp}'")
    if d_embed and not request.factorized:
        raise InfeasibleError("d_embed belongs to embedding 'factorized': leave it out")
    if d_embed and d_model and d_embed > d_model:
        raise InfeasibleError(f"d_embed {d_embed} is larger than d_model {d_model}")


def _check_heads(request: Request) -> None:
    d_model = request.d_model
    n_heads = request.n_heads
    d_head = request.d_head
    if d_model and n_heads and d_head and d_model != n_heads * d_head:
        raise InfeasibleError(
            f"d_model {d_model} is not n_heads {n_heads} x d_head {d_head}: leave one of them out"
        )
    if d_model and n_heads and d_model % n_heads:
        raise InfeasibleError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
    if d_model and d_head and d_model % d_head:
        raise InfeasibleError(f"d_model {d_model} is not a multiple of d_head {d_head}")

    # With the width, either of n_heads and d_head gives the other.
    if d_model and n_heads:
        d_head = d_model // n_heads
    elif d_model and d_head:
        n_heads = d_model // d_head
    if d_head and d_head % 2:
        raise InfeasibleError(f"d_head {d_head} must be even: rotary embedding turns pairs")
    if n_heads and request.n_kv_heads and n_heads % request.n_kv_heads:
        raise InfeasibleError(
            f"n_heads {n_heads} is not a multiple of n_kv_heads {request.n_kv_heads}"
        )
    if not d_head:
        _check_multiple(request)
    if d_model and not request.head_sizes(d_model):
        raise InfeasibleError(_no_head_divides(d_model, request))


def _check_multiple(request: Request) -> None:
    if any(size % request.multiple == 0 and size % 2 == 0 for size in D_HEAD):
        return
    raise InfeasibleError(
        f"no d_head from {D_HEAD[0]} to {D_HEAD[-1]} is even and a multiple of {request.multiple}: "
        "name d_head, or use multiple 8"
    )


def _no_head_divides(d_model: int, request: Request) -> str:
    groups = f" into a multiple of {request.n_kv_heads} heads" if request.n_kv_heads else ""
    return (
        f"no d_head from {D_HEAD[0]} to {D_HEAD[-1]}, a multiple of {request.multiple}, "
        f"divides d_model {d_model}{groups}: name d_head or n_heads, or change d_model"
    )
