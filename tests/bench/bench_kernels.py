"""The CPU's attention and cross-entropy against torch's own, at the study's shapes.

    python tests/bench/bench_kernels.py

Prints milliseconds of forward and backward together. Shapes: B sequences, H heads, T tokens,
D width, V vocabulary.
"""

import statistics
import time

import pandas as pd
import torch
import torch.nn.functional as F

from paramalloc.model import keep_freed_memory, pick_precision
from paramalloc.model.kernels import causal_attention, cross_entropy

ATTENTION_SHAPES = [  # B, H, T, D
    (1, 4, 512, 56),
    (8, 4, 512, 40),
    (8, 4, 512, 56),
    (8, 5, 512, 56),
    (4, 1, 128, 60),
]
LOSS_SHAPES = [(512, 88, 4_096), (512, 224, 16_000), (4096, 224, 16_000)]  # T, D, V


def milliseconds(compute, inputs, repeats: int = 12) -> float:
    """The median of forward and backward together, the first two left out."""
    laps = []
    for _ in range(repeats):
        start = time.perf_counter()
        compute(*inputs).sum().backward()
        laps.append(1e3 * (time.perf_counter() - start))
    return statistics.median(laps[2:])


def torch_attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def torch_cross_entropy(hidden, table, targets):
    return F.cross_entropy(F.linear(hidden, table).float(), targets)


def time_attention(shape, dtype) -> dict:
    inputs = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3)]
    return {
        "kernel": "attention",
        "shape": " x ".join(map(str, shape)),
        "paramalloc": milliseconds(causal_attention, inputs),
        "torch": milliseconds(torch_attention, inputs),
    }


def time_cross_entropy(shape, dtype) -> dict:
    tokens, width, vocab = shape
    hidden = torch.randn(tokens, width, dtype=dtype, requires_grad=True)
    table = torch.randn(vocab, width, dtype=dtype, requires_grad=True)
    inputs = (hidden, table, torch.randint(vocab, (tokens,)))
    return {
        "kernel": "cross-entropy",
        "shape": " x ".join(map(str, shape)),
        "paramalloc": milliseconds(cross_entropy, inputs),
        "torch": milliseconds(torch_cross_entropy, inputs),
    }


def main() -> None:
    keep_freed_memory()
    dtype = torch.float32
    if pick_precision("auto", torch.device("cpu")) == "bf16":
        dtype = torch.bfloat16
    rows = [time_attention(shape, dtype) for shape in ATTENTION_SHAPES]
    rows += [time_cross_entropy(shape, dtype) for shape in LOSS_SHAPES]
    table = pd.DataFrame(rows)
    table["ratio"] = table.torch / table.paramalloc
    precision = str(dtype).removeprefix("torch.")
    print(f"{torch.get_num_threads()} threads, {precision}, milliseconds forward and backward")
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    main()
