"""The allocator: a parameter budget becomes the shape of a decoder, by exhaustive search.

With a tied embedding a decoder of width d, L layers and GLU width f over V tokens holds

    embedding  V d          attention  L (2 d a + 2 d k),  a = n_heads d_head,  k = n_kv_heads d_head
    mlp        3 L d f      norm       (2 L + 1) d         head  0 (it is the embedding)

so the share of the embedding, V d / total, *is* the width, and the GLU expansion f / d is the depth.
"""

import math
from dataclasses import dataclass, replace
from html import escape

from .config import ModelConfig, TrainConfig, UserError

D_HEAD = range(24, 65)      # narrower heads are slow, wider ones leave fewer than three at these widths
SHARE_LIMIT = 0.05          # a realised share further off than this is not what was asked for
GLU_LIMIT = math.log(1.25)


class InfeasibleError(UserError):
    """No shape meets the request; the message names the constraint that binds and the nearest request."""


def count_parameters(model: ModelConfig) -> dict[str, int]:
    """Parameters by group, in whole numbers: embedding, attention, mlp, norm, head and their total."""
    d, layers = model.d_model, model.n_layers
    queries, keys = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    groups = {
        "embedding": model.vocab_size * d,
        "attention": layers * 2 * d * (queries + keys),
        "mlp": layers * 3 * d * model.d_ff,
        "norm": (2 * layers + 1) * d,
        "head": 0,
    }
    return groups | {"total": sum(groups.values())}


def flops_per_token(model: ModelConfig, seq_len: int) -> dict[str, int]:
    """Floating-point operations per token at `seq_len`: a product of (m, k) by (k, n) is 2 m k n.

    `matmul` counts the weight products of a forward pass, head included, embedding look-up excluded;
    `attention` the two products of causal attention, half of those with the full T x T score matrix (which is
    what torch's FLOP counter counts). `forward` is their sum; `train` is forward and backward, three times it.
    """
    params = count_parameters(model)
    matmul = 2 * (params["attention"] + params["mlp"] + model.vocab_size * model.d_model)
    attention = 2 * model.n_layers * model.n_heads * model.d_head * seq_len
    forward = matmul + attention
    return {"matmul": matmul, "attention": attention, "forward": forward, "train": 3 * forward}


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
        return self.model.d_ff / self.model.d_model

    def rows(self) -> list[tuple[str, str]]:
        model, total = self.model, self.params["total"]
        many = lambda count, thing: f"{count} {thing}{'s' * (count > 1)}"
        shape = f"{many(model.n_layers, 'layer')} of width {model.d_model}, {many(model.n_heads, 'head')} of {model.d_head}"
        asked = lambda value, form: "" if value is None else f" (requested {value:{form}})"
        return [
            ("shape", f"{shape}, d_ff {model.d_ff}"),
            ("embed_share", f"{self.embed_share:.2%}" + asked(self.requested_share, ".0%")),
            ("glu", f"{self.glu:.3f}" + asked(self.requested_glu, "g")),
            *((name, f"{count:,} ({count / total:.1%})") for name, count in self.params.items() if count),
        ]

    def __str__(self) -> str:
        return "\n".join(f"{name:12}{value}" for name, value in self.rows())

    def _repr_html_(self) -> str:
        cells = "".join(f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{escape(value)}</td></tr>"
                        for name, value in self.rows())
        return f"<table>{cells}</table>"


def allocate(total_params: int, embed_share: float, glu: float, vocab_size: int, embedding: str = "tied", *,
             tolerance: float = 0.005, multiple: int = 8, d_model=None, n_layers=None, n_heads=None,
             n_kv_heads=None, d_head=None, d_ff=None) -> Allocation:
    """The shape nearest to the requested share and expansion among all that fit the budget.

    Constraints: |total / total_params - 1| <= tolerance; d_model, d_ff and d_head multiples of `multiple`;
    n_heads d_head = d_model with 24 <= d_head <= 64; |share - embed_share| <= 0.05;
    |ln(glu' / glu)| <= ln 1.25. Objective, minimised over every such (d_model, n_layers, d_head, d_ff):

        ((share - embed_share) / 0.01)^2 + (ln(glu' / glu) / ln 1.05)^2 + (64 / d_head - 1)^2

    The last term prefers fewer, wider heads. Ties go to the smaller deviation from the budget, then to the
    smaller width. A dimension given by name is kept as it is, and the limits on share and expansion, which
    it may make impossible, are lifted; with d_model, n_layers and d_ff all given the budget is not used.
    Raises InfeasibleError.
    """
    if embedding != "tied":
        raise InfeasibleError(f"embedding must be 'tied', not '{embedding}'")
    if not (total_params > 0 and vocab_size > 0 and glu > 0 and 0 < embed_share < 1):
        raise InfeasibleError("total_params, vocab_size and glu must be positive, and embed_share between 0 and 1")
    given = {"d_model": d_model, "n_layers": n_layers, "n_heads": n_heads, "n_kv_heads": n_kv_heads,
             "d_head": d_head, "d_ff": d_ff}
    request = Request(total_params, embed_share, glu, vocab_size, tolerance, multiple, given)
    best = min((pair for pair in map(request.rank, request.shapes()) if pair), default=None)
    if best is None:
        raise InfeasibleError(request.explain())
    model = request.shape(*best[-1])
    return Allocation(model, count_parameters(model), None if d_model else embed_share, None if d_ff else glu)


