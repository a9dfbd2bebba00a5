"""The coordinate check: what a step changes in the activations, at each width and depth."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import ModelConfig, TrainConfig
from ..model import DecoderLM
from .learner import Learner

VOCABULARY, D_HEAD = 256, 32
STEPS = (1, 10)


def coordinate_check(
    parametrization: str,
    widths=(64, 128, 256, 512),
    depths=(2, 4, 8, 16, 32),
    lr: float = 1e-3,
    embedding: str = "tied",
    optimizer: str = "adamw",
    seeds: int = 1,
) -> pd.DataFrame:
    """Root mean square of the change after 1 and 10 steps, for each width (at 4 layers) and depth (at width 64): of the residual
    stream after the last block, of the final hidden state before its gain, and of the logits. One row for each of them and seed.
    """
    shapes = {"width": [(width, 4) for width in widths], "depth": [(64, depth) for depth in depths]}
    rows = [
        {
            "parametrization": parametrization,
            "axis": axis,
            "d_model": width,
            "n_layers": depth,
            **change,
        }
        for axis, sizes in shapes.items()
        for width, depth in sizes
        for seed in range(seeds)
        for change in changes(square(width, depth, embedding), parametrization, lr, optimizer, seed)
    ]
    return pd.DataFrame(rows)


def square(width: int, depth: int, embedding: str) -> ModelConfig:
    """A shape of that width and depth in which everything else is in proportion."""
    return ModelConfig(
        VOCABULARY,
        width,
        depth,
        width // D_HEAD,
        width // D_HEAD,
        D_HEAD,
        8 * width // 3 // 8 * 8,
        embedding,
        width // 2 if embedding == "factorized" else None,
    )


def changes(
    shape: ModelConfig, parametrization: str, lr: float, optimizer: str, seed: int
) -> list[dict]:
    config = TrainConfig.from_dict(
        {
            "parametrization": parametrization,
            "optimizer": optimizer,
            "profile": "quick",
            "embed_lr": 1.0,
            "seq_len": 64,
            "batch_tokens": 512,
            "vocab_size": VOCABULARY + 1,
            "weight_decay": 0.0,
        }
    )
    torch.manual_seed(seed)
    learner = Learner(config, DecoderLM(shape, parametrization), torch.device("cpu"), "fp32")
    x, y = torch.from_numpy(np.random.default_rng(seed).integers(0, VOCABULARY, (2, 8, 64)))
    before, rows = activations(learner.model, x), []
    for step in range(1, max(STEPS) + 1):
        learner.step(x, y, lr)
        if step in STEPS:
            now = activations(learner.model, x)
            moved = {what: (now[what] - before[what]).square().mean().sqrt().item() for what in now}
            rows += [
                {"seed": seed, "step": step, "what": what, "change": change}
                for what, change in moved.items()
            ]
    return rows


@torch.no_grad()
def activations(model: DecoderLM, x: Tensor) -> dict[str, Tensor]:
    seen = []
    hook = model.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    logits = model(x)
    hook.remove()
    return {
        "residual stream": seen[0],
        "final hidden state": F.rms_norm(seen[0], seen[0].shape[-1:]),
        "logits": logits,
    }
