"""The shape for a budget: the lowest predicted loss among the shapes that meet the constraints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import pandas as pd

from ..allocation import Allocation
from ..config import TrainConfig, convert
from ..errors import UserError
from ..runs import baseline_request
from .candidates import DecodeTime, candidates, find_shape, fit_decode_time
from .cells import baseline_name
from .evidence import distances, nearest, support
from .groups import with_all_columns
from .quadratic import AXES
from .recipe import recipe, search_grid, training_command
from .surface import Surface
from .wording import signed, signed_interval

WIDER_SEARCH = 0.5  # of the data's range, at each end, where nothing within meets the constraints


@dataclass(frozen=True)
class Recommendation:
    """A shape with what is predicted for it.

    `versus_baseline` and `versus_best` are (difference, low, high) in nats per token, 95 %,
    negative is better: to the runs' `baseline` at the same budget, None
    where it has no shape, and to the best shape without the constraints. `alike`: the ranges of
    realised embed_share and glu whose predicted loss is not distinguishable from it, None for an
    axis that the runs did not vary. `decode_ms` is None
    where no run measured it. All intervals are those at the runs' own scale: where `distance` names
    something that the runs do not cover, no interval is known.
    """

    shape: Allocation
    versus_baseline: tuple[float, float, float] | None
    versus_best: tuple[float, float, float]
    alike: dict
    decode_ms: float | None
    decode_error: float | None
    flops_per_token: int
    rests_on: str
    distance: tuple[str, ...]
    command: str
    baseline: str

    def rows(self) -> list[tuple[str, str]]:
        """(label, text), in the order in which it is read."""
        far = bool(self.distance)
        scale = " at the runs' own scale" if far else ""
        rows = self.shape.rows()
        if self.versus_baseline:
            rows.append((f"versus {self.baseline}", _difference(self.versus_baseline, far)))
        if abs(self.versus_best[0]) > 1e-9:
            rows.append(("versus no limits", _difference(self.versus_best, far)))
        similar = _ranges(self.alike)
        if similar:
            rows.append(("as good as", f"{similar} (not distinguishable{scale})"))
        constant = [AXES[name] for name, ends in self.alike.items() if not ends]
        if constant:
            rows.append(("not compared", f"{', '.join(constant)}: the runs have one value"))
        if self.decode_ms is not None:
            rows.append(("decoding", self._decoding()))
        rows += [
            ("training", f"{self.flops_per_token / 1e6:.1f} MFLOPs per token"),
            ("rests on", self.rests_on),
            ("extrapolates", _extrapolation(self.distance)),
            ("train it", self.command),
        ]
        return rows

    def _decoding(self) -> str:
        return (
            f"{self.decode_ms:.2f} ms per token (fitted to the runs' times, "
            f"residual {self.decode_error:.2f}: measure it where a limit matters)"
        )

    def __str__(self) -> str:
        rows = self.rows()
        width = 2 + max(len(label) for label, _ in rows)
        return "\n".join(f"{label:{width}}{text}" for label, text in rows)

    def details(self) -> dict:
        """For JSON: the fields, the shape with its ledger.

        Ends of intervals that are not known beyond the data are null.
        """
        details = {
            "model": asdict(self.shape.model),
            "params": dict(self.shape.params),
            "embed_share": self.shape.embed_share,
            "glu": self.shape.glu,
        }
        for name in self.__dataclass_fields__:
            if name != "shape":
                details[name] = getattr(self, name)
        if self.distance:
            for name in ("versus_baseline", "versus_best"):
                if details[name]:
                    details[name] = (details[name][0], None, None)
        return details


def _difference(difference: tuple[float, float, float], far: bool) -> str:
    """`−0.013 nats per token (95 % CI [−0.024, −0.002])`; beyond the data, whose interval it is."""
    value, low, high = difference
    ci = f"95 % CI {signed_interval(low, high)}"
    if far:
        ci = f"the interval is not known beyond the data; at the runs' own scale {ci}"
    return f"{signed(value)} nats per token ({ci})"


def _ranges(alike: dict) -> str:
    """`shares of 30 to 40 %, GLU 2.00 to 3.00`, without an axis that was not varied."""
    parts = []
    for name, ends in alike.items():
        if ends and name == "embed_share":
            parts.append(f"shares of {100 * ends[0]:.0f} to {100 * ends[1]:.0f} %")
        elif ends:
            parts.append(f"GLU {ends[0]:.2f} to {ends[1]:.2f}")
    return ", ".join(parts)


def _extrapolation(distance: tuple[str, ...]) -> str:
    if not distance:
        return "nothing"
    return (
        f"{'; '.join(distance)}: no run shows how far the prediction is off there, or whether the "
        "runs' lr, embed_lr and batch_tokens suit it"
    )


def recommend(
    runs: pd.DataFrame,
    total_params: int,
    vocab_size: int,
    max_ms: float | None = None,
    max_flops: float | None = None,
) -> Recommendation:
    """The shape with the lowest loss that the surface of the `nearest` group of runs predicts.

    For `total_params` and `vocab_size`, at most `max_ms` milliseconds per decoded token and
    `max_flops` training FLOPs per token. Shares and expansions outside of the runs' range are tried
    only where nothing within meets the constraints. Raises UserError without results, for a budget
    that TrainConfig refuses, or where nothing meets the constraints.
    """
    fields = TrainConfig.__dataclass_fields__
    total_params = convert(fields["total_params"], total_params)
    vocab_size = convert(fields["vocab_size"], vocab_size)
    runs = with_all_columns(runs)
    eligible, surface = nearest(runs, total_params, vocab_size)
    decode = fit_decode_time(runs)
    if max_ms is not None and decode is None:
        raise UserError(
            "no run measured decode_ms_per_token alone, so max_ms cannot be judged: "
            "`paramalloc time SWEEP` measures it"
        )
    for wider in (0.0, WIDER_SEARCH):
        shapes = candidates(eligible, surface, total_params, vocab_size, decode, wider)
        affordable = shapes.flops <= (max_flops or math.inf)
        if max_ms:
            affordable &= shapes.decode_ms <= max_ms
        if affordable.any():
            return _recommend_from(shapes, affordable, eligible, surface, decode, total_params)
    raise UserError(_impossible(shapes, total_params, vocab_size))


def _recommend_from(
    shapes: pd.DataFrame,
    affordable: pd.Series,
    eligible: pd.DataFrame,
    surface: Surface,
    decode: DecodeTime | None,
    total_params: int,
) -> Recommendation:
    """The best of the affordable shapes, compared with the baseline and the best of all."""
    best = shapes.loc[[shapes.dev_loss[affordable].idxmin()]]
    best_of_all = shapes.loc[[shapes.dev_loss.idxmin()]]
    row, shape = best.iloc[0], best["shape"].iloc[0]
    vocab_size = shape.model.vocab_size
    size = search_grid(eligible, total_params)

    share, glu = baseline_request(eligible)
    baseline = find_shape(total_params, share, glu, vocab_size, eligible.iloc[0], **size)
    versus_baseline = None
    if baseline:
        point = pd.DataFrame([{"embed_share": baseline.embed_share, "glu": baseline.glu}])
        versus_baseline = _versus(surface, best, point)

    similar = surface.predict(shapes[affordable], best)
    similar = similar[similar.low <= 0]
    alike = dict.fromkeys(surface.ranges)
    for name in surface.axes:
        alike[name] = (float(similar[name].min()), float(similar[name].max()))

    parameters = {
        "total_params": total_params,
        "vocab_size": vocab_size,
        "embed_share": round(row.requested_share, 4),
        "glu": round(row.requested_glu, 3),
        "embedding": shape.model.embedding,
        "mlp": shape.model.mlp,
    }
    seq_len = int(eligible.seq_len.iloc[0])
    trained_as = recipe(eligible, total_params)
    return Recommendation(
        shape,
        versus_baseline=versus_baseline,
        versus_best=_versus(surface, best, best_of_all),
        alike=alike,
        decode_ms=float(row.decode_ms) if decode else None,
        decode_error=decode.error if decode else None,
        flops_per_token=int(row.flops),
        rests_on=support(eligible, surface),
        distance=tuple(distances(eligible, surface, shape, total_params)),
        command=training_command(parameters | size, seq_len, "recommended", trained_as),
        baseline=baseline_name(eligible),
    )


def _versus(
    surface: Surface, best: pd.DataFrame, other: pd.DataFrame
) -> tuple[float, float, float]:
    """(difference, low, high) of the best shape to another point, nats per token."""
    row = surface.predict(best, other).iloc[0]
    return float(row.difference), float(row.low), float(row.high)


def _impossible(shapes: pd.DataFrame, total_params: int, vocab_size: int) -> str:
    none = f"no shape of {total_params:,} parameters with vocab_size {vocab_size:,}"
    if shapes.empty:
        near = "lies near the shares and expansions of the runs"
        return f"{none} {near}: change total_params or vocab_size"
    least = f"{shapes.flops.min():.3g} FLOPs per token"
    if shapes.decode_ms.notna().any():
        least = f"{shapes.decode_ms.min():.2f} ms per token and {least}"
    return f"{none} meets these constraints: the least that any takes is {least}"
