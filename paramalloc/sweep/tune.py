"""Choose a learning rate for each cell.

What to try next is a pure function of the losses so far, so a sweep can stop and go on.
"""

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from ..config import TUNING_SEED, TrainConfig, as_number, convert, refuse_unknown
from ..errors import ConfigError

_FIELDS = {field.name: field for field in fields(TrainConfig)}
LOWEST_LR = _FIELDS["lr"].metadata["low"]
HIGHEST_LR = _FIELDS["lr"].metadata["high"]
MIN_RATES = 5  # learning rates in a grid
UNEVEN = 1.15  # how far the ratio of two neighbours may be from the mean ratio, as a factor


@dataclass(frozen=True)
class Tuning:
    """The learning rates that a sweep tries for each cell, and the seeds it tries them with.

    `lr`: the grid, from the lowest. `seed`: the seeds whose runs choose, used for nothing else.
    `extend`: how many learning rates may be added where the best lies on an edge.
    """

    lr: tuple[float, ...]
    seed: tuple[int, ...] = (TUNING_SEED,)
    extend: int = 3

    def __post_init__(self) -> None:
        if len(self.lr) < MIN_RATES or not self._is_even():
            raise ConfigError(
                f"tune: lr must be at least {MIN_RATES} values in about equal ratios, "
                "as in [1e-3, 2e-3, 4e-3, 8e-3, 16e-3]"
            )
        if min(self.seed) < TUNING_SEED:
            raise ConfigError(
                f"tune: seed {min(self.seed)} is for results; "
                f"those that choose a learning rate begin at {TUNING_SEED}"
            )

    def _is_even(self) -> bool:
        ratios = [high / low for low, high in pairwise(self.lr)]
        return all(self.ratio / UNEVEN < ratio < self.ratio * UNEVEN for ratio in ratios)

    @property
    def ratio(self) -> float:
        """The mean ratio of two neighbours in the grid."""
        return float((self.lr[-1] / self.lr[0]) ** (1 / max(1, len(self.lr) - 1)))

    @property
    def runs(self) -> int:
        """How many runs the grid alone takes."""
        return len(self.lr) * len(self.seed)

    @classmethod
    def from_yaml(cls, content: dict[str, Any]) -> "Tuning":
        """Build from the `tune` section of a file; ConfigError names what is wrong."""
        refuse_unknown(content, [field.name for field in fields(cls)], "key of tune")
        values: dict[str, Any] = {"lr": ()}
        for name in ("lr", "seed"):
            if name in content:
                values[name] = _as_sorted(convert(_FIELDS[name], content[name]))
        if "extend" in content:
            values["extend"] = as_number("tune: extend", content["extend"], int)
        return cls(**values)


def _as_sorted(value: Any) -> tuple[Any, ...]:
    """One value or several as a tuple, from the lowest and without repetitions."""
    if isinstance(value, tuple):
        return tuple(sorted(set(value)))
    return (value,)


def next_lrs(losses: dict[float, float], tuning: Tuning) -> tuple[float, ...]:
    """The learning rates to try after `losses` (lr -> mean dev loss, inf where a run diverged).

    First the grid. Then, while the best lies on an edge of what was tried, the next value beyond
    it in the same ratio. Nothing once the best lies inside, or `extend` values were added. Where
    all diverged, a lower one.
    """
    if not losses:
        return tuning.lr
    lr = _beyond_edge(losses, tuning.ratio)
    limit = len(tuning.lr) + tuning.extend
    if lr is None or len(losses) >= limit or not LOWEST_LR <= lr <= HIGHEST_LR:
        return ()
    return (float(f"{lr:.3g}"),)


def _beyond_edge(losses: dict[float, float], ratio: float) -> float | None:
    """The value beyond the edge on which the best learning rate lies; None where it is inside."""
    best = best_lr(losses)
    if best == max(losses):
        return max(losses) * ratio
    if best is None or best == min(losses):
        return min(losses) / ratio
    return None


def best_lr(losses: dict[float, float]) -> float | None:
    """The one of the lowest loss, the lower of two that tie; None where all diverged."""
    best = min(sorted(losses), key=lambda lr: losses[lr], default=None)
    if best is None or not math.isfinite(losses[best]):
        return None
    return best
