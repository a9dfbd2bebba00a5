"""A learning rate for each cell: what to try next is a pure function of the losses so far, so a sweep can stop and go on."""

import math
from dataclasses import dataclass

from ..config import TUNING_SEED, TrainConfig, as_number, convert, refuse_unknown
from ..errors import ConfigError

LOWEST, HIGHEST = (
    TrainConfig.__dataclass_fields__["lr"].metadata[name] for name in ("low", "high")
)
FEWEST, UNEVEN = (
    5,
    1.15,
)  # learning rates in a grid; how far the ratio of two neighbours may be from the mean ratio


@dataclass(frozen=True)
class Tuning:
    """`lr`: the grid, from the lowest; `seed`: those whose runs choose, and are used for nothing else; `extend`: how many
    learning rates may be added where the best lies on an edge."""

    lr: tuple
    seed: tuple = (TUNING_SEED,)
    extend: int = 3

    def __post_init__(self):
        ratios = [high / low for low, high in zip(self.lr, self.lr[1:])]
        if len(self.lr) < FEWEST or any(
            not self.ratio / UNEVEN < ratio < self.ratio * UNEVEN for ratio in ratios
        ):
            raise ConfigError(
                f"tune: lr must be at least {FEWEST} values in about equal ratios, as in [1e-3, 2e-3, 4e-3, 8e-3, 16e-3]"
            )
        if min(self.seed) < TUNING_SEED:
            raise ConfigError(
                f"tune: a seed of {min(self.seed)} is for a claim; those that choose a learning rate begin at {TUNING_SEED}"
            )

    @property
    def ratio(self) -> float:
        return (self.lr[-1] / self.lr[0]) ** (1 / max(1, len(self.lr) - 1))

    @property
    def runs(self) -> int:
        """Of the grid alone."""
        return len(self.lr) * len(self.seed)

    @classmethod
    def from_yaml(cls, content: dict) -> "Tuning":
        """Checked; ConfigError names what is wrong."""
        refuse_unknown(content, cls.__dataclass_fields__, "key of tune")
        specs = TrainConfig.__dataclass_fields__
        given = {
            name: convert(specs[name], content[name]) for name in ("lr", "seed") if name in content
        }
        given = {
            name: tuple(sorted(set(value))) if isinstance(value, tuple) else (value,)
            for name, value in given.items()
        }
        more = (
            {"extend": as_number("tune: extend", content["extend"], int)}
            if "extend" in content
            else {}
        )
        return cls(**{"lr": ()} | given | more)


def next_lrs(losses: dict[float, float], tuning: Tuning) -> tuple:
    """The learning rates to try after `losses` (lr -> mean dev loss, inf where a run diverged): first the grid; then, while the
    best lies on an edge of what was tried, the next value beyond it in the same ratio; () once the best lies inside, or
    `extend` values were added. Where all diverged, the way is down."""
    if not losses:
        return tuning.lr
    best, lowest, highest = best_lr(losses), min(losses), max(losses)
    lr = (
        highest * tuning.ratio
        if best == highest
        else lowest / tuning.ratio
        if best in (lowest, None)
        else None
    )
    if lr is None or len(losses) >= len(tuning.lr) + tuning.extend or not LOWEST <= lr <= HIGHEST:
        return ()
    return (float(f"{lr:.3g}"),)


def best_lr(losses: dict[float, float]) -> float | None:
    """The one of the lowest loss, the lower of two that tie; None where all diverged."""
    best = min(sorted(losses), key=losses.get, default=None)
    return best if best is not None and math.isfinite(losses[best]) else None
