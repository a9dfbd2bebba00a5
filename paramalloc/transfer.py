"""Does one learning rate suit all shapes? The coordinate check, and how far the best rate moves with the width and the depth.

Under a parametrization that transfers, what a step changes in the activations depends on no size (Yang et al. 2022, appendix
D.1; Dey et al. 2025, section 4), and so the best rate stays where it is.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from .config import ModelConfig, TrainConfig
from .model import DecoderLM
from .runs import Note
from .train import Learner

VOCABULARY, D_HEAD = 256, 32
STEPS = (1, 10)


def coordinate_check(parametrization: str, widths=(64, 128, 256, 512), depths=(2, 4, 8, 16, 32), lr: float = 1e-3,
                     embedding: str = "tied", optimizer: str = "adamw", seeds: int = 1) -> pd.DataFrame:
    """Root mean square of the change after 1 and 10 steps, for each width (at 4 layers) and depth (at width 64): of the residual
    stream after the last block, of the final hidden state before its gain, and of the logits. One row for each of them and seed.
    """
    shapes = {"width": [(width, 4) for width in widths], "depth": [(64, depth) for depth in depths]}
    rows = [{"parametrization": parametrization, "axis": axis, "d_model": width, "n_layers": depth, **change}
            for axis, sizes in shapes.items() for width, depth in sizes
            for seed in range(seeds) for change in changes(square(width, depth, embedding), parametrization, lr, optimizer, seed)]
    return pd.DataFrame(rows)


def square(width: int, depth: int, embedding: str) -> ModelConfig:
    """A shape of that width and depth in which everything else is in proportion."""
    return ModelConfig(VOCABULARY, width, depth, width // D_HEAD, width // D_HEAD, D_HEAD, 8 * width // 3 // 8 * 8, embedding,
                       width // 2 if embedding == "factorized" else None)


def changes(shape: ModelConfig, parametrization: str, lr: float, optimizer: str, seed: int) -> list[dict]:
    config = TrainConfig.from_dict({"parametrization": parametrization, "optimizer": optimizer, "profile": "quick", "embed_lr": 1.0,
                                    "seq_len": 64, "batch_tokens": 512, "vocab_size": VOCABULARY + 1, "weight_decay": 0.0})
    torch.manual_seed(seed)
    learner = Learner(config, DecoderLM(shape, parametrization), torch.device("cpu"), "fp32")
    x, y = torch.from_numpy(np.random.default_rng(seed).integers(0, VOCABULARY, (2, 8, 64)))
    before, rows = activations(learner.model, x), []
    for step in range(1, max(STEPS) + 1):
        learner.step(x, y, lr)
        if step in STEPS:
            now = activations(learner.model, x)
            rows += [{"seed": seed, "step": step, "what": what, "change": (now[what] - before[what]).square().mean().sqrt().item()} for what in now]
    return rows


@torch.no_grad()
def activations(model: DecoderLM, x: Tensor) -> dict[str, Tensor]:
    seen = []
    hook = model.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    logits = model(x)
    hook.remove()
    return {"residual stream": seen[0], "final hidden state": F.rms_norm(seen[0], seen[0].shape[-1:]), "logits": logits}


def slopes(found: pd.DataFrame) -> pd.DataFrame:
    """The exponent of each change in the width and in the depth: the slope of a line through log change against log size."""
    size = {"width": "d_model", "depth": "n_layers"}
    fit = lambda rows: np.polyfit(np.log(rows[size[rows.name[1]]].to_numpy(float)), np.log(rows.change), 1)[0]
    return found.groupby(["parametrization", "axis", "what", "step"])[["d_model", "n_layers", "change"]].apply(fit).rename("slope").reset_index()


# ------------------------------------------------------------------ learning rates


AXES = {"width": "d_model", "depth": "n_layers"}


def optima(runs: pd.DataFrame) -> pd.DataFrame:
    """For each parametrization, embed_lr and shape the learning rate with the lowest dev loss, one row each.

    `best_lr` is the vertex of the parabola through the best of the rates and its neighbours, in log lr and mean loss over
    seeds; at the edge of what was tried it is that edge, and `edge` is true.
    """
    done = runs[(runs.status == "completed") & runs.dev_loss.notna()]
    keys = ["parametrization", "embed_lr", "d_model", "n_layers"]
    found = [dict(zip(keys, key)) | optimum(group.groupby("lr").dev_loss.mean()) for key, group in done.groupby(keys)]
    return pd.DataFrame(found, columns=[*keys, "best_lr", "best_loss", "edge"])


def optimum(losses: pd.Series) -> dict:
    """The minimum of dev losses by learning rate."""
    at = int(losses.to_numpy().argmin())
    if at in (0, len(losses) - 1):
        return {"best_lr": losses.index[at], "best_loss": losses.iloc[at], "edge": True}
    a, b, c = np.polyfit(np.log(losses.index[at - 1:at + 2].to_numpy(float)), losses.iloc[at - 1:at + 2], 2)
    return {"best_lr": float(np.exp(-b / (2 * a))), "best_loss": float(c - b * b / (4 * a)), "edge": False}


def moves(runs: pd.DataFrame, base: tuple[int, int]) -> pd.DataFrame:
    """How far the best rate moves from the smallest to the largest shape of an axis, in octaves (doublings; `at_least` so far, where a
    best rate lies at the edge of what was tried), and the regret: the loss (nats per token) that the shape away from `base` (d_model, n_layers) which suffers most loses at the base's best rate.
    """
    found, rows = optima(runs), []
    for (name, embed_lr), own in found.groupby(["parametrization", "embed_lr"]):
        at_base = own[(own.d_model == base[0]) & (own.n_layers == base[1])]
        for axis, size in AXES.items():
            other = "n_layers" if size == "d_model" else "d_model"
            line = own[own[other] == base[other == "n_layers"]].sort_values(size)
            if len(line) < 2 or at_base.empty:
                continue
            rates = np.log2(line.best_lr.to_numpy(float))
            regrets = [regret(runs, name, embed_lr, shape, at_base.best_lr.item()) for shape in line.itertuples()]
            rows.append({"parametrization": name, "embed_lr": embed_lr, "axis": axis, "octaves": rates[-1] - rates[0],
                         "at_least": bool(line.edge.any()), "regret": max(regrets)})
    return pd.DataFrame(rows, columns=["parametrization", "embed_lr", "axis", "octaves", "at_least", "regret"])


def regret(runs: pd.DataFrame, name: str, embed_lr: float, shape, lr: float) -> float:
    """Dev loss of a shape at this rate, interpolated in log lr between those that were tried, less that at its own best."""
    same = (runs.parametrization == name) & (runs.embed_lr == embed_lr) & (runs.d_model == shape.d_model) & (runs.n_layers == shape.n_layers)
    losses = runs[same & (runs.status == "completed")].groupby("lr").dev_loss.mean()
    return float(np.interp(np.log(lr), np.log(losses.index.to_numpy(float)), losses)) - shape.best_loss


def verdict(runs: pd.DataFrame, base: tuple[int, int]) -> Note:
    """Which parametrization loses less with one rate for all shapes, and which reaches the lower loss with a rate for each."""
    found, moved = optima(runs), moves(runs, base)
    if moved.parametrization.nunique() < 2:
        return Note("no runs to compare yet: `paramalloc sweep transfer --yes`, then this notebook with `runs` transfer")
    common = [embed_lr for embed_lr, own in moved.groupby("embed_lr") if own.parametrization.nunique() == 2]
    found, moved = found[found.embed_lr.isin(common)], moved[moved.embed_lr.isin(common)]
    worst = moved.groupby("parametrization").regret.max().sort_values()
    reached = found.groupby("parametrization").best_loss.mean()
    better, other = worst.index
    return Note(f"**With the best rate of {base[0]} × {base[1]} for all shapes, none loses more than {worst.iloc[0]:.3f} nats under `{better}`, and one "
                f"{worst.iloc[1]:.3f} under `{other}`.** With a rate for each shape the mean dev loss is {reached[better]:.3f} under `{better}` and "
                f"{reached[other]:.3f} under `{other}`. One seed.")