def allocation(config: TrainConfig) -> Allocation:
    """The shape that a cell asks for."""
    return allocate(config.total_params, config.embed_share, config.glu, config.vocab_size, config.embedding,
                    tolerance=config.tolerance, multiple=config.multiple, d_model=config.d_model,
                    n_layers=config.n_layers, n_heads=config.n_heads, n_kv_heads=config.n_kv_heads,
                    d_head=config.d_head, d_ff=config.d_ff)


@dataclass(frozen=True)
class Request:
    """One request and the domain that is searched for it: (d_model, n_layers, d_head, d_ff)."""

    total_params: int
    embed_share: float
    glu: float
    vocab_size: int
    tolerance: float
    multiple: int
    given: dict

    def shapes(self):
        """Every (d_model, n_layers, d_head, d_ff) within the tolerance of the budget."""
        for d_model in self.widths():
            for d_head in self.head_sizes(d_model):
                for n_layers in [self.given["n_layers"]] if self.given["n_layers"] else range(1, 1001):
                    expansions = self.expansions(d_model, n_layers, d_head)
                    if expansions is None:  # attention alone is over the budget, and deeper is larger still
                        break
                    for d_ff in expansions:
                        yield d_model, n_layers, d_head, d_ff

    def widths(self):
        if self.given["d_model"]:
            return [self.given["d_model"]]
        slack = 1.0 if self.explicit else SHARE_LIMIT
        low = (self.embed_share - slack) * self.total_params * (1 - self.tolerance) / self.vocab_size
        high = min(1.0, self.embed_share + slack) * self.total_params * (1 + self.tolerance) / self.vocab_size
        step = self.multiple
        return range(max(1, math.ceil(low / step)) * step, int(high) + 1, step)

    def head_sizes(self, d_model):
        heads, size = self.given["n_heads"], self.given["d_head"]
        sizes = [size] if size else [d_model // heads] if heads else [n for n in D_HEAD if n % self.multiple == 0]
        keys = self.given["n_kv_heads"] or 1
        return [n for n in sizes if n and n % 2 == 0 and d_model % n == 0
                and heads in (None, d_model // n) and (d_model // n) % keys == 0]

    def expansions(self, d_model, n_layers, d_head):
        without = count_parameters(self.shape(d_model, n_layers, d_head, 0))["total"]
        step = 3 * n_layers * d_model
        low = (self.total_params * (1 - self.tolerance) - without) / step
        high = (self.total_params * (1 + self.tolerance) - without) / step
        d_ff, multiple = self.given["d_ff"], self.multiple
        if d_ff:
            fits = low <= d_ff <= high or (self.given["d_model"] and self.given["n_layers"])
            return [d_ff] if fits else []
        return range(max(1, math.ceil(low / multiple)) * multiple, int(high) + 1, multiple) if high >= 1 else None

    def shape(self, d_model, n_layers, d_head, d_ff) -> ModelConfig:
        heads = d_model // d_head
        return ModelConfig(self.vocab_size, d_model, n_layers, heads, self.given["n_kv_heads"] or heads, d_head, d_ff)

    @property
    def explicit(self) -> bool:
        return any(self.given[name] for name in ("d_model", "n_layers", "d_ff"))

    def rank(self, dimensions):
        """(objective, deviation from the budget, dimensions), or None where a limit is broken."""
        d_model, _, d_head, d_ff = dimensions
        total = count_parameters(self.shape(*dimensions))["total"]
        share = self.vocab_size * d_model / total - self.embed_share
        log_glu = math.log(d_ff / d_model / self.glu)
        if not self.explicit and (abs(share) > SHARE_LIMIT or abs(log_glu) > GLU_LIMIT):
            return None
        objective = (share / 0.01) ** 2 + (log_glu / math.log(1.05)) ** 2 + (64 / d_head - 1) ** 2
        return round(objective, 9), abs(total - self.total_params), dimensions

    def explain(self) -> str:
        """Why nothing fits, and the nearest share that does."""
        asked = f"{self.total_params:,} parameters with vocab_size {self.vocab_size:,}"
        if any(self.given.values()):
            given = ", ".join(f"{name} {value}" for name, value in self.given.items() if value)
            return f"no shape of {asked} within {self.tolerance:.1%} has {given}: leave one of them out or change total_params"
        left = self.total_params - self.embed_share * self.total_params
        shares = sorted((n / 100 for n in range(1, 99)), key=lambda share: abs(share - self.embed_share))
        near = next((share for share in shares if self.feasible(share)), None)
        problem = f"embed_share {self.embed_share:g} of {asked} leaves {left:,.0f} for the layers, and no shape fits at glu {self.glu:g}"
        if near is None:
            return f"{problem}, nor at any other share: raise total_params or lower vocab_size"
        return f"{problem}: the nearest embed_share that fits is {near:g}"

    def feasible(self, share: float) -> bool:
        request = replace(self, embed_share=share)
        return any(request.rank(shape) for shape in request.shapes())
