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
ROOM = 0.75  # of the device's memory, for the models of a batch


class Stopwatch:
    """Measures one shape at a time on a device: it is prepared, visited, and its columns taken.

    The model is kept in between, so that it is compiled and recorded once, and no visit counts it.
    """

    def __init__(self, device: str) -> None:
        self.device = pick_device(device)
        self.name = device_name(self.device)
        self.threads = torch.get_num_threads()
        self.kept: dict[int, Bench] = {}
        keep_freed_memory()

    def batches(self, shapes: list[TimedShape]) -> list[list[TimedShape]]:
        """The shapes in batches whose models fit into memory together."""
        room = ROOM * (device_memory(self.device) or math.inf)
        batches = [shapes[:1]]
        for shape in shapes[1:]:
            if bytes_together([*batches[-1], shape], self.device) > room:
                batches.append([])
            batches[-1].append(shape)
        return batches

    def prepare(self, shape: TimedShape) -> None:
        """Build the model of a shape, with all that its first steps take longer for."""
        bench = Bench(shape, self.device)
        bench.warm_up()
        self.kept[id(shape)] = bench

    def visit(self, shape: TimedShape) -> Speeds:
        """The speeds of a shape, measured once."""
        return self.kept[id(shape)].visit()

    def columns(self, shape: TimedShape) -> dict[str, Any]:
        """What is recorded of a shape that was visited; its model is let go."""
        bench = self.kept.pop(id(shape))
        about = {
            "inference_device": self.name,
            "speeds": "alone",
            "speeds_threads": self.threads,
            "speeds_width": shape.width if math.isfinite(shape.width) else None,
            "graphed": bench.learner.graph is not None,
        }
        memory = bench.memory()
        bench.learner.release()
        return shape.speeds | memory | about


def bytes_together(shapes: list[TimedShape], device: torch.device) -> int:
    """Memory while one of the shapes trains and the others are kept, by the ledger."""
    kept = largest = 0
    for shape in shapes:
        recipe = shape.recipe
        needed = memory_bytes(shape.model, recipe["seq_len"], recipe["batch_tokens"])
        largest = max(largest, needed["training"])
        if device.type == "cuda":  # a recorded step keeps its memory
            kept += 2 * needed["training"]
        else:
            kept += needed["training"] - needed["activations"]
    return kept + largest


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
        self.count = 1  # steps that are timed together

    def warm_up(self) -> None:
        """Compile and record a step, make the optimizer's moments; see how long a step takes."""
        self.steps(2 if self.learner.graph is None else ORDINARY_STEPS + 2)
        self.count = math.ceil(STRETCH_S / measure_seconds(self.learner.device, self.steps))

    def visit(self) -> Speeds:
        """The speeds, measured once."""
        return {"tokens_per_s": self._train()} | self._serve()

    def memory(self) -> dict[str, int]:
        """Bytes that inference takes."""
        seq_len = self.config.seq_len
        return stored_bytes(self.server, self.dtype) | serving_memory(self.server, seq_len)

    def _train(self) -> float:
        """Tokens per second of whole training steps."""
        if self.count > 1:
            self.steps()  # others were visited since
        seconds = measure_seconds(self.learner.device, lambda: self.steps(self.count))
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
