"""Parts of bench_gpu.py with several runs at once: compilation, streams, processes."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from gpu_training import MIDDLE, SHAPES, Bench, Training

PARTS = Path(__file__).with_name("gpu_parts.py")
NO_MIX_ORDER = {"triton.mix_order_reduction": False}  # or TORCHINDUCTOR_MIX_ORDER_REDUCTION=0


def start(bench: Bench, part: str, **options) -> subprocess.Popen:
    """A part in a process beside this one."""
    command = [sys.executable, str(PARTS), part, str(bench.rows), *["--tiny"] * bench.tiny]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen(command)


# --------------------------------------------------------------- compilation


def compile_cold(bench: Bench):
    """Seconds to the first step of each shape, four processes at once, as workers would start."""
    jobs = [{"shape": name} for name in SHAPES]
    jobs.append({"shape": MIDDLE, "variant": "no_mix_order"})
    processes = [start(bench, "first_step", **job) for job in jobs]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise RuntimeError(f"exit codes of {len(jobs)} first steps: {codes}")


def first_step(bench: Bench, shape: str, variant: str | None):
    options = {}
    if variant == "no_mix_order" and bench.has_cuda:
        options["options"] = NO_MIX_ORDER
    training = bench.train(shape, warm_up=2, **options)
    name = " ".join(filter(None, (shape, variant)))
    bench.row(f"{name}: first step, four compile at once", training.first_seconds[0], "s")


# ------------------------------------------------------------------- streams


def streams(bench: Bench):
    """One to four recorded runs in one process, each on a stream of its own."""
    if bench.needs_cuda("runs on streams"):
        return
    runs = []
    alone = None
    for count in range(1, 5):
        runs.append((bench.train(MIDDLE, graph=True), torch.cuda.Stream()))
        remark = "" if all(run.is_graph for run, _ in runs) else "not all of them are graphs"
        rate = rate_on_streams(runs, 3 * bench.steps)
        alone = alone or rate
        what = f"{MIDDLE}: {count} on streams, together"
        bench.row(what, rate / 1e6, "M tokens/s", remark=f"{rate / alone:.2f} of one {remark}")


def rate_on_streams(runs: list[tuple[Training, torch.cuda.Stream]], steps: int) -> float:
    """Tokens per second of all runs together."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(steps):
        for run, stream in runs:
            with torch.cuda.stream(stream):
                run.steps(1)
    torch.cuda.synchronize()
    tokens = len(runs) * steps * runs[0][0].config.batch_tokens
    return tokens / (time.perf_counter() - began)


# ----------------------------------------------------------------- processes


def processes(bench: Bench):
    """One to three runs in processes of their own, as a pool has them; MPS is left as it is."""
    phases = [("one by one", 1), ("one by one", 3)]
    if bench.has_cuda:
        phases = [("as a graph", 1), ("as a graph", 2), ("as a graph", 3), *phases]
    seconds = 0.3 if bench.tiny else 4.0
    rates = meet(bench, phases, seconds)
    alone = {}
    for (kind, count), rate in zip(phases, rates, strict=True):
        what = f"{MIDDLE}: {count} processes {kind}, together"
        if rate is None:
            bench.row(what, remark="a step could not be recorded")
            continue
        alone.setdefault(kind, rate)
        bench.row(what, rate / 1e6, "M tokens/s", remark=f"{rate / alone[kind]:.2f} of one")


def meet(bench: Bench, phases: list[tuple[str, int]], seconds: float) -> list[float | None]:
    """Tokens per second of all workers together in each phase; they begin when all are ready.

    None where one of them could not record its step.
    """
    plan = json.dumps([seconds, phases])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        numbers = range(max(count for _, count in phases))
        workers = [start(bench, "worker", place=place, number=n, plan=plan) for n in numbers]
        while len(list(place.glob("ready-*"))) < len(workers):
            if any(worker.poll() for worker in workers):
                raise RuntimeError("a worker failed")
            time.sleep(0.05)
        (place / "beside").write_text(str(time.time() + 0.5))
        (place / "beside").rename(place / "go")
        codes = [worker.wait() for worker in workers]
        if any(codes):
            raise RuntimeError("a worker failed")
        rates = [json.loads((place / f"rates-{n}").read_text()) for n in numbers]
    together = []
    for phase in zip(*rates, strict=True):
        together.append(None if None in phase else sum(phase))
    return together


def worker(bench: Bench, place: str, number: int, plan: str):
    """Train in the phases that have room for this worker."""
    seconds, phases = json.loads(plan)
    kinds = {kind for kind, _ in phases}
    trainings = {kind: bench.train(MIDDLE, graph=kind == "as a graph") for kind in kinds}
    Path(place, f"ready-{number}").touch()
    go = Path(place, "go")
    while not go.exists():
        time.sleep(0.01)

    began = float(go.read_text())
    rates = []
    for phase, (kind, count) in enumerate(phases):
        rate = 0.0
        training = trainings[kind]
        time.sleep(max(0.0, began + phase * seconds - time.time()))
        if kind == "as a graph" and not training.is_graph:
            rate = None
        elif number < count:
            rate = rate_until(training, began + (phase + 0.9) * seconds)
        rates.append(rate)
    Path(place, f"rates-{number}").write_text(json.dumps(rates))


def rate_until(training: Training, end: float) -> float:
    """Tokens per second of steps up to that time; the device is waited for every tenth step."""
    tokens = 0
    began = time.time()
    while tokens == 0 or time.time() < end:
        training.seconds(10)
        tokens += 10 * training.config.batch_tokens
    return tokens / (time.time() - began)
