"""A model with its optimizers on a device: one step, one probe.

Shapes: B sequences of T = seq_len tokens; B T = batch_tokens.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from ..config import TrainConfig
from ..evaluation import sum_losses
from ..model import DecoderLM, autocast
from .optimizer import make_optimizers


class Learner:
    """A model with its optimizers on a device: `step` trains it on one batch, `probe` scores it."""

    def __init__(self, config: TrainConfig, model: DecoderLM, device: torch.device, precision: str):
        self.config = config
        self.model = model.to(device)
        self.device = device
        self.precision = precision
        self.optimizers = make_optimizers(self.model, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.compiled = None
        if config.compile == "on" or (config.compile == "auto" and device.type == "cuda"):
            # What determines the static shapes of the graph; weights are inputs of it.
            start_graphs(model.config, config.seq_len, config.batch_tokens, precision, device)
            self.compiled = torch.compile(model.loss)
        self.loss = self.compiled or model.loss
        self.diverged = torch.zeros((), device=device)  # 1 from the first value that is not finite
        self.finite_steps = torch.zeros((), device=device)  # how many steps there were before it

    def step(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """One update at rate `lr` on tokens x and targets y (B, T); returns the loss.

        The loss, (), in nats per token, stays on the device, and nobody waits for the device here.
        After the first loss or gradient that is not finite no weight is updated any more:
        `diverged` is 1 then, and `finite_steps` counts the steps before. (float16 has infinite
        gradients now and then; its scaler leaves those steps out.)
        """
        self._set_rate(lr)

        # forward and backward
        with autocast(self.precision, self.device):
            loss = self.loss(x, y)
        self.scaler.scale(loss).backward()
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)

        # note whether all is finite
        finite = torch.isfinite(loss.detach()) & (self.scaler.is_enabled() | torch.isfinite(norm))
        self.diverged = torch.maximum(self.diverged, (~finite).float())
        self.finite_steps += 1 - self.diverged

        # update
        for optimizer in self.optimizers:
            self._update(optimizer)
        self.scaler.update()
        self.model.zero_grad()
        return loss.detach()

    def probe(self, tokens: np.ndarray) -> Tensor:
        """Nats of all `tokens` (N,) in the precision of training; they stay on the device, ()."""
        batches = {}
        if self.compiled:
            batches = {"batch_tokens": self.config.batch_tokens, "compiled": self.compiled}
        with autocast(self.precision, self.device):
            return sum_losses(self.model, tokens, self.config.seq_len, **batches)

    def _set_rate(self, lr: float):
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * group["lr_scale"]

    def _update(self, optimizer: torch.optim.Optimizer):
        if not self.scaler.is_enabled():
            if optimizer.defaults.get("fused"):
                optimizer.found_inf = self.diverged  # a fused optimizer asks this before it updates
            elif self.diverged:  # Muon does not ask: here the device is waited for
                return
        self.scaler.step(optimizer)


@functools.lru_cache(maxsize=1)
def start_graphs(*key) -> None:
    """Drop the graphs that torch holds for this process, unless this was the last key as well.

    After eight graphs torch would quietly stop compiling. Runs of one key share theirs.
    """
    torch.compiler.reset()
