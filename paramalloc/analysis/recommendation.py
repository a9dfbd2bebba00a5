"""The shape for a budget: the lowest predicted loss among the shapes that meet the limits."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ..allocation import Allocation
from ..config import TrainConfig, convert
from ..errors import UserError
from .advice import Difference, Recommendation
from .candidates import candidates
from .cells import baseline_cell, baseline_name
from .comparisons import differences
from .coverage import missing_runs
from .decoding import DecodeTime, fit_decode_time
from .elsewhere import Misfit, misfit_elsewhere
from .evidence import nearest_first, support
from .groups import with_all_columns
from .quadratic import AXES
from .recipe import recipe, search_grid, training_command
from .surface import Surface, fit_surface

UNKNOWN = (math.nan, math.nan)  # the ends of an interval that is not known


def recommend(
    runs: pd.DataFrame,
    total_params: int,
    vocab_size: int,
    max_ms: float | None = None,
    max_flops: float | None = None,
) -> Recommendation:
    """The shape with the lowest loss that the surface of a group of runs predicts.

    For `total_params` and `vocab_size`, at most `max_ms` milliseconds per decoded token and
    `max_flops` training FLOPs per token. The first group answers (`nearest_first`) of which runs
    resemble what the budget allows. The search is over the same shapes whatever the limits
    (`candidates`), so a tighter limit never predicts a lower loss. Raises UserError without
    results, for a budget that TrainConfig refuses, where no run resembles what it allows, and where
    nothing meets the limits.
    """
    fields = TrainConfig.__dataclass_fields__
    total_params = convert(fields["total_params"], total_params)
    vocab_size = convert(fields["vocab_size"], vocab_size)
    runs = with_all_columns(runs)
    decode = fit_decode_time(runs)
    eligible, surface, shapes = _first_answer(runs, total_params, vocab_size, decode)
    affordable = _within_limits(shapes, max_ms, max_flops)
    if not affordable.any():
        raise UserError(_impossible(shapes, total_params, vocab_size))
    best = shapes.loc[[shapes.dev_loss[affordable].idxmin()]]
    row = best.iloc[0]
    versus_baseline = _versus_baseline(shapes, best, eligible, surface)
    versus_best = _versus_best(shapes, best, surface)
    misfit = None
    if row.outside:
        misfit = misfit_elsewhere(runs, eligible, surface, total_params, vocab_size)
        versus_baseline = versus_baseline and _beyond(versus_baseline, misfit)
        versus_best = _beyond(versus_best, misfit)
    timed = not math.isnan(row.decode_ms)
    return Recommendation(
        row["shape"],
        baseline=baseline_name(eligible),
        nearest=_nearest_cell(eligible, surface, best),
        versus_baseline=versus_baseline,
        versus_best=versus_best,
        alike=_alike(shapes[affordable], best, surface),
        n_searched=len(shapes),
        decode_ms=float(row.decode_ms) if timed else None,
        decode_error=decode.error if decode and timed else None,
        flops_per_token=int(row.flops),
        rests_on=support(eligible, surface),
        outside=row.outside,
        misfit=misfit.words if misfit else "",
        missing=missing_runs(total_params, vocab_size) if row.outside else "",
        command=_command(row["shape"], eligible, total_params),
    )


def _first_answer(
    runs: pd.DataFrame, total_params: int, vocab_size: int, decode: DecodeTime | None
) -> tuple[pd.DataFrame, Surface, pd.DataFrame]:
    """The runs and surface of the nearest group that resembles the budget's shapes, and these.

    Where none does, the UserError of the nearest.
    """
    refusals = []
    for eligible, surface in nearest_first(runs, total_params, vocab_size):
        try:
            shapes = candidates(eligible, surface, total_params, vocab_size, decode)
        except UserError as refusal:
            refusals.append(refusal)
        else:
            return eligible, surface, shapes
    raise refusals[0]


def _within_limits(
    shapes: pd.DataFrame, max_ms: float | None, max_flops: float | None
) -> pd.Series:
    """Which shapes meet both limits; UserError where the time of none is known."""
    affordable = shapes.flops <= (max_flops or math.inf)
    if max_ms is None:
        return affordable
    if shapes.decode_ms.isna().all():
        raise UserError(
            "max_ms cannot be judged: the decoding of shapes like these was not timed, or the "
            "times do not follow layers, width and size; `paramalloc time SWEEP` measures it"
        )
    return affordable & (shapes.decode_ms <= max_ms)


def _impossible(shapes: pd.DataFrame, total_params: int, vocab_size: int) -> str:
    least = f"{shapes.flops.min():.3g} FLOPs per token"
    if shapes.decode_ms.notna().any():
        least = f"{shapes.decode_ms.min():.2f} ms per token and {least}"
    return (
        f"no shape of {total_params:,} parameters with vocab_size {vocab_size:,} that lies within "
        f"what was trained meets these limits: the least that any takes is {least}"
    )


# ------------------------------------------------------------------ how sure


def claims_better(eligible: pd.DataFrame, shapes: pd.DataFrame) -> bool:
    """Whether `recommend` calls the best of these shapes better than the runs' baseline.

    For simulated studies, which draw the losses of `eligible` again and again: the shapes (columns
    embed_share and glu, of `candidates`) are the same for all of them.
    """
    surface = fit_surface(eligible)
    if surface is None:
        return False
    best = shapes.loc[[surface.predict(shapes).dev_loss.idxmin()]]
    versus = _versus_baseline(shapes, best, eligible, surface)
    return versus is not None and versus[2] < 0


def _versus_baseline(
    shapes: pd.DataFrame, best: pd.DataFrame, eligible: pd.DataFrame, surface: Surface
) -> Difference | None:
    """See `Recommendation`: all searched shapes at once, and the report's interval."""
    baseline = baseline_cell(eligible)
    if baseline.empty:
        return None
    row = surface.predict(shapes, baseline, together=True).loc[best.index[0]]
    ends = _reported(eligible, _nearest_cell(eligible, surface, best), baseline.cell.iloc[0])
    if any(map(math.isnan, ends)):
        return float(row.difference), *UNKNOWN
    return float(row.difference), float(min(row.low, ends[0])), float(max(row.high, ends[1]))


