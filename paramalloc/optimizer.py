"""What turns gradients into steps: AdamW, or Muon for the matrices; the groups that learn at one rate; the schedule."""

import torch

from .config import ConfigError, TrainConfig
from .model import DecoderLM
from .parametrization import TABLES, rule

ADAM = {"betas": (0.9, 0.99), "fused": True}
EPS = 1e-8


def make_optimizers(model: DecoderLM, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov & Hutter 2019) for all weights, or for those that Muon leaves. Each group of weights with one rule
    has its `lr_scale`, by which the recipe's lr is multiplied at every step."""
    hidden = matrices(model) if config.optimizer == "muon" else []
    groups = {}
    for name, weight in model.named_parameters():
        one = rule(name, model.config, config.parametrization, config.embed_lr)
        if name not in hidden:
            groups.setdefault((one.lr, one.decay, one.eps), []).append(weight)
    groups = [{"params": weights, "lr_scale": lr, "weight_decay": decay * config.weight_decay, "eps": eps * EPS}
              for (lr, decay, eps), weights in groups.items()]
    adam = torch.optim.AdamW(groups, lr=config.lr, **ADAM)
    return [adam, muon([model.get_parameter(name) for name in hidden], config)] if hidden else [adam]


def matrices(model: DecoderLM) -> list[str]:
    """The names of the weights that are no gain and no table."""
    return [name for name, weight in model.named_parameters() if weight.dim() == 2 and name.split(".")[-2] not in TABLES]


def muon(weights: list[torch.Tensor], config: TrainConfig) -> torch.optim.Optimizer:
    """Momentum made orthogonal (Jordan et al. 2024), as large as a step of AdamW at the same lr (Liu et al. 2025,
    arXiv 2502.16982). Query, key and value are one matrix here, and so are gate and up."""
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(f"optimizer 'muon' needs torch 2.9 or later, and this is {torch.__version__}: use adamw")
    group = {"params": weights, "lr_scale": 1.0}
    return torch.optim.Muon([group], lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw")


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor on lr at step 1..steps: linear warm-up over `warmup` of the steps, then linear decay to zero.

    Decay to zero: Bergsma et al. 2025, "Straight to Zero" (arXiv 2502.15938).
    """
    rising = max(1, round(warmup * steps))
    return min(step / rising, (steps - step + 1) / max(1, steps - rising + 1))
