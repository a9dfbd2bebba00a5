"""Does one learning rate suit all shapes? Coordinate check, and how far the best rate moves.

Under a parametrization that transfers, what a step changes in the activations does not depend on
the size (Yang et al. 2022, appendix D.1; Dey et al. 2025, section 4), so the best rate stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..runs import Note

SIZE_COLUMNS = {"width": "d_model", "depth": "n_layers"}  # by axis
SHAPE_KEYS = ["parametrization", "embed_lr", "d_model", "n_layers"]
SHIFT_COLUMNS = ["parametrization", "embed_lr", "axis", "octaves", "at_least", "regret"]


def slopes(check: pd.DataFrame) -> pd.DataFrame:
    """The exponent of each change in the width and in the depth.

    `check` is what `training.coordinate_check` returns. The slope is that of a line through log
    change against log size.
    """
    groups = check.groupby(["parametrization", "axis", "what", "step"])
    columns = groups[["d_model", "n_layers", "change"]]
    return columns.apply(_slope).rename("slope").reset_index()


def _slope(rows: pd.DataFrame) -> float:
    _, axis, _, _ = rows.name
    sizes = rows[SIZE_COLUMNS[axis]].to_numpy(float)
    return np.polyfit(np.log(sizes), np.log(rows.change), 1)[0]


# ------------------------------------------------------------------ learning rates


class Parabola(NamedTuple):
    """loss = lowest + curvature (ln lr - vertex)^2, fitted from `low` to `high` in ln lr."""

    low: float
    high: float
    vertex: float
    lowest: float
    curvature: float


def losses_by_rate(runs: pd.DataFrame) -> pd.Series:
    """Dev loss by SHAPE_KEYS and lr, mean over seeds; infinite where one of them diverged."""
    ended = _ended(runs)
    losses = ended.dev_loss.astype(float).mask(ended.status == "diverged", math.inf)
    return ended.assign(dev_loss=losses).groupby([*SHAPE_KEYS, "lr"]).dev_loss.mean().dropna()


def _ended(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that completed or diverged."""
    return runs[runs.status.isin(["completed", "diverged"])]


def optima(runs: pd.DataFrame) -> pd.DataFrame:
    """For each parametrization, embed_lr and shape the learning rate with the lowest dev loss.

    Columns: SHAPE_KEYS, best_lr, best_loss (nats per token), edge. `best_lr` is the vertex of the
    parabola through the best of the rates and its neighbours, in log lr and mean loss over seeds.
    At the edge of what was tried, or next to a rate that diverged, it is that best one, and `edge`
    is true. A shape that diverged at all rates has an infinite `best_loss` and no `best_lr`.
    """
    rows = []
    for key, losses in losses_by_rate(runs).groupby(level=SHAPE_KEYS):
        shape = dict(zip(SHAPE_KEYS, key, strict=True))
        rows.append(shape | optimum(losses.droplevel(SHAPE_KEYS)))
    return pd.DataFrame(rows, columns=[*SHAPE_KEYS, "best_lr", "best_loss", "edge"])


def optimum(losses: pd.Series) -> dict:
    """The minimum of dev losses by learning rate."""
    curve = _parabola(losses)
    if curve:
        return {"best_lr": math.exp(curve.vertex), "best_loss": curve.lowest, "edge": False}
    lowest = losses.min()
    best_lr = losses.idxmin() if np.isfinite(lowest) else math.nan
    return {"best_lr": best_lr, "best_loss": lowest, "edge": True}


def _parabola(losses: pd.Series) -> Parabola | None:
    """Through the lowest loss and its neighbours; None at an edge."""
    at = int(losses.to_numpy().argmin())
    near = losses.iloc[max(at - 1, 0) : at + 2]
    if len(near) < 3 or not np.isfinite(near).all():
        return None
    low, middle, high = (math.log(lr) for lr in near.index)
    # Around the middle rate: less rounding.
    a, b, c = np.polyfit(np.subtract([low, middle, high], middle), near, 2)
    vertex, lowest = middle - b / (2 * a), c - b * b / (4 * a)
    return Parabola(low, high, float(vertex), float(lowest), float(a))


def loss_at(losses: pd.Series, lr: float) -> float:
    """Dev loss at a rate, on the curve whose minimum `optimum` takes.

    The parabola as far as its points reach, straight lines in log lr beyond. Infinite next to a
    rate that diverged and above it, NaN outside of the rates that were tried.
    """
    x = math.log(lr)
    curve = _parabola(losses)
    if curve and curve.low <= x <= curve.high:
        return curve.lowest + curve.curvature * (x - curve.vertex) ** 2
    above = math.inf if losses.iloc[-1] == math.inf else math.nan
    tried = [math.log(rate) for rate in losses.index]
    return float(np.interp(x, tried, losses, left=math.nan, right=above))


