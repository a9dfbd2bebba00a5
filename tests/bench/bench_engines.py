"""The quick grid by the pool and by papermill, a share at a time in turn: times and results.

python tests/bench/bench_engines.py [DATASET]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from paramalloc.config import ROOT
from paramalloc.runs import load_runs

SHARES = (0.25, 0.35, 0.45)
POOL = ("--engine", "pool", "--notebooks", "off")
VIEWS = ("--engine", "pool", "--notebooks", "after")  # of what the pool has trained
PAPERMILL = ("--engine", "papermill")
ORDERS = ((POOL, VIEWS, PAPERMILL), (PAPERMILL, POOL, VIEWS), (POOL, VIEWS, PAPERMILL))

# What a run says of its own times, its place in a process of many runs, and its beginning.
TIMED = [
    *("created", "commit", "tokens_per_s", "wall_s", "outside_steps_share", "peak_memory_bytes"),
    "beside",
]


def main() -> None:
    dataset = sys.argv[1] if len(sys.argv) > 1 else "builtin"
    seconds = dict.fromkeys((POOL, VIEWS, PAPERMILL), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        for share, order in zip(SHARES, ORDERS, strict=True):
            path = write_sweep(Path(folder), share, dataset)
            for words in order:
                taken = run_sweep(path, Path(folder, words[1]), words)
                seconds[words] += taken
                print(f"share {share:.0%}, {' '.join(words)}: {taken:.1f} s", flush=True)
        pool = load_runs(Path(folder, "pool")).set_index("run_id").sort_index()
        papermill = load_runs(Path(folder, "papermill")).set_index("run_id").sort_index()
    results = [frame.drop(columns=TIMED) for frame in (pool, papermill)]
    print(
        f"{len(pool)} runs; every result equal to the last digit: {results[0].equals(results[1])}"
    )
    print(f"pool {seconds[POOL]:.0f} s, its notebooks {seconds[VIEWS]:.0f} s")
    print(f"papermill {seconds[PAPERMILL]:.0f} s")
    print(f"ratio {seconds[POOL] / seconds[PAPERMILL]:.2f}")


def write_sweep(folder: Path, share: float, dataset: str) -> Path:
    """The cells of the quick grid that have one share."""
    axes = {"embed_share": [share], "glu": [2.0, 2.66, 3.0, 4.0]}
    parameters = {"dataset": dataset, "smallbench": "off"}
    path = folder / f"share-{share}.yaml"
    path.write_text(yaml.safe_dump({"profile": "quick", "axes": axes, "parameters": parameters}))
    return path


def run_sweep(path: Path, outputs: Path, words: tuple[str, ...]) -> float:
    """Seconds of the command."""
    command = [sys.executable, "-m", "paramalloc", "sweep", str(path), "--outputs", str(outputs)]
    started = time.perf_counter()
    subprocess.run(
        [*command, "--jobs", "auto", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
