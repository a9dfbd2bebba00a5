"""What turns gradients into steps: AdamW, or Muon for the matrices; the groups that learn at one rate; the schedule."""

import torch

from ..config import TrainConfig
from ..errors import ConfigError
from ..model import TABLES, DecoderLM, rule

ADAM = {"betas": (0.9, 0.99), "fused": True}
EPS = 1e-8


def make_optimizers(model: DecoderLM, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov & Hutter 2019) for all weights, or for those that Muon leaves: tables and gains. Each group of weights
    with one rule has its `lr_scale`, by which the recipe's lr is multiplied at every step."""
    adam, muon = {}, {}
    for name, weight in model.named_parameters():
        own = rule(name, model.config, config.parametrization, config.embed_lr)
        if config.optimizer == "muon" and weight.dim() == 2 and name.split(".")[-2] not in TABLES:
            muon.setdefault((own.muon, own.decay and 1 / own.muon), []).append(weight)
        else:
            adam.setdefault((own.lr, own.decay, own.eps * EPS), []).append(weight)
    keys = ("lr_scale", "weight_decay", "eps")
    groups = lambda found: [
        dict(zip(keys, key)) | {"params": weights} for key, weights in found.items()
    ]
    made = [torch.optim.AdamW(decayed(groups(adam), config), lr=config.lr, **ADAM)]
    return made + ([make_muon(decayed(groups(muon), config), config)] if muon else [])


def decayed(groups: list[dict], config: TrainConfig) -> list[dict]:
    return [
        group | {"weight_decay": group["weight_decay"] * config.weight_decay} for group in groups
    ]


def make_muon(groups: list[dict], config: TrainConfig) -> torch.optim.Optimizer:
    """Momentum made orthogonal (Jordan et al. 2024), at the base shape as large as a step of AdamW at the same lr (Liu et al.
    2025, arXiv 2502.16982). Query, key and value are one matrix here, and so are gate and up."""
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(
            f"optimizer 'muon' needs torch 2.9 or later, and this is {torch.__version__}: use adamw"
        )
    return torch.optim.Muon(groups, lr=config.lr, adjust_lr_fn="match_rms_adamw")


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor on lr at step 1..steps: linear warm-up over `warmup` of the steps, then linear decay to zero.

    Decay to zero: Bergsma et al. 2025, "Straight to Zero" (arXiv 2502.15938).
    """
    rising = max(1, round(warmup * steps))
    return min(step / rising, (steps - step + 1) / max(1, steps - rising + 1))
