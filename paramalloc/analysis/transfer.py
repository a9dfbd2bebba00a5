"""Does one learning rate suit all shapes? The coordinate check, and how far the best rate moves with the width and the depth.

Under a parametrization that transfers, what a step changes in the activations depends on no size (Yang et al. 2022, appendix
D.1; Dey et al. 2025, section 4), and so the best rate stays where it is.
"""

import math

import numpy as np
import pandas as pd

from ..runs import Note


def slopes(found: pd.DataFrame) -> pd.DataFrame:
    """The exponent of each change in the width and in the depth: the slope of a line through log change against log size."""
    size = {"width": "d_model", "depth": "n_layers"}
    fit = lambda rows: np.polyfit(
        np.log(rows[size[rows.name[1]]].to_numpy(float)), np.log(rows.change), 1
    )[0]
    groups = found.groupby(["parametrization", "axis", "what", "step"])[
        ["d_model", "n_layers", "change"]
    ]
    return groups.apply(fit).rename("slope").reset_index()


# ------------------------------------------------------------------ learning rates


SIZE_COLUMNS = {"width": "d_model", "depth": "n_layers"}
SHAPE_KEYS = ["parametrization", "embed_lr", "d_model", "n_layers"]


def losses_by_rate(runs: pd.DataFrame) -> pd.Series:
    """Dev loss by SHAPE and lr, mean over seeds; infinite where one of them diverged."""
    ended = runs[runs.status.isin(["completed", "diverged"])]
    values = ended.dev_loss.astype(float).mask(ended.status == "diverged", math.inf)
    return ended.assign(dev_loss=values).groupby([*SHAPE_KEYS, "lr"]).dev_loss.mean().dropna()


def optima(runs: pd.DataFrame) -> pd.DataFrame:
    """For each parametrization, embed_lr and shape the learning rate with the lowest dev loss, one row each.

    `best_lr` is the vertex of the parabola through the best of the rates and its neighbours, in log lr and mean loss over
    seeds; at the edge of what was tried, or beside a rate that diverged, it is that best one, and `edge` is true. A shape that
    diverged at all rates has an infinite `best_loss` and no `best_lr`.
    """
    found = [
        dict(zip(SHAPE_KEYS, key)) | optimum(own.droplevel(SHAPE_KEYS))
        for key, own in losses_by_rate(runs).groupby(level=SHAPE_KEYS)
    ]
    return pd.DataFrame(found, columns=[*SHAPE_KEYS, "best_lr", "best_loss", "edge"])


def optimum(losses: pd.Series) -> dict:
    """The minimum of dev losses by learning rate."""
    if found := parabola(losses):
        _, x, y, _ = found
        return {"best_lr": math.exp(x), "best_loss": y, "edge": False}
    return {
        "best_lr": losses.idxmin() if np.isfinite(losses.min()) else math.nan,
        "best_loss": losses.min(),
        "edge": True,
    }


def parabola(losses: pd.Series) -> tuple | None:
    """y + a (ln lr - x)^2 through the lowest loss and its neighbours, as ((the neighbours' ln lr), x, y, a); None at an edge."""
    at = int(losses.to_numpy().argmin())
    near = losses.iloc[max(at - 1, 0) : at + 2]
    if len(near) < 3 or not np.isfinite(near).all():
        return None
    rates = [math.log(lr) for lr in near.index]
    a, b, c = np.polyfit(
        np.subtract(rates, rates[1]), near, 2
    )  # around the middle one: less rounding
    return (rates[0], rates[2]), float(rates[1] - b / (2 * a)), float(c - b * b / (4 * a)), float(a)


def loss_at(losses: pd.Series, lr: float) -> float:
    """Dev loss at a rate, on the curve whose minimum `optimum` takes: the parabola as far as its points reach, straight lines in
    log lr beyond. Infinite next to a rate that diverged and above it, NaN outside of the rates that were tried."""
    at, tried = math.log(lr), [math.log(rate) for rate in losses.index]
    if (found := parabola(losses)) and found[0][0] <= at <= found[0][1]:
        _, x, y, a = found
        return y + a * (at - x) ** 2
    above = math.inf if losses.iloc[-1] == math.inf else math.nan
    return float(np.interp(at, tried, losses, left=math.nan, right=above))


