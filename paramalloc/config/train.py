"""A cell: an allocation and a recipe.

Each field carries its range, its meaning and whether it is part of the run id.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from ..errors import ConfigError
from .fields import number, refuse_unknown, text, whole_number
from .model import EMBEDDINGS, MLPS
from .parameters import FromParameters
from .profiles import cuda_available, read_profile

# From this seed on a run only chooses a learning rate: no mean, interval or front includes it.
TUNING_SEED = 1000


class FromProfile(FromParameters):
    """Parameters whose sizes a profile fills where they are not given."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Checked and filled from the profile; ConfigError names the first wrong parameter."""
        given = cls.check(values)
        profile, sizes = load_profile(given.get("profile") or "auto")
        return cls(**cls.fill(given | {"profile": profile}, sizes))


@dataclass(frozen=True)
class TrainConfig(FromProfile):
    """One cell: an allocation and a recipe. `lr` and `seed` may be lists: one run for each pair.

    An lr that is not set is the profile's, which suits all shapes under completep. Under standard
    it is multiplied by sqrt(the profile's total_params / total_params): the best one falls about
    as 1 / width (Yang et al. 2022), and width grows about as the root of the budget.

    What a field says of itself is explained in `fields.Marks`. To add a parameter: a field here,
    its line in notebooks/train.py, and its use. Mark it `added`, so that published run ids stay.
    """

    # The shape, as requested from the allocator or as explicit dimensions
    total_params: int = whole_number(10_000, 10**9)
    vocab_size: int = whole_number(
        257, 65_536, recorded="tokens in the vocabulary, end-of-text included", unit="tokens"
    )
    embed_share: float = number(0.001, 0.999, 0.35)
    glu: float = number(0.25, 16.0, 2.66)
    embedding: str = text(
        "tied",
        EMBEDDINGS,
        recorded="tied, untied (two tables) or factorized (a table, a projection)",
    )
    mlp: str = text(
        "swiglu", MLPS, recorded="swiglu, or relu2 (no gate, as many parameters)", before="swiglu"
    )
    multiple: int = whole_number(2, 512)
    tolerance: float = number(1e-6, 0.1)
    d_model: int = whole_number()
    n_layers: int = whole_number(1, 1000)
    n_heads: int = whole_number()
    n_kv_heads: int = whole_number()
    d_head: int = whole_number(2, 512)
    d_ff: int = whole_number()
    d_embed: int = whole_number()

    # The text; what tells two texts apart is the fingerprint of the data, not the dataset's name
    dataset: str = text("builtin", identity=False, recorded="the text, as it was named")
    tokens: int = whole_number(recorded="training budget", unit="tokens")
    seq_len: int = whole_number(8, 65_536, recorded="tokens in a window", unit="tokens")
    batch_tokens: int = whole_number(
        8, 2**24, recorded="tokens of an optimizer step", unit="tokens"
    )

    # The recipe
    parametrization: str = text(
        "completep",
        ("completep", "standard"),
        recorded="completep (one lr suits all shapes) or standard",
        before="standard",
    )
    optimizer: str = text(
        "adamw", ("adamw", "muon"), recorded="adamw, or muon for the matrices", before="adamw"
    )
    lr: float | tuple[float, ...] = number(
        1e-7, 10.0, many=True, recorded="peak learning rate", role="rate"
    )
    embed_lr: float = number(
        1e-3, 1e3, recorded="learning rate of the embedding, as a multiple of lr", role="rate"
    )
    warmup: float = number(0.0, 1.0, 0.1, recorded="part of the steps in which lr rises")
    weight_decay: float = number(0.0, 10.0, 0.1, recorded="decoupled weight decay of the matrices")
    grad_clip: float = number(1e-6, 1e6, 1.0, recorded="largest norm of the gradient", before=1.0)
    seed: int | tuple[int, ...] = whole_number(
        0, 2**31, 0, many=True, recorded="weights and data order; 1000 up tunes lr", role="seed"
    )

    # Probes of dev on the way, and the rule that stops a run by them
    probes: int = whole_number(1, 10_000)
    probe_tokens: int = whole_number()
    early_stop: str = text(None, ("kill", "flag", "off"), identity=False)
    stop_margin: float = number(0.0, 1e6, 0.5, identity=False)
    stop_patience: int = whole_number(identity=False)
    stop_grace: int = whole_number(0, identity=False)
    baseline_share: float = number(
        0.01,
        0.98,
        0.35,
        identity=False,
        recorded="requested_share of the baseline cell, fixed once a run is trained",
    )
    baseline_glu: float = number(
        0.25,
        16.0,
        2.66,
        identity=False,
        recorded="requested_glu of the baseline cell, fixed once a run is trained",
    )
    baseline_lr: float = number(1e-7, 10.0, identity=False)

    # How it is computed, kept and measured
    checkpoint_seconds: float = number(0.0, 1e6, 60.0, identity=False)
    smallbench: str = text(None, ("full", "quick", "off"), identity=False)
    smallbench_data: str = text("../shared/data", identity=False)
    precision: str = text("auto", ("auto", "bf16", "fp16", "fp32"))
    profile: str = text(
        "auto", identity=False, recorded="what filled the sizes that were left open"
    )
    device: str = text("auto", pattern=r"auto|cpu|cuda(:\d+)?", identity=False)
    compile: str = text("auto", ("auto", "on", "off"), identity=False)
    graph: str = text("auto", ("auto", "on", "off"), identity=False)
    outputs: str = text("outputs", identity=False)

    @classmethod
    def fill(cls, given: dict[str, Any], sizes: dict[str, Any]) -> dict[str, Any]:
        """Every parameter; under standard the profile's lr is scaled to the size."""
        values = super().fill(given, sizes)
        if given.get("lr") is None and values["parametrization"] == "standard":
            scale = math.sqrt(sizes["total_params"] / values["total_params"])
            values["lr"] = float(f"{values['lr'] * scale:.3g}")
        return values

    def __post_init__(self) -> None:
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
        """Optimizer steps of a run."""
        return self.tokens // self.batch_tokens

    @property
    def probe_steps(self) -> set[int]:
        """The steps after which dev is probed: `probes` of them, evenly spaced to the end."""
        return {round(n * self.steps / self.probes) for n in range(1, self.probes + 1)}

    @property
    def log_every(self) -> int:
        """Steps between two records."""
        return max(1, self.steps // 200)

    @property
    def patience(self) -> int:
        """Tokens in a row: 1M at 50M, in proportion for smaller budgets, at least four probes."""
        between = math.ceil(self.steps / min(self.probes, self.steps)) * self.batch_tokens
        return self.stop_patience or max(min(10**6, self.tokens // 50), 4 * between)

    @property
    def grace(self) -> int:
        """Tokens before which nothing is stopped: a tenth of the budget unless set."""
        return self.tokens // 10 if self.stop_grace is None else self.stop_grace

    def runs(self) -> list["TrainConfig"]:
        """One config with a single lr and a single seed for each run of the cell."""
        rates = self.lr if isinstance(self.lr, tuple) else (self.lr,)
        seeds = self.seed if isinstance(self.seed, tuple) else (self.seed,)
        return [replace(self, lr=lr, seed=seed) for lr in rates for seed in seeds]

    def baseline(self) -> "TrainConfig":
        """The cell that early stop compares with: same recipe, the baseline's share and GLU, and
        its learning rate if it has one of its own.

        Its share and GLU determine all dimensions. Of a factorized embedding they determine only
        d_embed and d_ff: the given width, heads and depth are what such an arm holds fixed.
        """
        free = ["d_ff", "d_embed"]
        if self.embedding != "factorized":
            free += ["d_model", "n_layers", "n_heads", "n_kv_heads", "d_head"]
        changes: dict[str, Any] = dict.fromkeys(free)
        changes["embed_share"] = self.baseline_share
        changes["glu"] = self.baseline_glu
        changes["lr"] = self.baseline_lr or self.lr
        return replace(self, **changes)


def load_profile(profile: str) -> tuple[str, dict[str, Any]]:
    """(name, sizes) of a profile. "auto" is `study` where a CUDA device is present, else `quick`.

    ConfigError for an unknown profile, and for a size that is no parameter of training.
    """
    name, sizes = read_profile(profile)
    refuse_unknown(sizes, TrainConfig.names(), f"key of profile {name}")
    return name, sizes
