"""The allocator: a parameter budget becomes the shape of a decoder, by exhaustive search.

With a tied embedding the share, V d_model / total, *is* the width, and the GLU expansion
d_ff / d_model is the depth. Only a factorized embedding (V x d_embed, d_embed x d_model) separates
share from width. A larger share then takes its parameters from the MLP (d_model and n_layers given)
or from the depth (d_model given, the expansion kept).
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from ..config import ModelConfig, TrainConfig
from ..errors import InfeasibleError
from .display import BATCH_TOKENS, CARD, SEQ_LEN, cost_rows, html_table, shape_rows
from .hardware import roofline
from .ledger import count_parameters, flops_per_token, memory_bytes
from .refusals import explain
from .request import Request, check_request, check_whole
from .search import best_shapes


@dataclass(frozen=True)
class Allocation:
    """A shape and its itemised parameters, with the share and the expansion that were requested.

    `requested_share` and `requested_glu` are None where dimensions given by name fix them.
    """

    model: ModelConfig
    params: dict[str, int]
    requested_share: float | None
    requested_glu: float | None

    @property
    def embed_share(self) -> float:
        """The realised share of the embedding, head included, in all parameters."""
        return (self.params["embedding"] + self.params["head"]) / self.params["total"]

    @property
    def glu(self) -> float:
        """The realised expansion, d_ff / d_model."""
        return self.model.glu

    def details(
        self, seq_len: int = SEQ_LEN, batch_tokens: int = BATCH_TOKENS, hardware: str = CARD
    ) -> dict[str, Any]:
        """All that is known of the shape: dimensions, parameters, FLOPs, bytes and roofline."""
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
            "roofline": {
                "hardware": hardware,
                **roofline(self.model, hardware, seq_len, batch_tokens),
            },
        }

    def costs(
        self, seq_len: int = SEQ_LEN, batch_tokens: int = BATCH_TOKENS, hardware: str = CARD
    ) -> list[tuple[str, str]]:
        """(name, words) of FLOPs, memory and roofline, for reading."""
        return cost_rows(self, seq_len, batch_tokens, hardware)

    def rows(self) -> list[tuple[str, str]]:
        """(name, words) of the shape, the realised values and the parameters, for reading."""
        return shape_rows(self)

    def __str__(self) -> str:
        return "\n".join(f"{name:15}{words}" for name, words in self.rows())

    def _repr_html_(self) -> str:
        return html_table(self.rows())


def allocate(  # noqa: PLR0913 - the budget, and every dimension that may be given by name
    total_params: int,
    embed_share: float,
    glu: float,
    vocab_size: int,
    embedding: str = "tied",
    *,
    mlp: str = "swiglu",
    tolerance: float = 0.005,
    multiple: int = 8,
    d_model: int | None = None,
    n_layers: int | None = None,
    n_heads: int | None = None,
    n_kv_heads: int | None = None,
    d_head: int | None = None,
    d_ff: int | None = None,
    d_embed: int | None = None,
) -> Allocation:
    """The shape nearest to the requested share and expansion among all that fit the budget.

    >>> from paramalloc import allocate
    >>> a = allocate(total_params=10_000_000, embed_share=0.35, glu=2.66, vocab_size=16_000)
    >>> a.model.d_model, a.model.n_layers, a.model.n_heads, a.model.d_head, a.model.d_ff
    (224, 11, 4, 56, 568)
    >>> print(a)
    shape          11 layers of width 224, 4 heads of 56, d_ff 568
    embed_share    35.86% (requested 35%)
    glu            2.536 (requested 2.66)
    embedding      3,584,000 (35.9%)
    attention      2,207,744 (22.1%)
    mlp            4,198,656 (42.0%)
    norm           5,152 (0.1%)
    total          9,995,552 (100.0%)

    The objective, least over every (d_model, d_embed, n_layers, d_head, d_ff) that keeps the
    constraints:

        ((share - embed_share) / 0.01)^2 + (ln(glu' / glu) / ln 1.05)^2 + (64 / d_head - 1)^2

    `share` counts all of the embedding, head included. `glu'` is d_ff / d_model; without a gate
    (mlp "relu2") it is 2/3 of that, so that equal requests hold equal parameters. The last term
    prefers fewer, wider heads. Ties go to the smaller deviation from the budget, then to the
    smaller width.

    The constraints:

    - |total / total_params - 1| <= tolerance
    - d_model, d_ff, d_head and d_embed are multiples of `multiple`; d_embed <= d_model
    - n_heads d_head = d_model with 24 <= d_head <= 64; any even d_head where it is given, or where
      n_heads and d_model are
    - at most 1,000 layers
    - |share - embed_share| <= min(0.05, embed_share / 2)
    - |ln(glu' / glu)| <= ln 1.25

    A dimension given by name is kept as it is. What it fixes leaves the objective: the share when
    all of the embedding is given, the expansion when d_ff is, or d_model and n_layers are (the MLP
    takes the rest). With a tied or untied embedding it also lifts the limits on both. With d_model,
    n_layers and d_ff all given the budget is not used.

    A factorized embedding with neither d_model nor n_layers given adds
    (ln(d_model / (48 n_layers)))^2 to the objective, with a limit of ln 2 on that logarithm.

    Raises InfeasibleError, which names the constraint that binds and the nearest request that fits.
    """
    request = Request(**locals())
    return _allocate(request, 1)[0]


def k_best(
    k: int,
    total_params: int,
    embed_share: float,
    glu: float,
    vocab_size: int,
    embedding: str = "tied",
    **options: Any,
) -> list[Allocation]:
    """The `k` best shapes by `allocate`'s objective, best first; fewer where fewer fit.

    The other arguments and the errors are those of `allocate`.

    >>> for a in k_best(3, 10_000_000, embed_share=0.35, glu=2.66, vocab_size=16_000):
    ...     print(a.model.d_model, a.model.n_layers, a.model.n_heads, f"{a.embed_share:.2%}")
    224 11 4 35.86%
    224 11 7 35.86%
    216 12 9 34.58%
    """
    request = Request(total_params, embed_share, glu, vocab_size, embedding, **options)
    return _allocate(request, k)


def allocation(config: TrainConfig) -> Allocation:
    """The shape that a cell asks for."""
    arguments = {field.name: getattr(config, field.name) for field in fields(Request)}
    return _allocate(Request(**arguments), 1)[0]


def _allocate(request: Request, k: int) -> list[Allocation]:
    request = check_request(request)
    models = best_shapes(request, check_whole("k", k))
    if not models:
        raise InfeasibleError(explain(request))
    share = request.embed_share if request.seeks_share else None
    glu = request.glu if request.seeks_glu else None
    return [Allocation(model, count_parameters(model), share, glu) for model in models]