def regret(losses: pd.Series, lr: float) -> float:
    """What this rate costs in place of the best, in nats per token, 0 at least; infinite and NaN as in `loss_at`."""
    found = loss_at(losses, lr)
    return found if found == math.inf else found - optimum(losses)["best_loss"]


def largest(regrets) -> float:
    """The largest: infinite where one is, else NaN where one is not known."""
    values = np.asarray(regrets, float)
    return math.inf if math.inf in values else float(values.max())


def moves(runs: pd.DataFrame, base: tuple[int, int]) -> pd.DataFrame:
    """How far the best rate moves from the smallest to the largest shape of an axis, in octaves (doublings; `at_least` so far, where a
    best rate lies at the edge of what was tried), and the `largest` regret: what a shape of the axis loses at most, in nats per token,
    with the best rate of `base` (d_model, n_layers) in place of its own.
    """
    found, losses, rows = optima(runs), losses_by_rate(runs), []
    for (name, embed_lr), own in found.groupby(["parametrization", "embed_lr"]):
        at_base = own[(own.d_model == base[0]) & (own.n_layers == base[1])]
        for axis, size in SIZE_COLUMNS.items():
            other = "n_layers" if size == "d_model" else "d_model"
            line = own[own[other] == base[other == "n_layers"]].sort_values(size)
            if len(line) < 2 or at_base.empty:
                continue
            rates = np.log2(line.best_lr.to_numpy(float))
            regrets = [
                regret(losses[tuple(shape)], at_base.best_lr.item())
                for shape in line[SHAPE_KEYS].itertuples(index=False)
            ]
            rows.append(
                {
                    "parametrization": name,
                    "embed_lr": embed_lr,
                    "axis": axis,
                    "octaves": rates[-1] - rates[0],
                    "at_least": bool(line.edge.any()),
                    "regret": largest(regrets),
                }
            )
    return pd.DataFrame(
        rows, columns=["parametrization", "embed_lr", "axis", "octaves", "at_least", "regret"]
    )


def transfer_verdict(runs: pd.DataFrame, base: tuple[int, int]) -> Note:
    """Which parametrization loses less with one rate for all shapes, and which reaches the lower loss with a rate for each; of the
    multipliers (embed_lr), axes and shapes that were trained under both."""
    moved = moves(runs, base)
    moved = moved[moved.groupby(["embed_lr", "axis"]).parametrization.transform("nunique") == 2]
    common = sorted(moved.embed_lr.unique())
    if not common:
        return Note(
            "no runs to compare yet: `paramalloc sweep transfer --yes`, then this notebook with `runs` transfer"
        )
    runs = runs[runs.embed_lr.isin(common)]
    costs = moved.groupby("parametrization").regret.agg(largest).sort_values()
    reached = optima(runs).pivot(
        index=SHAPE_KEYS[1:], columns="parametrization", values="best_loss"
    )
    reached = (
        reached.replace(math.inf, math.nan).dropna().mean()
    )  # a shape that diverged at all rates has no best loss
    better, other = costs.index
    return Note(
        f"**With the best rate of {base[0]} × {base[1]} for all shapes, the one that it suits worst {cost(costs[better])} under "
        f"`{better}` and {cost(costs[other])} under `{other}`** (embed_lr {' and '.join(f'{value:g}' for value in common)}). "
        f"With a rate for each shape the mean dev loss is {reached[better]:.3f} under `{better}` and {reached[other]:.3f} under "
        f"`{other}`. {seeds(runs)}."
    )


def nats(regret: float) -> str:
    """`0.047`, or `diverges`."""
    return "diverges" if regret == math.inf else f"{regret:.3f}"


def cost(regret: float) -> str:
    """A regret as the verb of a sentence."""
    known = nats(regret) if regret == math.inf else f"loses {nats(regret)} nats"
    return (
        "loses an amount that is not known (it was not tried at that rate)"
        if math.isnan(regret)
        else known
    )


def seeds(runs: pd.DataFrame) -> str:
    """`One seed`, `3 seeds`, or `1 to 3 seeds`: of each shape and rate."""
    counts = (
        runs[runs.status.isin(["completed", "diverged"])]
        .groupby([*SHAPE_KEYS, "lr"])
        .seed.nunique()
    )
    few, many = counts.min(), counts.max()
    return "One seed" if many == 1 else f"{many} seeds" if few == many else f"{few} to {many} seeds"
