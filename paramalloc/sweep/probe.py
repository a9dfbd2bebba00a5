"""How long a training step takes on this machine, and scoring a token: a few of each, on random tokens.

python -m paramalloc.sweep.probe < configs.json        one JSON object a line, one for each config
"""

import json
import statistics
import sys
import time

import numpy as np
import torch

from ..allocation import allocation
from ..config import TrainConfig
from ..evaluation import split_losses
from ..model import DecoderLM, keep_freed_memory, pick_device, pick_precision, synchronize
from ..training import Learner

STEPS, SCORED = 4, 4_096
AT_MOST = 4_096  # tokens of a probed step on a CPU, where time grows in proportion: twelve cells of the study would take a quarter of an hour


def probe_speed(config: TrainConfig) -> dict[str, float]:
    """Seconds of a step (the median, after one that warms up; from a part of a large one on a CPU) and of scoring a token."""
    device, shape = pick_device(config.device), allocation(config).model
    learner = Learner(
        config,
        DecoderLM(shape, config.parametrization),
        device,
        pick_precision(config.precision, device),
    )
    rows = config.batch_tokens // config.seq_len
    probed = max(1, min(rows, AT_MOST // config.seq_len)) if device.type == "cpu" else rows
    batch = torch.randint(shape.vocab_size, (2, probed, config.seq_len), device=device)
    seconds = [timed(device, lambda: learner.step(batch[0], batch[1], 1e-6)) for _ in range(STEPS)]
    tokens = np.random.default_rng(0).integers(1, shape.vocab_size, SCORED)
    score = lambda: split_losses(learner.model, tokens, config.seq_len)
    score()
    return {
        "step_s": statistics.median(seconds[1:]) * rows / probed,
        "score_s": timed(device, score) / SCORED,
    }


def timed(device: torch.device, work) -> float:
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


if __name__ == "__main__":
    keep_freed_memory()
    for values in json.load(sys.stdin):
        print(json.dumps(probe_speed(TrainConfig.from_dict(values))), flush=True)
