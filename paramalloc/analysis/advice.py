"""What `recommend` answers, in words and for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from ..allocation import Allocation
from .quadratic import AXES
from .wording import signed, signed_interval

Difference = tuple[float, float, float]  # (difference, low, high) in nats per token, 95 %


@dataclass(frozen=True)
class Recommendation:
    """A shape with what is predicted for it.

    `versus_baseline` and `versus_best` are differences, negative is better: to the runs'
    `baseline`, None where it was not trained, and to the best of the `n_searched` shapes without
    the limits. Their ends are NaN where no interval is known. Both hold for all searched shapes at
    once; that to the baseline also holds the report's own interval for the `nearest` trained cell,
    so that it excludes zero only where the report's does.

    `alike`: the ranges of realised embed_share and glu that are not distinguishable from the shape
    at the runs' own size, None for an axis that the runs did not vary. `decode_ms` is None where
    nothing like it was timed. `outside`: what of the shape was not trained; `misfit`: how far rows
    of other sizes lie off the prediction; `missing`: the runs that would tell.
    """

    shape: Allocation
    baseline: str
    nearest: str
    versus_baseline: Difference | None
    versus_best: Difference
    alike: dict
    n_searched: int
    decode_ms: float | None
    decode_error: float | None
    flops_per_token: int
    rests_on: str
    outside: tuple[str, ...]
    misfit: str
    missing: str
    command: str

    @property
    def claims_better(self) -> bool:
        """Whether it says that the shape is better than the baseline."""
        return bool(self.versus_baseline and self.versus_baseline[2] < 0 and not self.outside)

    def rows(self) -> list[tuple[str, str]]:
        """(label, text), in the order in which it is read."""
        rows = self.shape.rows()
        rows.append((f"versus {self.baseline}", self._versus_baseline()))
        if abs(self.versus_best[0]) > 1e-9:
            rows.append(("versus no limits", _difference(self.versus_best)))
        similar = _ranges(self.alike)
        if similar:
            own = ", at the runs' own size" if self.outside else ""
            rows.append(("as good as", f"{similar} (not distinguishable{own})"))
        constant = [AXES[name] for name, ends in self.alike.items() if not ends]
        if constant:
            rows.append(("not compared", f"{', '.join(constant)}: the runs have one value"))
        if self.decode_ms is not None:
            rows.append(("decoding", self._decoding()))
        rows.append(("training", f"{self.flops_per_token / 1e6:.1f} MFLOPs per token"))
        rows.append(("rests on", self.rests_on))
        if self.outside:
            rows.append(("extrapolates", "; ".join(self.outside)))
            rows.append(("missing", self.missing))
        rows.append(("train it", self.command))
        return rows

    def _versus_baseline(self) -> str:
        """The difference, how sure it is, and what its interval holds."""
        if not self.versus_baseline:
            return "not compared: it was not trained"
        text = _difference(self.versus_baseline)
        if math.isnan(self.versus_baseline[1]):
            why = "beyond what was trained" if self.outside else "from one seed"
            return f"{text}: none is known {why}"
        if self.misfit:
            return f"{text}. The interval is as wide as other rows lie off: {self.misfit}"
        return (
            f"{text}. The interval holds for all {self.n_searched} shapes searched at once, and "
            f"contains the report's for the nearest trained cell, {self.nearest}"
        )

    def _decoding(self) -> str:
        return f"{self.decode_ms:.2f} ± {self.decode_error:.2f} ms per token, from the runs' times"

    def __str__(self) -> str:
        rows = self.rows()
        width = 2 + max(len(label) for label, _ in rows)
        return "\n".join(f"{label:{width}}{text}" for label, text in rows)

    def details(self) -> dict:
        """For JSON: the fields, the shape with its ledger; ends that are not known are null."""
        details = {
            "model": asdict(self.shape.model),
            "params": dict(self.shape.params),
            "embed_share": self.shape.embed_share,
            "glu": self.shape.glu,
            "claims_better": self.claims_better,
        }
        for name in self.__dataclass_fields__:
            if name != "shape":
                details[name] = getattr(self, name)
        for name in ("versus_baseline", "versus_best"):
            if details[name]:
                details[name] = [None if math.isnan(end) else end for end in details[name]]
        return details


def _difference(difference: Difference) -> str:
    """`not distinguishable: −0.013 nats per token (95 % CI [−0.024, +0.002])`."""
    value, low, high = difference
    amount = f"{signed(value)} nats per token"
    if math.isnan(low):
        return f"not known: {amount} is predicted, without an interval"
    verdict = "not distinguishable"
    if high < 0 or low > 0:
        verdict = "better" if high < 0 else "worse"
    return f"{verdict}: {amount} (simultaneous 95 % CI {signed_interval(low, high)})"


def _ranges(alike: dict) -> str:
    """`shares of 30 to 40 %, GLU 2.00 to 3.00`, without an axis that was not varied."""
    parts = []
    for name, ends in alike.items():
        if ends and name == "embed_share":
            parts.append(f"shares of {100 * ends[0]:.0f} to {100 * ends[1]:.0f} %")
        elif ends:
            parts.append(f"GLU {ends[0]:.2f} to {ends[1]:.2f}")
    return ", ".join(parts)
