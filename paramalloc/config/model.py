"""The shape of a decoder."""

from dataclasses import dataclass

from ..errors import ConfigError

EMBEDDINGS = ("tied", "untied", "factorized")
MLPS = ("swiglu", "relu2")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder: what `model.DecoderLM` builds and `ledger.count_parameters` counts.

    `embedding`: "tied" (input and output share a table of V x d_model), "untied" (one each), or "factorized" (input and
    output share a table of V x d_embed and a projection of d_embed x d_model). `mlp`: "swiglu", or "relu2" (no gate).
    """

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_ff: int
    embedding: str = "tied"
    d_embed: int | None = None
    mlp: str = "swiglu"

    def __post_init__(self):
        if (self.embedding == "factorized") != (self.d_embed is not None):
            raise ConfigError("d_embed goes with embedding 'factorized', and with no other")

    @property
    def gated(self) -> bool:
        return self.mlp == "swiglu"

    @property
    def mlp_matrices(self) -> int:
        """Matrices of d_model x d_ff in an MLP."""
        return 3 if self.gated else 2

    @property
    def glu(self) -> float:
        """d_ff / d_model; without a gate, that of the gated MLP with as many parameters."""
        return self.d_ff * self.mlp_matrices / (3 * self.d_model)
