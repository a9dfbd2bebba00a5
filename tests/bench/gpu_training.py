"""What the parts of bench_gpu.py share: three shapes, and a learner that trains one of them."""

import gc
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from paramalloc.allocation import allocation
from paramalloc.config import TrainConfig
from paramalloc.data import Batches
from paramalloc.model import DecoderLM, pick_device, pick_precision, synchronize
from paramalloc.training import Learner
from paramalloc.training.feed import Feed
from paramalloc.training.optimizer import schedule

SHAPES = {  # embed_share and GLU, as the study's profile turns them into a width and a depth
    "160 x 29": {"embed_share": 0.25, "glu": 2.0},
    "224 x 11": {"embed_share": 0.35, "glu": 2.66},
    "288 x 4": {"embed_share": 0.45, "glu": 4.0},
}
MIDDLE = "224 x 11"
STUDY = {"profile": "study", "device": "cuda", "compile": "on", "early_stop": "off"}
TINY = {
    "profile": "quick",
    "total_params": 60_000,
    "vocab_size": 320,
    "tolerance": 0.1,
    "tokens": 2_048,
    "seq_len": 32,
    "batch_tokens": 256,
    "probes": 2,
    "probe_tokens": 256,
    "compile": "off",
    "early_stop": "off",
    "smallbench": "off",
}


class Bench:
    """Sizes of a measurement, and the file to which its rows are added at once."""

    def __init__(self, rows: Path, tiny: bool):
        self.rows = rows
        self.tiny = tiny
        self.parameters = TINY if tiny else STUDY
        self.steps = 2 if tiny else 20  # of a timing
        self.device = pick_device(self.parameters.get("device", "auto"))
        self.precision = pick_precision("auto", self.device)

    @property
    def has_cuda(self) -> bool:
        return self.device.type == "cuda"

    def row(self, what: str, value=None, unit="", predicted="", remark=""):
        row = {"what": what, "value": value, "unit": unit, "remark": remark}
        row["predicted"] = "" if self.tiny else predicted
        with open(self.rows, "a") as file:
            file.write(json.dumps(row) + "\n")

    def needs_cuda(self, what: str) -> bool:
        """Whether this cannot be measured here; then a row says so."""
        if not self.has_cuda:
            self.row(what, remark="needs CUDA")
        return not self.has_cuda

    def config(self, name: str, **values) -> TrainConfig:
        shape = SHAPES[name]
        if self.tiny:
            shape = shape | {"embed_share": 0.25}  # others have no room for a layer
        return TrainConfig.from_dict(self.parameters | shape | {"graph": "off"} | values)

    def train(self, name: str, graph: bool = False, **options) -> "Training":
        return Training(self, self.config(name, graph="on" if graph else "off"), **options)


class Training:
    """A learner on random text; its first steps are taken, and their seconds kept.

    `compile_options` go to torch.compile.
    """

    def __init__(self, bench: Bench, config: TrainConfig, warm_up: int = 6, **compile_options):
        self.config = config
        self.device = bench.device
        self.done = 0

        # the learner
        shape = allocation(config).model
        torch.manual_seed(config.seed)
        model = DecoderLM(shape, config.parametrization)
        self.learner = Learner(config, model, bench.device, bench.precision)
        if compile_options:
            self.learner.compiled = torch.compile(model.loss, dynamic=False, **compile_options)
            self.learner.loss = self.learner.compiled

        # its text
        text = np.random.default_rng(0).integers(0, shape.vocab_size, 2**20, dtype=np.uint16)
        rows = config.batch_tokens // config.seq_len
        self.feed = Feed(Batches(text, config.seq_len, rows, config.seed), bench.device)

        self.first_seconds = [self.seconds(1) for _ in range(warm_up)]

    def steps(self, count: int) -> list[torch.Tensor]:
        """The losses of so many steps."""
        losses = []
        for _ in range(count):
            x, y = self.feed(self.done)
            step = 1 + self.done % self.config.steps
            self.done += 1
            lr = self.config.lr * schedule(step, self.config.steps, self.config.warmup)
            losses.append(self.learner.step(x, y, lr))
        return losses

    def seconds(self, count: int) -> float:
        """Seconds of so many steps, begun and ended with an idle device."""
        synchronize(self.device)
        start = time.perf_counter()
        self.steps(count)
        synchronize(self.device)
        return time.perf_counter() - start

    @property
    def is_graph(self) -> bool:
        """Whether its steps are replayed; a graph that failed is none."""
        return self.learner.graph is not None

    def close(self):
        """Give its memory back."""
        self.learner.release()
        del self.learner, self.feed
        free_memory()


def free_memory():
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def interleaved(bench: Bench, trainings: dict[str, Training], rounds: int = 3) -> dict[str, float]:
    """Milliseconds of a step of each: medians of rounds in turn, as a machine drifts."""
    laps = {name: [] for name in trainings}
    for _ in range(rounds):
        for name, training in trainings.items():
            laps[name].append(1e3 * training.seconds(bench.steps) / bench.steps)
    return {name: statistics.median(times) for name, times in laps.items()}


def gain(before: float, after: float) -> float:
    """By how many per cent something is faster, from its times."""
    return 100 * (before / after - 1)
