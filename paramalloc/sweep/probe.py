"""How long a training step takes on this machine, and scoring a token: a few of each, at random.

python -m paramalloc.sweep.probe < configs.json        one JSON object a line, one for each config
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from ..allocation import allocation
from ..config import TrainConfig
from ..evaluation import split_losses
from ..model import DecoderLM, keep_freed_memory, pick_device, pick_precision, synchronize
from ..training import Learner

PROBED_STEPS = 4
SCORED_TOKENS = 4_096
STEP_TOKENS = 4_096  # of a probed step on a CPU, at most: time grows in proportion there


def probe_speed(config: TrainConfig) -> dict[str, float]:
    """Seconds of a training step (`step_s`) and of scoring a token (`score_s`).

    A step's is the median, after one that warms up; on a CPU a large one is measured in part.
    """
    device = pick_device(config.device)
    precision = pick_precision(config.precision, device)
    shape = allocation(config).model
    learner = Learner(config, DecoderLM(shape, config.parametrization), device, precision)

    # Training steps.
    rows = config.batch_tokens // config.seq_len
    probed = rows
    if device.type == "cpu":
        probed = max(1, min(rows, STEP_TOKENS // config.seq_len))
    steps = Steps(learner, probed)
    seconds = [measure_seconds(device, steps) for _ in range(PROBED_STEPS)]

    # Scoring, after one pass that warms up.
    tokens = np.random.default_rng(0).integers(1, shape.vocab_size, SCORED_TOKENS)

    def score() -> None:
        split_losses(learner.model, tokens, config.seq_len)

    score()
    return {
        "step_s": statistics.median(seconds[1:]) * rows / probed,
        "score_s": measure_seconds(device, score) / SCORED_TOKENS,
    }


class Steps:
    """Training steps of a learner on a batch of random tokens, `rows` windows of them."""

    def __init__(self, learner: Learner, rows: int) -> None:
        self.learner = learner
        size = (2, rows, learner.config.seq_len)
        vocab_size = learner.model.config.vocab_size
        # Drawn on the CPU: a recording that failed leaves torch's generator on a GPU unusable.
        self.x, self.y = torch.randint(vocab_size, size).to(learner.device)

    def __call__(self, count: int = 1) -> None:
        for _ in range(count):
            self.learner.step(self.x, self.y, 1e-6)


def measure_seconds(device: torch.device, work: Callable[[], None]) -> float:
    """Wall seconds of some work, until the device is done with it."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


if __name__ == "__main__":
    keep_freed_memory()
    for values in json.load(sys.stdin):
        print(json.dumps(probe_speed(TrainConfig.from_dict(values))), flush=True)
