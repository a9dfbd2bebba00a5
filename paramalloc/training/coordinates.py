"""The coordinate check: by how much a step changes the activations, at each width and depth.

Under a parametrization whose learning rate transfers, it hardly depends on them (Yang et al. 2022,
arXiv 2203.03466, appendix D.1). Shapes: B sequences of T tokens, D = d_model, V = vocab_size.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import ModelConfig, TrainConfig
from ..model import DecoderLM, pick_device
from .learner import Learner

VOCABULARY = 256
CHECK_D_HEAD = 32
CHECK_SEQ_LEN = 64
CHECK_BATCH = 8
CHECKED_STEPS = (1, 10)


def coordinate_check(
    parametrization: str,
    widths=(64, 128, 256, 512),
    depths=(2, 4, 8, 16, 32),
    lr: float = 1e-3,
    embedding: str = "tied",
    optimizer: str = "adamw",
    seeds: int = 1,
) -> pd.DataFrame:
    """Root mean square of the change of activations after 1 and 10 steps, by width and depth.

    Widths have 4 layers, depths a width of 64. The activations are the residual stream after the
    last block, the final hidden state before its gain, and the logits: a row for each of them, each
    step and each seed.
    """
    shapes = [("width", width, 4) for width in widths]
    shapes += [("depth", 64, depth) for depth in depths]
    rows = []
    for axis, width, depth in shapes:
        about = {"parametrization": parametrization, "axis": axis}
        about |= {"d_model": width, "n_layers": depth}
        shape = _proportional_shape(width, depth, embedding)
        for seed in range(seeds):
            changes = _measure_changes(shape, _check_config(parametrization, optimizer), lr, seed)
            rows += [about | change for change in changes]
    return pd.DataFrame(rows)


def _proportional_shape(width: int, depth: int, embedding: str) -> ModelConfig:
    """A shape of that width and depth in which everything else is in proportion."""
    heads = width // CHECK_D_HEAD
    return ModelConfig(
        vocab_size=VOCABULARY,
        d_model=width,
        n_layers=depth,
        n_heads=heads,
        n_kv_heads=heads,
        d_head=CHECK_D_HEAD,
        d_ff=8 * width // 3 // 8 * 8,
        embedding=embedding,
        d_embed=width // 2 if embedding == "factorized" else None,
    )


def _check_config(parametrization: str, optimizer: str) -> TrainConfig:
    return TrainConfig.from_dict(
        {
            "parametrization": parametrization,
            "optimizer": optimizer,
            "profile": "quick",
            "embed_lr": 1.0,
            "seq_len": CHECK_SEQ_LEN,
            "batch_tokens": CHECK_BATCH * CHECK_SEQ_LEN,
            "vocab_size": VOCABULARY + 1,
            "weight_decay": 0.0,
        }
    )


def _measure_changes(shape: ModelConfig, config: TrainConfig, lr: float, seed: int) -> list[dict]:
    """Train on one random batch again and again; a row for each checked step and activation."""
    torch.manual_seed(seed)
    model = DecoderLM(shape, config.parametrization)
    learner = Learner(config, model, pick_device("cpu"), "fp32")
    random = np.random.default_rng(seed)
    x, y = torch.from_numpy(random.integers(0, VOCABULARY, (2, CHECK_BATCH, CHECK_SEQ_LEN)))

    before = _activations(model, x)
    rows = []
    for step in range(1, max(CHECKED_STEPS) + 1):
        learner.step(x, y, lr)
        if step not in CHECKED_STEPS:
            continue
        for activation_name, activation in _activations(model, x).items():
            change = (activation - before[activation_name]).square().mean().sqrt().item()
            rows.append({"seed": seed, "step": step, "what": activation_name, "change": change})
    return rows


@torch.no_grad()
def _activations(model: DecoderLM, x: Tensor) -> dict[str, Tensor]:
    """What is compared for tokens x (B, T): (B, T, D) twice, and (B, T, V)."""
    streams = []
    hook = model.norm.register_forward_pre_hook(lambda norm, inputs: streams.append(inputs[0]))
    logits = model(x)
    hook.remove()
    [stream] = streams
    return {
        "residual stream": stream,
        "final hidden state": F.rms_norm(stream, stream.shape[-1:]),
        "logits": logits,
    }
