"""The allocator: a parameter budget becomes the shape of a decoder, by exhaustive search.

With a tied embedding the share of the embedding, V d_model / total, *is* the width, and the GLU expansion d_ff / d_model
is the depth. Only a factorized embedding (V x d_embed, d_embed x d_model) separates share from width; then either the MLP
pays for the share (d_model and n_layers given) or the depth does (d_model given, the expansion kept).
"""

from dataclasses import asdict, dataclass, replace
from html import escape

from .config import EMBEDDINGS, MLPS, ConfigError, ModelConfig, TrainConfig, UserError, as_number
from .ledger import count_parameters, flops_per_token, memory_bytes, roofline
from .search import D_HEAD, Request


class InfeasibleError(UserError):
    """No shape meets the request; the message names the constraint that binds and the nearest request."""


@dataclass(frozen=True)
class Allocation:
    """A shape, its itemised parameters, and the realised beside the requested share and expansion."""

    model: ModelConfig
    params: dict[str, int]
    requested_share: float | None
    requested_glu: float | None

    @property
    def embed_share(self) -> float:
        return (self.params["embedding"] + self.params["head"]) / self.params["total"]

    @property
    def glu(self) -> float:
        return self.model.glu

    def details(
        self, seq_len: int = 512, batch_tokens: int = 32_768, hardware: str = "H100 SXM"
    ) -> dict:
        """Everything the ledger knows of the shape: dimensions, parameters, FLOPs, bytes, roofline."""
        return {
            "model": asdict(self.model),
            "params": self.params,
            "embed_share": self.embed_share,
            "glu": self.glu,
            "requested_share": self.requested_share,
            "requested_glu": self.requested_glu,
            "seq_len": seq_len,
            "batch_tokens": batch_tokens,
            "flops_per_token": flops_per_token(self.model, seq_len),
            "memory_bytes": memory_bytes(self.model, seq_len, batch_tokens),
            "roofline": {"hardware": hardware}
            | roofline(self.model, hardware, seq_len, batch_tokens),
        }

    def costs(
        self, seq_len: int = 512, batch_tokens: int = 32_768, hardware: str = "H100 SXM"
    ) -> list[tuple[str, str]]:
        """FLOPs, memory and roofline in words, for reading."""
        found = self.details(seq_len, batch_tokens, hardware)
        flops, memory, roof = found["flops_per_token"], found["memory_bytes"], found["roofline"]
        mebi = lambda name: f"{memory[name] / 2**20:,.1f} MiB"
        both = lambda name: (
            f"{flops[name] / 1e6:,.1f}M per token, causal attention ({flops[name + '_full'] / 1e6:,.1f}M with the full score matrix)"
        )
        return [
            ("forward FLOPs", both("forward")),
            ("train FLOPs", both("train")),
            (
                "generating",
                f"{mebi('weights')} of weights in bf16, {memory['kv_per_token']:,} bytes of cache per token",
            ),
            (
                "training",
                f"{mebi('training')}: {mebi('parameters')} parameters, {mebi('gradients')} gradients, {mebi('optimizer')} "
                f"optimizer, {mebi('activations')} activations of {batch_tokens:,} tokens",
            ),
            (
                "roofline",
                f"{hardware}: training at most {roof['train_tokens_per_s']:,.0f} tokens/s ({roof['train_bound']} binds), "
                f"generating {roof['decode_tokens_per_s']:,.0f} tokens/s ({roof['decode_bound']} binds)",
            ),
        ]

    def rows(self) -> list[tuple[str, str]]:
        model, total = self.model, self.params["total"]
        many = lambda count, thing: f"{count} {thing}{'s' * (count > 1)}"
        shape = f"{many(model.n_layers, 'layer')} of width {model.d_model}, {many(model.n_heads, 'head')} of {model.d_head}"
        shape += f" (key and value: {model.n_kv_heads})" * (model.n_kv_heads != model.n_heads)
        factorized = [("d_embed", f"{model.d_embed}")] if model.d_embed else []
        asked = lambda value, unit="": "" if value is None else f" (requested {value:.3g}{unit})"
        share = None if self.requested_share is None else 100 * self.requested_share
        return [
            ("shape", f"{shape}, d_ff {model.d_ff}"),
            *factorized,
            ("embed_share", f"{self.embed_share:.2%}" + asked(share, "%")),
            ("glu", f"{self.glu:.3f}" + asked(self.requested_glu)),
            *(
                (name, f"{count:,} ({count / total:.1%})")
                for name, count in self.params.items()
                if count
            ),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{name:15}{value}" for name, value in self.rows())

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self.rows()
        )
        return f"<table>{cells}</table>"


