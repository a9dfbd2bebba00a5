"""How long does `allocate` take? Time of one solution against budget, vocabulary and kind of embedding.

    python tests/bench/bench_allocate.py

Prints milliseconds, the median of five; the targets are 50 ms at 10M and 1 s at 100M.
"""

import statistics
import time

import pandas as pd

from paramalloc.allocation import allocate
from paramalloc.errors import InfeasibleError

SHARES, EXPANSIONS = (0.05, 0.25, 0.35, 0.45, 0.6), (1.0, 2.66, 4.0)


def milliseconds(total_params: int, vocab_size: int, embedding: str) -> str:
    """The median over requests, and the slowest, of which how many are feasible."""
    times, feasible = [], 0
    for share in SHARES:
        for glu in EXPANSIONS:
            laps = []
            for _ in range(5):
                start = time.perf_counter()
                try:
                    allocate(total_params, share, glu, vocab_size, embedding)
                    found = 1
                except (
                    InfeasibleError
                ):  # finding the nearest feasible request is part of the answer
                    found = 0
                laps.append(1e3 * (time.perf_counter() - start))
            times.append(statistics.median(laps))
            feasible += found
    return f"{statistics.median(times):.1f} / {max(times):.0f} ({feasible})"


if __name__ == "__main__":
    rows = [
        {"total_params": f"{total:,}", "vocab_size": f"{vocab:,}"}
        | {kind: milliseconds(total, vocab, kind) for kind in ("tied", "untied", "factorized")}
        for total in (10**6, 10**7, 10**8)
        for vocab in (256, 4_096, 16_000, 65_536)
    ]
    print(
        f"milliseconds, median / slowest over {len(SHARES) * len(EXPANSIONS)} requests (of which feasible)"
    )
    print(pd.DataFrame(rows).to_string(index=False))
