"""A model with its optimizers on a device: one step, one probe."""

import numpy as np
import torch

from ..config import TrainConfig
from ..data import Batches
from ..evaluation import as_perplexity, mean_loss
from ..model import (
    DecoderLM,
    autocast,
)
from .optimizer import make_optimizers

# ---------------------------------------------------------------------- loop

_compiled_for: list = []  # what the graph that torch holds was made for


def compiled(model: DecoderLM, *key):
    """model.loss, compiled. Weights are inputs of the graph, so the next run of the same shape and `key` takes it as it is."""
    if _compiled_for != [model.config, *key]:
        torch.compiler.reset()  # one graph of static shapes; after eight torch would quietly stop compiling
        _compiled_for[:] = [model.config, *key]
    return torch.compile(model.loss)


class Feed:
    """x, y (B, T) of each step on the device. On a GPU the text lies there too: only where windows start is sent."""

    def __init__(self, batches: Batches, device: torch.device, resident: bool | None = None):
        self.batches, self.device = batches, device
        self.resident = device.type != "cpu" if resident is None else resident
        if self.resident:
            self.tokens = torch.from_numpy(np.asarray(batches.tokens).astype(np.int32)).to(device)
            self.offsets = torch.arange(batches.seq_len + 1, device=device)

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.resident:
            return tuple(
                torch.from_numpy(part).to(self.device).contiguous() for part in self.batches(step)
            )
        starts = torch.from_numpy(self.batches.starts(step)).to(self.device, non_blocking=True)
        rows = self.tokens[(starts[:, None] + self.offsets) % len(self.tokens)].long()
        return rows[:, :-1].contiguous(), rows[
            :, 1:
        ].contiguous()  # a graph is compiled for strides, and probes are dense


class Learner:
    """A model with its optimizers on a device: `step` trains it on one batch, `probe` scores it."""

    def __init__(self, config: TrainConfig, model: DecoderLM, device: torch.device, precision: str):
        self.config, self.model, self.device, self.precision = (
            config,
            model.to(device),
            device,
            precision,
        )
        self.optimizers = make_optimizers(self.model, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        wanted = config.compile == "on" or config.compile == "auto" and device.type == "cuda"
        self.compiled = (
            compiled(model, config.seq_len, config.batch_tokens, precision, device)
            if wanted
            else None
        )
        self.loss = self.compiled or model.loss
        self.bad, self.good = torch.zeros((), device=device), torch.zeros((), device=device)

    def step(self, x: torch.Tensor, y: torch.Tensor, lr: float) -> torch.Tensor:
        """One update on tokens x and targets y (B, T); the loss stays on the device.

        From the first loss or gradient on that is not finite nothing is updated any more, and nobody waits for the device
        to know: `bad` is 1 then, and `good` counts the steps before. (float16 has infinite gradients now and then; its
        scaler leaves those steps out.)
        """
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = lr * group["lr_scale"]
        with autocast(self.precision, self.device):
            loss = self.loss(x, y)
        self.scaler.scale(loss).backward()
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        finite = torch.isfinite(loss.detach()) & (self.scaler.is_enabled() | torch.isfinite(norm))
        self.bad = torch.maximum(self.bad, (~finite).float())
        self.good += 1 - self.bad
        for optimizer in self.optimizers:
            self.update(optimizer)
        self.scaler.update()
        self.model.zero_grad()
        return loss.detach()

    def update(self, optimizer: torch.optim.Optimizer):
        if not self.scaler.is_enabled():
            if optimizer.defaults.get("fused"):
                optimizer.found_inf = self.bad  # what a fused optimizer asks before it updates
            elif self.bad:  # Muon does not ask: here the device is waited for
                return
        self.scaler.step(optimizer)

    def probe(self, tokens: np.ndarray) -> dict[str, float]:
        with autocast(self.precision, self.device):
            batch = (
                {"batch_tokens": self.config.batch_tokens, "compiled": self.compiled}
                if self.compiled
                else {}
            )
            loss = mean_loss(self.model, tokens, self.config.seq_len, **batch)
        return {"dev_loss": loss, "dev_ppl": as_perplexity(loss)}
