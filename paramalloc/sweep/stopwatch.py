"""Measure a shape's speeds on this machine: training, prompts, decoding."""

import math
from typing import Any

import torch

from ..allocation import memory_bytes
from ..config import TrainConfig
from ..evaluation.inference import (
    SERVED,
    copy_to_serve,
    inference_dtype,
    serve,
    serving_memory,
    serving_speeds,
    stored_bytes,
)
from ..model import (
    DecoderLM,
    device_memory,
    device_name,
    keep_freed_memory,
    pick_device,
    pick_precision,
)
from ..training import Learner
from ..training.step_graph import ORDINARY_STEPS
from .probe import Steps, measure_seconds
from .timing import Speeds, TimedShape

STRETCH_S = 0.25  # seconds of training that are timed together, at the least


class Stopwatch:
    """Measures one shape at a time on a device.

    Models are kept for their next visit where all fit into half of the memory, as they train.
    """

    def __init__(self, device: str, shapes: list[TimedShape]) -> None:
        self.device = pick_device(device)
        self.name = device_name(self.device)
        self.threads = torch.get_num_threads()
        self.kept: dict[int, Bench] = {}
        needed = sum(training_bytes(shape) for shape in shapes)
        self.keeps = needed < (device_memory(self.device) or math.inf) / 2
        keep_freed_memory()

    def visit(self, shape: TimedShape) -> Speeds:
        """The speeds of a shape, measured once."""
        bench = self._take(shape)
        speeds = bench.visit()
        if self.keeps:
            self.kept[id(shape)] = bench
        else:
            bench.learner.release()
        return speeds

    def columns(self, shape: TimedShape) -> dict[str, Any]:
        """What is recorded of a shape that was visited; its model is let go."""
        bench = self._take(shape)
        memory = bench.memory()
        bench.learner.release()
        place = {
            "inference_device": self.name,
            "speeds": "alone",
            "speeds_threads": self.threads,
        }
        return shape.speeds | memory | place

    def _take(self, shape: TimedShape) -> "Bench":
        """The model of a shape that was kept, or a new one."""
        kept = self.kept.pop(id(shape), None)
        return kept or Bench(shape, self.device)


def training_bytes(shape: TimedShape) -> int:
    """Memory to train a shape, by the ledger."""
    recipe = shape.recipe
    return memory_bytes(shape.model, recipe["seq_len"], recipe["batch_tokens"])["training"]


class Bench:
    """A model of a shape with fresh weights, which is trained and serves."""

    def __init__(self, shape: TimedShape, device: torch.device) -> None:
        self.config = train_config(shape, device)
        precision = pick_precision(self.config.precision, device)
        torch.manual_seed(0)
        model = DecoderLM(shape.model, self.config.parametrization)
        self.dtype = inference_dtype(device, precision)
        self.server = copy_to_serve(model, self.dtype, device)
        self.learner = Learner(self.config, model, device, precision)
        self.steps = Steps(self.learner, self.config.batch_tokens // self.config.seq_len)
        self.count = 0  # steps that are timed together; 0 before the first visit

    def visit(self) -> Speeds:
        """The speeds, measured once, after a warm-up."""
        return {"tokens_per_s": self._train()} | self._serve()

    def memory(self) -> dict[str, int]:
        """Bytes that inference takes."""
        seq_len = self.config.seq_len
        return stored_bytes(self.server, self.dtype) | serving_memory(self.server, seq_len)

    def _train(self) -> float:
        """Tokens per second of whole training steps."""
        device = self.learner.device
        if not self.count:
            # a graph is compiled and recorded, the optimizer makes its moments
            self.steps(2 if self.learner.graph is None else ORDINARY_STEPS + 2)
            self.count = math.ceil(STRETCH_S / measure_seconds(device, self.steps))
        elif self.count > 1:
            self.steps()
        seconds = measure_seconds(device, lambda: self.steps(self.count))
        return self.count * self.config.batch_tokens / seconds

    def _serve(self) -> Speeds:
        """Times of generating; the visits are what repeats them."""
        for batch in (1, SERVED):
            serve(self.server, batch, self.config.seq_len, 2)
        return serving_speeds(self.server, self.config.seq_len, repeats=1)


def train_config(shape: TimedShape, device: torch.device) -> TrainConfig:
    """The recipe of a shape: as it was trained, or on another device as it would be trained there.

    Only what a speed depends on is the runs' own.
    """
    recipe = dict(shape.recipe)
    same_device = recipe.pop("device") == device_name(device)
    compiled = recipe.pop("compiled")
    recipe["compile"] = "auto"
    if not same_device:
        recipe["precision"] = "auto"
    elif compiled is not None:
        recipe["compile"] = "on" if compiled else "off"
    budget = {"vocab_size": shape.model.vocab_size, "tokens": recipe["batch_tokens"]}
    return TrainConfig.from_dict(recipe | budget | {"profile": "quick"})
