"""The parameters of the notebooks other than train."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .fields import number, text, whole_number
from .model import EMBEDDINGS, MLPS
from .parameters import FromParameters
from .train import FromProfile


@dataclass(frozen=True)
class DataConfig(FromProfile):
    """What the data notebook prepares."""

    dataset: str = text("builtin")
    vocab_size: int = whole_number(257, 65_536)
    tokens: int = whole_number()
    profile: str = text("auto")
    outputs: str = text("outputs")


@dataclass(frozen=True)
class AnalysisConfig(FromParameters):
    """Which runs an analysis is about, and the name of its report."""

    runs: str = text("")
    dataset: str = text("")
    profile: str = text("")
    name: str = text("all")
    outputs: str = text("outputs")

    def __post_init__(self) -> None:
        """ConfigError for a name that is no place under outputs/reports."""
        place = Path(self.name)
        if not place.parts or place.is_absolute() or ".." in place.parts:
            raise ConfigError(f"name '{self.name}' is no folder under reports: leave .. and / out")
        longest = max(len(part.encode(errors="replace")) for part in place.parts)
        if longest > 255:
            raise ConfigError(f"name '{self.name[:40]}…' has {longest} bytes: at most 255 fit")


@dataclass(frozen=True)
class TransferConfig(FromParameters):
    """Which runs the check of the learning rate's transfer is about."""

    runs: str = text("outputs/reference/transfer/results.csv")
    dataset: str = text("")
    profile: str = text("quick")
    outputs: str = text("outputs")


@dataclass(frozen=True)
class ExploreConfig(FromParameters):
    """What the explorer starts from."""

    total_params: int = whole_number(10_000, 10**9, 10_000_000)
    vocab_size: int = whole_number(257, 65_536, 16_000)
    embed_share: float = number(0.01, 0.95, 0.35)
    glu: float = number(0.5, 8.0, 2.66)
    embedding: str = text("tied", EMBEDDINGS)
    mlp: str = text("swiglu", MLPS)
    seq_len: int = whole_number(8, 65_536, 512)
    hardware: str = text("H100 SXM")
    outputs: str = text("outputs")