def allocate(
    total_params: int,
    embed_share: float,
    glu: float,
    vocab_size: int,
    embedding: str = "tied",
    *,
    mlp: str = "swiglu",
    tolerance: float = 0.005,
    multiple: int = 8,
    d_model=None,
    n_layers=None,
    n_heads=None,
    n_kv_heads=None,
    d_head=None,
    d_ff=None,
    d_embed=None,
) -> Allocation:
    """The shape nearest to the requested share and expansion among all that fit the budget.

    Constraints: |total / total_params - 1| <= tolerance; d_model, d_ff, d_head and d_embed multiples of `multiple`;
    n_heads d_head = d_model with 24 <= d_head <= 64 (d_head given, or n_heads and d_model: any even one); d_embed <= d_model; at most 1,000 layers; |share - embed_share|
    <= min(0.05, embed_share / 2); |ln(glu' / glu)| <= ln 1.25. Objective, minimised over every such (d_model, d_embed, n_layers, d_head, d_ff):

        ((share - embed_share) / 0.01)^2 + (ln(glu' / glu) / ln 1.05)^2 + (64 / d_head - 1)^2

    The last term prefers fewer, wider heads. Ties go to the smaller deviation from the budget, then to the smaller
    width. share counts all of the embedding, head included, and glu' is d_ff / d_model, without a gate (mlp "relu2")
    2/3 of it, so that equal requests hold equal parameters.

    A dimension given by name is kept as it is. What it fixes leaves the objective: the share when all of the embedding
    is given, the expansion when d_ff is, or d_model and n_layers are (the MLP takes the rest). With a tied or untied
    embedding it also lifts the limits on both; with d_model, n_layers and d_ff all given the budget is not used.
    A factorized embedding with neither d_model nor n_layers given adds (ln(d_model / (48 n_layers)))^2 to the
    objective, with a limit of ln 2 on that logarithm. Raises InfeasibleError.
    """
    given = dict(locals())
    return k_best(1, **given)[0]


def k_best(
    k: int,
    total_params: int,
    embed_share: float,
    glu: float,
    vocab_size: int,
    embedding: str = "tied",
    **options,
) -> list[Allocation]:
    """The k best shapes by `allocate`'s objective, best first; fewer where fewer fit. Same arguments and errors."""
    request = checked(Request(total_params, embed_share, glu, vocab_size, embedding, **options))
    found = request.search(whole("k", k))
    if not found:
        raise InfeasibleError(explain(request))
    asked = (
        request.embed_share if request.seeks_share else None,
        request.glu if request.seeks_glu else None,
    )
    models = [request.shape(*dimensions) for *_, dimensions in found]
    return [Allocation(model, count_parameters(model), *asked) for model in models]


def allocation(config: TrainConfig) -> Allocation:
    """The shape that a cell asks for."""
    return k_best(1, **{name: getattr(config, name) for name in Request.__dataclass_fields__})[0]


def comparison(
    shapes: list[Allocation],
    seq_len: int = 512,
    batch_tokens: int = 32_768,
    hardware: str = "H100 SXM",
):
    """Shapes side by side as a table, requested beside realised."""
    import pandas as pd  # only here: to allocate needs no more than the standard library

    percent = lambda value: "" if value is None else f"{value:.1%}"
    rows = []
    for shape in shapes:
        model, roof = shape.model, roofline(shape.model, hardware, seq_len, batch_tokens)
        rows.append(
            {
                "requested share": percent(shape.requested_share),
                "share": f"{shape.embed_share:.2%}",
                "requested glu": f"{shape.requested_glu or '':}",
                "glu": f"{shape.glu:.3f}",
                "d_model": model.d_model,
                "n_layers": model.n_layers,
                "n_heads": model.n_heads,
                "d_head": model.d_head,
                "d_ff": model.d_ff,
            }
            | ({"d_embed": model.d_embed} if model.d_embed else {})
            | {
                "total": f"{shape.params['total']:,}",
                "train MFLOPs/token": f"{flops_per_token(model, seq_len)['train'] / 1e6:.1f}",
                f"at most tokens/s ({hardware})": f"{roof['train_tokens_per_s']:,.0f}",
            }
        )
    return pd.DataFrame(rows)


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
