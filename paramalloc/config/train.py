"""A model's shape, and a cell: an allocation with its recipe."""

import math
from dataclasses import dataclass, field, replace

from ..errors import ConfigError
from .fields import number, text, whole_number
from .model import EMBEDDINGS, MLPS
from .parameters import FromParameters
from .profiles import cuda_available

TUNING_SEED = 1000  # from here on a seed only chooses a learning rate: its runs never enter a mean, an interval or a front


@dataclass(frozen=True)
class TrainConfig(FromParameters):
    """One cell: an allocation and a recipe. `lr` and `seed` may be lists: one run for each pair.

    An lr that is not set is the profile's, which suits all shapes under completep. Under standard it is multiplied by
    sqrt(the profile's total_params / total_params): the best one falls about as 1 / width (Yang et al. 2022), and width grows
    about as the root of the budget.
    """

    total_params: int = whole_number(10_000, 10**9)
    vocab_size: int = whole_number(257, 65_536)
    embed_share: float = number(0.001, 0.999, 0.35)
    glu: float = number(0.25, 16.0, 2.66)
    embedding: str = text("tied", EMBEDDINGS)
    mlp: str = text("swiglu", MLPS)
    multiple: int = whole_number(2, 512)
    tolerance: float = number(1e-6, 0.1)
    d_model: int = whole_number()
    n_layers: int = whole_number(1, 1000)
    n_heads: int = whole_number()
    n_kv_heads: int = whole_number()
    d_head: int = whole_number(2, 512)
    d_ff: int = whole_number()
    d_embed: int = whole_number()
    dataset: str = text("builtin")
    tokens: int = whole_number()
    seq_len: int = whole_number(8, 65_536)
    batch_tokens: int = whole_number(8, 2**24)
    parametrization: str = text("completep", ("completep", "standard"))
    optimizer: str = text("adamw", ("adamw", "muon"))
    lr: float | tuple = number(1e-7, 10.0, many=True)
    embed_lr: float = number(1e-3, 1e3)
    warmup: float = number(0.0, 1.0, 0.1)
    weight_decay: float = number(0.0, 10.0, 0.1)
    grad_clip: float = number(1e-6, 1e6, 1.0)
    seed: int | tuple = field(
        default=0, metadata={"kind": int, "low": 0, "high": 2**31, "many": True}
    )
    probes: int = whole_number(1, 10_000)
    probe_tokens: int = whole_number()
    early_stop: str = text(None, ("kill", "flag", "off"))
    stop_margin: float = number(0.0, 1e6, 0.5)
    stop_patience: int = whole_number()
    stop_grace: int = whole_number(0)
    baseline_share: float = number(0.01, 0.98, 0.35)
    baseline_glu: float = number(0.25, 16.0, 2.66)
    baseline_lr: float = number(1e-7, 10.0)
    checkpoint_seconds: float = number(0.0, 1e6, 60.0)
    smallbench: str = text(None, ("full", "quick", "off"))
    smallbench_data: str = text("../shared/data")
    precision: str = text("auto", ("auto", "bf16", "fp16", "fp32"))
    profile: str = text("auto")
    device: str = text("auto", pattern=r"auto|cpu|cuda(:\d+)?")
    compile: str = text("auto", ("auto", "on", "off"))
    outputs: str = text("outputs")

    @classmethod
    def fill(cls, given: dict, sizes: dict) -> dict:
        values = super().fill(given, sizes)
        if given.get("lr") is None and values["parametrization"] == "standard":
            values["lr"] = float(
                f"{values['lr'] * math.sqrt(sizes['total_params'] / values['total_params']):.3g}"
            )
        return values

    def __post_init__(self):
        if self.batch_tokens % self.seq_len:
            raise ConfigError(
                f"batch_tokens {self.batch_tokens} must be a multiple of seq_len {self.seq_len}"
            )
        if self.device.startswith("cuda") and not cuda_available():
            raise ConfigError(
                f"device is {self.device}, but torch finds no CUDA device: use device cpu or auto"
            )
        if self.tokens < self.batch_tokens:
            raise ConfigError(
                f"tokens {self.tokens} is less than one step of batch_tokens {self.batch_tokens}"
            )

    @property
    def steps(self) -> int:
        return self.tokens // self.batch_tokens

    @property
    def probe_steps(self) -> set[int]:
        """The steps after which dev is probed: `probes` of them, evenly spaced, the last at the end."""
        return {round(n * self.steps / self.probes) for n in range(1, self.probes + 1)}

    @property
    def log_every(self) -> int:
        return max(1, self.steps // 200)

    @property
    def patience(self) -> int:
        """Tokens in a row: 1M at 50M, less in proportion for smaller budgets, never under four probes."""
        between = math.ceil(self.steps / min(self.probes, self.steps)) * self.batch_tokens
        return self.stop_patience or max(min(10**6, self.tokens // 50), 4 * between)

    @property
    def grace(self) -> int:
        return self.tokens // 10 if self.stop_grace is None else self.stop_grace

    def runs(self) -> list["TrainConfig"]:
        """One config with a single lr and a single seed for each run of the cell."""
        rates = self.lr if isinstance(self.lr, tuple) else (self.lr,)
        seeds = self.seed if isinstance(self.seed, tuple) else (self.seed,)
        return [replace(self, lr=lr, seed=seed) for lr in rates for seed in seeds]

    def baseline(self) -> "TrainConfig":
        """The cell that early stop compares with: same recipe, the baseline's share and GLU, and its learning rate if it has
        one of its own.

        What the two determine is left to them: all dimensions, but of a factorized embedding only d_embed and d_ff. There the
        width, the heads and the depth that are given are what its arm holds fixed.
        """
        free = (
            ("d_ff", "d_embed")
            if self.embedding == "factorized"
            else ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_head", "d_ff", "d_embed")
        )
        lr = self.baseline_lr or self.lr
        return replace(
            self,
            embed_share=self.baseline_share,
            glu=self.baseline_glu,
            lr=lr,
            **dict.fromkeys(free),
        )
