"""The CPU's attention and cross-entropy beside torch's own: milliseconds forward and backward, at the study's shapes.

python tests/bench/bench_kernels.py
"""

import statistics
import sys
import time

import pandas as pd
import torch
import torch.nn.functional as F

from paramalloc.model import keep_freed_memory, pick_precision
from paramalloc.model.kernels import causal_attention, cross_entropy


def milliseconds(compute, inputs, repeats: int = 12) -> float:
    """The median of forward and backward together."""
    laps = []
    for _ in range(repeats):
        start = time.perf_counter()
        compute(*inputs).sum().backward()
        laps.append(1e3 * (time.perf_counter() - start))
    return statistics.median(laps[2:])


def main():
    keep_freed_memory()
    dtype = (
        torch.bfloat16 if pick_precision("auto", torch.device("cpu")) == "bf16" else torch.float32
    )
    rows = []
    for batch, heads, length, width in (
        (1, 4, 512, 56),
        (8, 4, 512, 40),
        (8, 4, 512, 56),
        (8, 5, 512, 56),
        (4, 1, 128, 60),
    ):
        inputs = [
            torch.randn(batch, heads, length, width, dtype=dtype, requires_grad=True)
            for _ in range(3)
        ]
        rows.append(
            {
                "kernel": "attention",
                "shape": f"{batch} x {heads} x {length} x {width}",
                "paramalloc": milliseconds(causal_attention, inputs),
                "torch": milliseconds(
                    lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), inputs
                ),
            }
        )
    for tokens, width, vocab in ((512, 88, 4_096), (512, 224, 16_000), (4096, 224, 16_000)):
        x, table = (
            torch.randn(size, width, dtype=dtype, requires_grad=True) for size in (tokens, vocab)
        )
        targets = torch.randint(vocab, (tokens,))
        rows.append(
            {
                "kernel": "cross-entropy",
                "shape": f"{tokens} x {width} x {vocab}",
                "paramalloc": milliseconds(
                    lambda x, table: cross_entropy(x, table, targets), (x, table)
                ),
                "torch": milliseconds(
                    lambda x, table: F.cross_entropy(F.linear(x, table).float(), targets),
                    (x, table),
                ),
            }
        )
    table = pd.DataFrame(rows).assign(ratio=lambda row: row.torch / row.paramalloc)
    print(
        f"{torch.get_num_threads()} threads, {str(dtype).removeprefix('torch.')}, milliseconds forward and backward"
    )
    print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
