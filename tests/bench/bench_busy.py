"""How threads wait: tokens per second of training, quiet and beside one busy core.

    python tests/bench/bench_busy.py [--rounds 16] [--seconds 3] [--also GOMP_SPINCOUNT=1000 …]

Contestants, each in a process of its own: torch's default, in which threads spin; paramalloc's, in
which they sleep; and with `--also` any other setting. They take turns in random order, so that what
else the machine does meets them all. At 10M parameters (profile study) and at profile quick's.
Beside the busy core there are a quarter of the rounds: a step with spinning threads takes a minute.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time

DEFAULT = "torch's default"
OURS = "paramalloc"
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


# -------------------------------------------------------------- a contestant


def work(profile: str, seconds: float) -> None:
    """Train for some seconds at each line of standard input; print the tokens per second."""
    import torch

    from paramalloc.allocation import allocation
    from paramalloc.config import TrainConfig
    from paramalloc.model import DecoderLM, keep_freed_memory, pick_device, pick_precision
    from paramalloc.training import Learner

    keep_freed_memory()
    config = TrainConfig.from_dict({"profile": profile})
    cpu = pick_device("cpu")
    model = DecoderLM(allocation(config).model)
    learner = Learner(config, model, cpu, pick_precision("auto", cpu))
    x, y = torch.randint(config.vocab_size, (2, 4, config.seq_len))
    for _ in sys.stdin:
        steps = 0
        started = time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            learner.step(x, y, 1e-6)
            steps += 1
        print(json.dumps(steps * x.numel() / spent), flush=True)


def start_contestant(name: str, profile: str, seconds: float) -> subprocess.Popen:
    """It waits, warm, for its first turn."""
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    first = "torch" if name == DEFAULT else "paramalloc"
    if "=" in name:
        environment |= dict([name.split("=")])
    code = f"import {first}, bench_busy; bench_busy.work({profile!r}, {seconds})"
    contestant = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=os.path.dirname(__file__),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    take_turn(contestant)
    return contestant


def take_turn(contestant: subprocess.Popen) -> float:
    contestant.stdin.write("\n")
    contestant.stdin.flush()
    return json.loads(contestant.stdout.readline())


# ---------------------------------------------------------------------- all


def measure(profile: str, names: list[str], arguments: argparse.Namespace) -> None:
    """Print the speeds of a profile, quiet and busy, and their ratios to torch's default, quiet."""
    contestants = {name: start_contestant(name, profile, arguments.seconds) for name in names}
    quiet = take_turns(contestants, arguments.rounds)
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    busy = take_turns(contestants, max(2, arguments.rounds // 4))
    for process in (burner, *contestants.values()):
        process.kill()
    for name in names:
        ratios = [ours / theirs for ours, theirs in zip(quiet[name], quiet[DEFAULT], strict=True)]
        best = statistics.median(quiet[DEFAULT])
        print(
            f"{profile:6} {name:22} quiet {statistics.median(quiet[name]):7,.0f} tokens/s, "
            f"{describe(ratios)} of the default   busy {statistics.median(busy[name]):7,.0f}, "
            f"{describe([speed / best for speed in busy[name]])} of quiet",
            flush=True,
        )


def take_turns(contestants: dict, rounds: int) -> dict[str, list[float]]:
    speeds = {name: [] for name in contestants}
    for _ in range(rounds):
        for name in random.sample(list(contestants), len(contestants)):
            speeds[name].append(take_turn(contestants[name]))
    return speeds


def describe(ratios: list[float]) -> str:
    """Their mean, with two standard errors."""
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    return f"{statistics.mean(ratios):.3f} ± {2 * error:.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", nargs="?", help=argparse.SUPPRESS)  # make bench names one
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--profiles", nargs="+", default=["study", "quick"])
    parser.add_argument("--also", nargs="+", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    for profile in arguments.profiles:
        measure(profile, [DEFAULT, OURS, *arguments.also], arguments)
