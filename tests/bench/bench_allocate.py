"""How long does `allocate` take, by budget, vocabulary and kind of embedding?

    python tests/bench/bench_allocate.py

Prints milliseconds, the median of five. The targets are 50 ms at 10M and 1 s at 100M.
"""

import itertools
import statistics
import time

import pandas as pd

from paramalloc.allocation import allocate
from paramalloc.errors import InfeasibleError

SHARES = (0.05, 0.25, 0.35, 0.45, 0.6)
EXPANSIONS = (1.0, 2.66, 4.0)
TOTALS = (10**6, 10**7, 10**8)
VOCABULARIES = (256, 4_096, 16_000, 65_536)
EMBEDDINGS = ("tied", "untied", "factorized")
REPEATS = 5


def is_feasible(*request) -> bool:
    try:
        allocate(*request)
    except InfeasibleError:  # finding the nearest feasible request is part of the answer
        return False
    return True


def milliseconds(total_params: int, vocab_size: int, embedding: str) -> str:
    """The median over requests and the slowest, with the number of feasible requests."""
    times = []
    feasible = 0
    for share, glu in itertools.product(SHARES, EXPANSIONS):
        laps = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            answer = is_feasible(total_params, share, glu, vocab_size, embedding)
            laps.append(1e3 * (time.perf_counter() - start))
        times.append(statistics.median(laps))
        feasible += answer
    return f"{statistics.median(times):.1f} / {max(times):.0f} ({feasible})"


def main() -> None:
    rows = []
    for total, vocab in itertools.product(TOTALS, VOCABULARIES):
        row = {"total_params": f"{total:,}", "vocab_size": f"{vocab:,}"}
        for embedding in EMBEDDINGS:
            row[embedding] = milliseconds(total, vocab, embedding)
        rows.append(row)
    requests = len(SHARES) * len(EXPANSIONS)
    print(f"milliseconds, median / slowest over {requests} requests (of which feasible)")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
