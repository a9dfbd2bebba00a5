"""A model with its optimizers on a device: one step, one probe.

Shapes: B sequences of T = seq_len tokens; B T = batch_tokens.
"""

import numpy as np
import torch
from torch import Tensor

from ..config import TrainConfig
from ..evaluation import sum_losses
from ..model import DecoderLM, autocast, is_out_of_memory
from .compiled import compile_loss
from .optimizer import make_optimizers
from .recorder import CudaRecorder
from .step_graph import StepGraph, wants_graph


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
            self.compiled = compile_loss(
                model, config.seq_len, config.batch_tokens, precision, device
            )
        self.loss = self.compiled or model.loss
        self.diverged = torch.zeros((), device=device)  # 1 from the first value that is not finite
        self.finite_steps = torch.zeros((), device=device)  # how many steps there were before it
        self.graph = None
        if wants_graph(config, device, precision, self.compiled is not None):
            self.graph = StepGraph(self, CudaRecorder(device))

    def step(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """One update at rate `lr` on tokens x and targets y (B, T); returns the loss.

        The loss, (), in nats per token, stays on the device, and nobody waits for the device here.
        After the first loss or gradient that is not finite no weight is updated any more:
        `diverged` is 1 then, and `finite_steps` counts the steps before. (float16 has infinite
        gradients now and then; its scaler leaves those steps out.)
        """
        if self.graph is not None:
            return self.graph.step(x, y, lr)
        return self.ordinary_step(x, y, lr)

    def ordinary_step(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """A step whose kernels are launched one by one."""
        self.set_rates(lr)
        return self.update(x, y)

    def update(self, x: Tensor, y: Tensor) -> Tensor:
        """A step at the rates that are set: nothing but work for the device, which counts in place.

        So it can be recorded (step_graph.py).
        """
        # forward and backward
        with autocast(self.precision, self.device):
            loss = self.loss(x, y)
        self.scaler.scale(loss).backward()
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)

        # note whether all is finite
        finite = torch.isfinite(loss.detach()) & (self.scaler.is_enabled() | torch.isfinite(norm))
        torch.maximum(self.diverged, (~finite).float(), out=self.diverged)
        self.finite_steps += 1 - self.diverged

        # update
        for optimizer in self.optimizers:
            self._update(optimizer)
        self.scaler.update()
        self.model.zero_grad()
        return loss.detach()

    @property
    def is_warming_up(self) -> bool:
        """Whether the next step comes before a recording that is replayed, or makes it."""
        return self.graph is not None and self.graph.replay is None

    def probe(self, tokens: np.ndarray) -> Tensor:
        """Nats of all `tokens` (N,) in the precision of training; they stay on the device, ().

        Where memory does not hold a probe beside a recorded step, the recording is given up.
        """
        try:
            return self._probe(tokens)
        except RuntimeError as error:
            if self.graph is None or not is_out_of_memory(error):
                raise
        self.graph.give_up("memory does not hold a probe beside a recorded step")
        return self._probe(tokens)

    def _probe(self, tokens: np.ndarray) -> Tensor:
        batches = {}
        if self.compiled:
            batches = {"batch_tokens": self.config.batch_tokens, "compiled": self.compiled}
        with autocast(self.precision, self.device):
            return sum_losses(self.model, tokens, self.config.seq_len, **batches)

    def set_rates(self, lr: float):
        """Set the rate of each group; where it is a tensor, in place."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                rate = lr * group["lr_scale"]
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)
                else:
                    group["lr"] = rate

    def state(self) -> list[Tensor]:
        """All that a step changes: weights, moments, counts."""
        moments = []
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                moments += state.values()
        weights = [weight.detach() for weight in self.model.parameters()]
        return [*weights, *moments, self.diverged, self.finite_steps]

    def release(self) -> None:
        """Give the memory of a recorded step back; steps after this one are ordinary."""
        if self.graph is not None:
            self.graph.release()
            self.graph = None

    def _update(self, optimizer: torch.optim.Optimizer):
        if not self.scaler.is_enabled():
            if optimizer.defaults.get("fused"):
                optimizer.found_inf = self.diverged  # a fused optimizer asks this before it updates
            elif self.diverged:  # Muon does not ask: here the device is waited for
                return
        self.scaler.step(optimizer)
