"""How fast the cells of a sweep train and decode, one after the other with nothing beside: what a sweep of several cells at a time cannot tell.

    python tests/bench/bench_cells.py [DATASET] [--sweep grid] [--profile auto] [--steps 30]

The first third of the steps (compilation, warm-up) is not timed. Writes outputs/bench/cells.csv, a row at once for each cell.
"""

import argparse
import csv
import sys
import time

import torch

from paramalloc.allocation import allocation
from paramalloc.config import ROOT
from paramalloc.data import Batches, prepare
from paramalloc.evaluation.inference import inference_cost
from paramalloc.model import (
    DecoderLM,
    device_name,
    keep_freed_memory,
    peak_memory,
    pick_device,
    pick_precision,
    reset_peak_memory,
    synchronize,
)
from paramalloc.sweep import load_sweep
from paramalloc.training import Learner
from paramalloc.training.feed import Feed

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def measured(cell, corpus, steps: int) -> dict:
    """Tokens per second of training steps, and the inference cost, as a run's result has them."""
    config, shape = cell.config.runs()[0], allocation(cell.config)
    device = pick_device(config.device)
    precision = pick_precision(config.precision, device)
    feed = Feed(
        Batches(corpus.split("train"), config.seq_len, config.batch_tokens // config.seq_len, 0),
        device,
    )
    reset_peak_memory(device)
    learner = Learner(config, DecoderLM(shape.model, config.parametrization), device, precision)
    for step in range(steps):
        if step == steps // 3:
            synchronize(device)
            start = time.perf_counter()
        learner.step(*feed(step), config.lr)
    synchronize(device)
    seconds, peak = time.perf_counter() - start, peak_memory(device)
    dtype = torch.float32 if device.type == "cpu" else DTYPES[precision]
    return {
        "cell": cell.name,
        "embed_share": shape.embed_share,
        "glu": shape.glu,
        "d_model": shape.model.d_model,
        "n_layers": shape.model.n_layers,
        "device": device_name(device),
        "precision": precision,
        "tokens_per_s": (steps - steps // 3) * config.batch_tokens / seconds,
        "peak_memory_bytes": peak,
    } | inference_cost(learner.model.eval(), config.seq_len, dtype)


def main(arguments):
    sweep = load_sweep(arguments.sweep, profile=arguments.profile, dataset=arguments.dataset)
    path = ROOT / "outputs" / "bench" / "cells.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    with open(path, "w", newline="") as file:
        for number, cell in enumerate(sweep.cells):
            row = measured(
                cell,
                prepare(arguments.dataset, cell.config.vocab_size, ROOT / "outputs"),
                arguments.steps,
            )
            writer = csv.DictWriter(file, row)
            if not number:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            print(
                f"{cell.name:32} {row['tokens_per_s']:>12,.0f} tokens/s   {row['decode_ms_per_token']:.2f} ms a token   "
                f"{row['prefill_tokens_per_s']:>12,.0f} prompt tokens/s",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", nargs="?", default="builtin")
    parser.add_argument("--sweep", default="grid")
    parser.add_argument("--profile", default="auto")
    parser.add_argument("--steps", type=int, default=30)
    sys.exit(main(parser.parse_args()))
