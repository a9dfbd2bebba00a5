"""How fast do the cells of a sweep train and decode, one after the other on an idle machine?

    python tests/bench/bench_cells.py [DATASET] [--sweep grid] [--profile auto] [--steps 30]

A sweep of several cells at a time cannot tell. The first third of the steps (compilation, warm-up)
is not timed. Writes outputs/bench/cells.csv, each row as soon as its cell is measured.
"""

import argparse
import csv
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


def measure_cell(cell, corpus, steps: int) -> dict:
    """Tokens per second of training steps, and the inference cost, as a run's result has them."""
    config = cell.config.runs()[0]
    shape = allocation(cell.config)
    device = pick_device(config.device)
    precision = pick_precision(config.precision, device)
    rows = config.batch_tokens // config.seq_len
    feed = Feed(Batches(corpus.split("train"), config.seq_len, rows, 0), device)

    # Training.
    reset_peak_memory(device)
    learner = Learner(config, DecoderLM(shape.model, config.parametrization), device, precision)
    untimed = steps // 3
    for step in range(steps):
        if step == untimed:
            synchronize(device)
            start = time.perf_counter()
        learner.step(*feed(step), config.lr)
    synchronize(device)
    seconds = time.perf_counter() - start

    row = {
        "cell": cell.name,
        "embed_share": shape.embed_share,
        "glu": shape.glu,
        "d_model": shape.model.d_model,
        "n_layers": shape.model.n_layers,
        "device": device_name(device),
        "precision": precision,
        "tokens_per_s": (steps - untimed) * config.batch_tokens / seconds,
        "peak_memory_bytes": peak_memory(device),
    }

    # Decoding; on a CPU in float32.
    dtype = torch.float32 if device.type == "cpu" else DTYPES[precision]
    return row | inference_cost(learner.model.eval(), config.seq_len, dtype)


def main(arguments: argparse.Namespace) -> None:
    sweep = load_sweep(arguments.sweep, profile=arguments.profile, dataset=arguments.dataset)
    path = ROOT / "outputs" / "bench" / "cells.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    with open(path, "w", newline="") as file:
        for number, cell in enumerate(sweep.cells):
            corpus = prepare(arguments.dataset, cell.config.vocab_size, ROOT / "outputs")
            row = measure_cell(cell, corpus, arguments.steps)
            writer = csv.DictWriter(file, row)
            if number == 0:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            print(
                f"{cell.name:32} {row['tokens_per_s']:>12,.0f} tokens/s   "
                f"{row['decode_ms_per_token']:.2f} ms a token   "
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
    main(parser.parse_args())
