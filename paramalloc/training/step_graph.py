"""The whole step of a learner as one CUDA graph: recorded once, then replayed.

A deep and narrow model launches a thousand short kernels a step, and the host falls behind. A graph
is launched as one. What it reads and writes has to stay where it is: batches are copied into two
buffers, learning rates are tensors that are filled, and the learner counts in place.

The first steps are ordinary ones: they compile, tune kernels and make the optimizer's moments. The
next one is recorded, and taken twice from the same state: replayed, and as an ordinary step. Where
the two disagree, or the step cannot be recorded, all further steps of the process are ordinary too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config import TrainConfig
from ..errors import ConfigError
from ..model import release_memory

if TYPE_CHECKING:
    from .learner import Learner

ORDINARY_STEPS = 3
# How far apart a replayed step and an ordinary one may be, as a part of how far the step goes. The
# order in which a GPU adds up moves it by far less, a rate or a batch of another step by more.
TOLERANCE = 0.1

# Why recordings of this process were given up. After one nothing is recorded any more: torch keeps
# traces of a recording that broke off, which a second one would meet.
_failures: list[str] = []


def wants_graph(config: TrainConfig, device: torch.device, precision: str, compiled: bool) -> bool:
    """Whether steps are to be recorded; ConfigError where `graph` is on and they cannot be."""
    obstacle = _find_obstacle(config, device, precision)
    if config.graph == "on" and obstacle:
        raise ConfigError(f"graph is on, but {obstacle}: use graph auto or off")
    wanted = config.graph == "on"
    if config.graph == "auto":
        wanted = obstacle is None and compiled and precision == "bf16"
    if wanted and _failures:
        _say_one_by_one(f"as before in this process: {_failures[0]}")
    return wanted and not _failures


def _find_obstacle(config: TrainConfig, device: torch.device, precision: str) -> str | None:
    """Why steps cannot be recorded; None where they can."""
    if device.type != "cuda":
        return f"only a CUDA device records steps, and this is the {device.type.upper()}"
    if config.optimizer != "adamw":
        return f"{config.optimizer} waits for the device at every step"
    if precision == "fp16":
        return "float16 waits for the device at every step, to find a scale for its gradients"
    return None


def _say_one_by_one(reason: str) -> None:
    print(f"graph: the steps of this run are launched one by one ({reason})", flush=True)


class StepGraph:
    """Takes the steps of a learner: the first ones as they are, then by replaying a recording.

    `recorder` is a `CudaRecorder`, or what stands in for one in a test.
    """

    def __init__(self, learner: Learner, recorder):
        self.learner = learner
        self.recorder = recorder
        self.ordinary_steps = 0
        self.replay: Callable[[], None] | None = None

        # What the recording reads and writes
        self.x: Tensor
        self.y: Tensor
        self.rates: list[Tensor] = []
        self.loss: Tensor | None = None

    def step(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """As `Learner.step`."""
        if self.ordinary_steps < ORDINARY_STEPS:
            self.ordinary_steps += 1
            with self.recorder.beside():
                return self.learner.ordinary_step(x, y, lr)
        if self.replay is None or self._is_outdated():
            return self._begin(x, y, lr)
        return self._replay(x, y, lr).clone()

    def release(self) -> None:
        """Give the recording's memory back."""
        self.replay = None
        self.loss = None
        self.recorder.release()

    def give_up(self, reason: str) -> None:
        """From here on all steps of this process are ordinary ones."""
        _failures.append(reason)
        _say_one_by_one(reason)
        self.release()
        self._use_numbers()
        self.learner.graph = None

    def _is_outdated(self) -> bool:
        """Whether a checkpoint was loaded since: the optimizer has other tensors then."""
        rates = [group["lr"] for group in self._groups()]
        return any(now is not then for now, then in zip(rates, self.rates, strict=True))

    def _replay(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        self.x.copy_(x)
        self.y.copy_(y)
        self.learner.set_rates(lr)
        self.replay()
        return self.loss

    # ----------------------------------------------------------- recording

    def _begin(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """Record the step, and prove it by this one; without a proof the learner goes on alone."""
        loss = None
        try:
            self._record(x, y)
            before, replayed = self._try_out(x, y, lr)
            loss = self.learner.ordinary_step(x, y, lr)
            if _agree(before, replayed, self.learner.state()):
                release_memory()  # of ordinary steps: the recording has its own
                return loss
            reason = "a replayed step differs from an ordinary one"
        except Exception as error:  # that memory ran out, too: alone, an ordinary step may fit
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"

        self.give_up(reason)
        if loss is None:
            self.learner.model.zero_grad()
            loss = self.learner.ordinary_step(x, y, lr)
        return loss

    def _record(self, x: Tensor, y: Tensor) -> None:
        self.x = x.clone()
        self.y = y.clone()
        self._use_tensors()
        try:
            self._set_capturable(True)
            self.replay = self.recorder.record(self._recorded)
        finally:
            self._set_capturable(False)  # torch warns of ordinary steps that have it
            self.learner.model.zero_grad()

    def _recorded(self) -> None:
        self.loss = self.learner.update(self.x, self.y)

    def _try_out(self, x: Tensor, y: Tensor, lr: float) -> tuple[list[Tensor], list[Tensor]]:
        """The learner's state before a replayed step, to which it is put back, and after it."""
        state = self.learner.state()
        before = _copies(state)
        try:
            self._replay(x, y, lr)
            return before, _copies(state)
        finally:
            for value, start in zip(state, before, strict=True):
                value.copy_(start)

    # -------------------------------------------------------- the optimizer

    def _groups(self) -> list[dict]:
        return [group for each in self.learner.optimizers for group in each.param_groups]

    def _use_tensors(self) -> None:
        """Rates as tensors: a number would be recorded as it is now.

        They hold float32, as torch's kernel takes them; a number is taken in float64. So the rate
        of a replayed step may differ from that of an ordinary one by 6e-8 of itself.
        """
        self.rates = [torch.zeros((), device=self.learner.device) for _ in self._groups()]
        for group, rate in zip(self._groups(), self.rates, strict=True):
            group["lr"] = rate

    def _use_numbers(self) -> None:
        for group in self._groups():
            group["lr"] = 0.0

    def _set_capturable(self, capturable: bool) -> None:
        for group in self._groups():
            group["capturable"] = capturable


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    """Copies in the computer's memory: the device's may be short, and its peak is recorded."""
    return [tensor.to("cpu", copy=True) for tensor in tensors]


def _agree(before: list[Tensor], replayed: list[Tensor], taken: list[Tensor]) -> bool:
    """Whether each tensor of the state ends in both steps at about the same place."""
    moved = torch.stack(_distances(before, taken))
    apart = torch.stack(_distances(replayed, taken))
    return bool((apart <= TOLERANCE * moved).all())


def _distances(copies: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
    pairs = zip(copies, tensors, strict=True)
    return [torch.linalg.vector_norm(one.to(other.device) - other) for one, other in pairs]