def _reported(eligible: pd.DataFrame, cell: str, baseline: str) -> tuple[float, float]:
    """The ends of the report's simultaneous interval of a cell's difference to the baseline."""
    if cell == baseline:
        return 0.0, 0.0
    table = differences(eligible).set_index("cell")
    return table.low_all[cell], table.high_all[cell]


def _nearest_cell(eligible: pd.DataFrame, surface: Surface, best: pd.DataFrame) -> str:
    """The trained cell that is nearest in share and expansion, each in units of its spread."""
    axes = list(surface.axes)
    cells = np.log(eligible.groupby("cell")[axes].mean())
    apart = (cells - np.log(best[axes].iloc[0].astype(float))) / surface.quadratic.scale
    return str(np.square(apart).sum(axis=1).idxmin())


def _versus_best(shapes: pd.DataFrame, best: pd.DataFrame, surface: Surface) -> Difference:
    """The difference to the best of all searched shapes, the limits left aside."""
    best_of_all = shapes.loc[[shapes.dev_loss.idxmin()]]
    row = surface.predict(shapes, best_of_all, together=True).loc[best.index[0]]
    if surface.n_seeds < 2:
        return float(row.difference), *UNKNOWN
    return float(row.difference), float(row.low), float(row.high)


def _beyond(difference: Difference, misfit: Misfit | None) -> Difference:
    """Outside of what was trained no interval is known but by the misfit of rows there."""
    return misfit.widen(difference) if misfit else (difference[0], *UNKNOWN)


def _alike(shapes: pd.DataFrame, best: pd.DataFrame, surface: Surface) -> dict:
    """See `Recommendation`."""
    similar = surface.predict(shapes, best, together=True)
    similar = similar[similar.low <= 0]
    alike = dict.fromkeys(AXES)
    for name in surface.axes:
        alike[name] = (float(similar[name].min()), float(similar[name].max()))
    return alike


# ------------------------------------------------------------------ how to train it


def _command(shape: Allocation, eligible: pd.DataFrame, total_params: int) -> str:
    """Of papermill, with the recipe of the runs."""
    parameters = {
        "total_params": total_params,
        "vocab_size": shape.model.vocab_size,
        "embed_share": shape.requested_share,
        "glu": shape.requested_glu,
        "embedding": shape.model.embedding,
        "mlp": shape.model.mlp,
    }
    size = search_grid(eligible, total_params)
    trained_as = recipe(eligible, total_params)
    seq_len = int(eligible.seq_len.iloc[0])
    return training_command(parameters | size, seq_len, "recommended", trained_as)