def regret(losses: pd.Series, lr: float) -> float:
    """What this rate costs in place of the best, in nats per token, 0 at least.

    Infinite and NaN as in `loss_at`.
    """
    loss = loss_at(losses, lr)
    return loss if loss == math.inf else loss - optimum(losses)["best_loss"]


def _largest(regrets: Iterable[float]) -> float:
    """The largest: infinite where one is, else NaN where one is not known."""
    values = np.asarray(regrets, float)
    return math.inf if math.inf in values else float(values.max())


def moves(runs: pd.DataFrame, base: tuple[int, int]) -> pd.DataFrame:
    """How far the best rate moves from the smallest to the largest shape of an axis.

    In `octaves` (doublings). `at_least` is true where a best rate lies at the edge, so that the
    true move may be larger. The largest `regret` is what a shape of the axis loses at most, in nats
    per token, with the best rate of `base` (d_model, n_layers) in place of its own.
    """
    best, losses = optima(runs), losses_by_rate(runs)
    rows = []
    for (name, embed_lr), shapes in best.groupby(["parametrization", "embed_lr"]):
        at_base = (shapes.d_model == base[0]) & (shapes.n_layers == base[1])
        lines = {
            "width": shapes[shapes.n_layers == base[1]].sort_values("d_model"),
            "depth": shapes[shapes.d_model == base[0]].sort_values("n_layers"),
        }
        for axis, line in lines.items():
            if len(line) < 2 or not at_base.any():
                continue
            shift = _shift(line, losses, shapes.best_lr[at_base].item())
            rows.append({"parametrization": name, "embed_lr": embed_lr, "axis": axis} | shift)
    return pd.DataFrame(rows, columns=SHIFT_COLUMNS)


def _shift(line: pd.DataFrame, losses: pd.Series, base_lr: float) -> dict:
    """The shift along the shapes of one axis."""
    rates = np.log2(line.best_lr.to_numpy(float))
    shapes = line[SHAPE_KEYS].itertuples(index=False)
    regrets = [regret(losses[tuple(shape)], base_lr) for shape in shapes]
    return {
        "octaves": rates[-1] - rates[0],
        "at_least": bool(line.edge.any()),
        "regret": _largest(regrets),
    }


# ------------------------------------------------------------------ the answer


def transfer_verdict(runs: pd.DataFrame, base: tuple[int, int]) -> Note:
    """Which parametrization loses less with one rate for all shapes, and which is best with many.

    Of the multipliers (embed_lr), axes and shapes that were trained under both.
    """
    shifts = moves(runs, base)
    n_names = shifts.groupby(["embed_lr", "axis"]).parametrization.transform("nunique")
    shifts = shifts[n_names == 2]
    multipliers = sorted(shifts.embed_lr.unique())
    if not multipliers:
        return Note(
            "no runs to compare yet: `paramalloc sweep transfer --yes`, "
            "then this notebook with `runs` transfer"
        )
    runs = runs[runs.embed_lr.isin(multipliers)]
    regrets = shifts.groupby("parametrization").regret.agg(_largest).sort_values()
    table = optima(runs).pivot(index=SHAPE_KEYS[1:], columns="parametrization", values="best_loss")
    # A shape that diverged at all rates has no best loss.
    mean_best = table.replace(math.inf, math.nan).dropna().mean()
    better, other = regrets.index
    embed_lr = " and ".join(f"{value:g}" for value in multipliers)
    return Note(
        f"**With the best rate of {base[0]} × {base[1]} for all shapes, the worst-suited shape "
        f"{_loses(regrets[better])} under `{better}` and {_loses(regrets[other])} under "
        f"`{other}`** (embed_lr {embed_lr}). "
        f"With a rate for each shape the mean dev loss is {mean_best[better]:.3f} under `{better}` "
        f"and {mean_best[other]:.3f} under `{other}`. {_count_seeds(runs)}."
    )


def nats(regret: float) -> str:
    """`0.047`, or `diverges`."""
    return "diverges" if regret == math.inf else f"{regret:.3f}"


def _loses(regret: float) -> str:
    """A regret as the verb of a sentence."""
    if math.isnan(regret):
        return "loses an amount that is not known (it was not tried at that rate)"
    return nats(regret) if regret == math.inf else f"loses {nats(regret)} nats"


def _count_seeds(runs: pd.DataFrame) -> str:
    """`One seed`, `3 seeds`, or `1 to 3 seeds`: of each shape and rate."""
    counts = _ended(runs).groupby([*SHAPE_KEYS, "lr"]).seed.nunique()
    fewest, most = counts.min(), counts.max()
    if most == 1:
        return "One seed"
    return f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"
