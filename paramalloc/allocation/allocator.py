"""The allocator: a parameter budget becomes the shape of a decoder, by exhaustive search.

With a tied embedding the share of the embedding, V d_model / total, *is* the width, and the GLU expansion d_ff / d_model
is the depth. Only a factorized embedding (V x d_embed, d_embed x d_model) separates share from width; then either the MLP
pays for the share (d_model and n_layers given) or the depth does (d_model given, the expansion kept).
"""

from dataclasses import asdict, dataclass
from html import escape

from ..config import ModelConfig, TrainConfig
from ..errors import InfeasibleError
from .hardware import roofline
from .ledger import count_parameters, flops_per_token, memory_bytes
from .refusals import checked, explain, whole
from .search import Request


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
