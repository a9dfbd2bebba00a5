"""What turns gradients into steps: AdamW, or Muon for the matrices, and the schedule."""

from typing import NamedTuple

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import ConfigError
from ..model import TABLES, DecoderLM, rule

EPS = 1e-8


class Settings(NamedTuple):
    """What the weights of a group share: factors on lr and on weight decay, and AdamW's eps."""

    lr_scale: float
    decay: float
    eps: float | None = None


Groups = dict[Settings, list[Tensor]]


def _adamw_settings(config: TrainConfig) -> dict:
    """What all groups of AdamW share: a new hyperparameter is read from the config here."""
    return {"lr": config.lr, "betas": (0.9, 0.99), "fused": True}


def _muon_settings(config: TrainConfig) -> dict:
    """The same for Muon. Its steps are as large as AdamW's at the same lr (Liu et al. 2025)."""
    return {"lr": config.lr, "adjust_lr_fn": "match_rms_adamw"}


def make_optimizers(model: DecoderLM, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov & Hutter 2019) for all weights, or for those that Muon leaves.

    Muon leaves tables and gains. Weights with one rule (`model.rule`) form a group. At every step
    its lr is the recipe's lr times its `lr_scale`. ConfigError if the config asks for Muon and this
    torch has none.
    """
    adamw: Groups = {}
    muon: Groups = {}
    for name, weight in model.named_parameters():
        scale = rule(name, model.config, config.parametrization, config.embed_lr)
        if config.optimizer == "muon" and _is_matrix(name, weight):
            settings = Settings(scale.muon, scale.decay and 1 / scale.muon)
            muon.setdefault(settings, []).append(weight)
        else:
            settings = Settings(scale.lr, scale.decay, scale.eps * EPS)
            adamw.setdefault(settings, []).append(weight)

    optimizers = [torch.optim.AdamW(_param_groups(adamw, config), **_adamw_settings(config))]
    if muon:
        optimizers.append(_make_muon(_param_groups(muon, config), config))
    return optimizers


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor on lr at step 1..steps: linear warm-up, then linear decay to zero.

    Warm-up takes the fraction `warmup` of the steps. Decay to zero: Bergsma et al. 2025, "Straight
    to Zero" (arXiv 2502.15938).

    >>> [schedule(step, steps=4, warmup=0.5) for step in (1, 2, 3, 4)]
    [0.5, 1.0, 0.6666666666666666, 0.3333333333333333]
    """
    rising = max(1, round(warmup * steps))
    return min(step / rising, (steps - step + 1) / max(1, steps - rising + 1))


def _is_matrix(name: str, weight: Tensor) -> bool:
    """Whether Muon moves this weight: a matrix that is no table."""
    return weight.dim() == 2 and name.split(".")[-2] not in TABLES


def _param_groups(groups: Groups, config: TrainConfig) -> list[dict]:
    """Groups as torch takes them."""
    param_groups = []
    for settings, weights in groups.items():
        group: dict = {
            "params": weights,
            "lr_scale": settings.lr_scale,
            "weight_decay": settings.decay * config.weight_decay,
        }
        if settings.eps is not None:
            group["eps"] = settings.eps
        param_groups.append(group)
    return param_groups


def _make_muon(param_groups: list[dict], config: TrainConfig) -> torch.optim.Optimizer:
    """Momentum made orthogonal (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982).

    Query, key and value are one matrix here, and so are gate and up.
    """
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(
            f"optimizer 'muon' needs torch 2.9 or later, and this is {torch.__version__}: use adamw"
        )
    return torch.optim.Muon(param_groups, **_muon_settings(config))
