"""The shape of a decoder."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from ..errors import ConfigError

EMBEDDINGS = ("tied", "untied", "factorized")
MLPS = ("swiglu", "relu2")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder: what `model.DecoderLM` builds and `ledger.count_parameters` counts.

    `embedding` is "tied" (input and output share a table of V x d_model), "untied" (one each), or
    "factorized" (they share a table of V x d_embed and a projection of d_embed x d_model).
    `mlp` is "swiglu", or "relu2" (no gate).
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

    def __post_init__(self) -> None:
        if (self.embedding == "factorized") != (self.d_embed is not None):
            raise ConfigError("d_embed goes with embedding 'factorized', and with no other")

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The shape of a run, from its config.json or result.json."""
        return cls(**{spec.name: record[spec.name] for spec in fields(cls)})

    @property
    def gated(self) -> bool:
        """Whether the MLP has a gate."""
        return self.mlp == "swiglu"

    @property
    def mlp_matrices(self) -> int:
        """Matrices of d_model x d_ff in an MLP."""
        return 3 if self.gated else 2

    @property
    def glu(self) -> float:
        """d_ff / d_model; without a gate, that of the gated MLP with as many parameters."""
        return self.d_ff * self.mlp_matrices / (3 * self.d_model)
