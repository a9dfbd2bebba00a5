"""The parts of bench_gpu.py, each a process: gpu_parts.py PART ROWS.jsonl [--tiny].

A row is written as soon as it is measured: what, value, unit, predicted, remark.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from gpu_paths import broken, paths
from gpu_together import NO_MIX_ORDER, compile_cold, first_step, processes, streams, worker
from gpu_training import MIDDLE, SHAPES, Bench, Training, free_memory, gain, interleaved
from torch.nn.attention import SDPBackend, sdpa_kernel

from paramalloc.allocation import allocation
from paramalloc.data import Corpus
from paramalloc.model import synchronize
from paramalloc.training import train

# ------------------------------------------------------------------- profile


def profile(bench: Bench):
    """The card's ceilings, and what runs in a step."""
    measure_ceilings(bench)
    free_memory()
    training = bench.train(MIDDLE)
    milliseconds = 1e3 * training.seconds(bench.steps) / bench.steps
    bench.row(f"{MIDDLE}: a step", milliseconds, "ms", predicted="8.1 to 9.4 (H200)")
    report_kernels(bench, training)


def measure_ceilings(bench: Bench):
    """Copy bandwidth, read and write counted, and bf16 products of random data."""
    words, width = (2**30, 8192) if bench.has_cuda else (2**18, 128)
    source = torch.empty(words, dtype=torch.int32, device=bench.device).random_()
    target = torch.empty_like(source)
    seconds = repeated(bench, lambda: target.copy_(source))
    bench.row("copy", 2 * source.nbytes / seconds / 1e12, "TB/s", "4.3 (H200), 3.0 (H100)")
    a, b = torch.randn(2, width, width, device=bench.device, dtype=torch.bfloat16)
    seconds = repeated(bench, lambda: a @ b)
    bench.row("bf16 product", 2 * width**3 / seconds / 1e12, "TFLOP/s", "about 790")


def repeated(bench: Bench, compute, times: int = 10) -> float:
    """Seconds of a computation, after three that are left out."""
    for _ in range(3):
        compute()
    synchronize(bench.device)
    start = time.perf_counter()
    for _ in range(times):
        compute()
    synchronize(bench.device)
    return (time.perf_counter() - start) / times


def report_kernels(bench: Bench, training: Training, steps: int = 2):
    """How many there are, how busy they keep the device, the twenty largest."""
    trace_steps(bench, training, 1)  # the profiler's own start
    ran = trace_steps(bench, training, steps)
    if not ran:
        raise RuntimeError("the profiler saw nothing run")
    bench.row(f"{MIDDLE}: kernels of a step", len(ran) / steps, predicted="455")
    busy, span = busy_and_span(ran)
    bench.row(f"{MIDDLE}: part of the time in which one runs", busy / span, predicted="near 1")
    times = Counter()
    calls = Counter()
    for event in ran:
        times[event["name"]] += event["dur"] / 1e3 / steps
        calls[event["name"]] += 1
    for name, milliseconds in times.most_common(20):
        remark = f"{calls[name] / steps:g} a step"
        bench.row("  " + name[:62], milliseconds, "ms", remark=remark)


def trace_steps(bench: Bench, training: Training, steps: int) -> list[dict]:
    """What ran on the device; on a CPU, its operations."""
    kind = torch.profiler.ProfilerActivity
    activity, categories = kind.CPU, ["cpu_op"]
    if bench.has_cuda:
        activity, categories = kind.CUDA, ["kernel", "gpu_memcpy", "gpu_memset"]
    with torch.profiler.profile(activities=[activity]) as trace:
        training.seconds(steps)
    with tempfile.TemporaryDirectory() as folder:
        trace.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    return [event for event in events if event.get("cat") in categories and "dur" in event]


def busy_and_span(events: list[dict]) -> tuple[float, float]:
    """Microseconds in which something ran, and from the first start to the last end.

    >>> busy_and_span([{"ts": 0, "dur": 2}, {"ts": 1, "dur": 3}, {"ts": 8, "dur": 2}])
    (6.0, 10)
    """
    spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in events)
    first = end = spans[0][0]
    busy = 0.0
    for start, stop in spans:
        busy += max(0, stop - max(start, end))
        end = max(end, stop)
    return busy, end - first


# ------------------------------------------------------------------ variants


def variants(bench: Bench):
    """The step without mix-order reductions, and attention alone by backend."""
    if not bench.needs_cuda(f"{MIDDLE}: without mix-order reductions"):
        trainings = {"with": bench.train(MIDDLE)}
        trainings["without"] = bench.train(MIDDLE, options=NO_MIX_ORDER)
        times = interleaved(bench, trainings)
        for name, milliseconds in times.items():
            bench.row(f"{MIDDLE}: a step {name} mix-order reductions", milliseconds, "ms")
        bench.row("gain without them", gain(times["with"], times["without"]), "%")
        for training in trainings.values():
            training.close()
    for name in SHAPES:
        time_attention(bench, name)


def time_attention(bench: Bench, name: str):
    """Forward and backward of all layers' attention.

    Not inside a compiled step: torch's compile cache does not tell the backends apart.
    """
    config = bench.config(name)
    shape = allocation(config).model
    rows = config.batch_tokens // config.seq_len
    dtype = torch.bfloat16 if bench.has_cuda else torch.float32
    size = (3, rows, config.seq_len, shape.n_heads, shape.d_head)
    values = torch.randn(size, device=bench.device, dtype=dtype).transpose(2, 3)
    q, k, v = (part.detach().requires_grad_() for part in values)
    slope = torch.randn_like(q)

    def both_ways():
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        torch.autograd.grad(out, (q, k, v), slope)

    choices = {
        "torch's choice": nullcontext(),
        "flash": sdpa_kernel(SDPBackend.FLASH_ATTENTION),
        "cuDNN": sdpa_kernel(SDPBackend.CUDNN_ATTENTION),
    }
    for label, choice in choices.items():
        what = f"{name}: attention, {shape.n_layers} layers of {shape.d_head} wide heads, {label}"
        try:
            with choice:
                milliseconds = 1e3 * shape.n_layers * repeated(bench, both_ways)
        except RuntimeError as error:
            bench.row(what, remark=" ".join(str(error).split())[:80])
        else:
            bench.row(what, milliseconds, "ms")


# --------------------------------------------------------------------- graph


def graph(bench: Bench):
    """Steps launched one by one, and as one graph."""
    for name, predicted in zip(SHAPES, ("+10 to +25", "+5", "+3"), strict=True):
        trainings = {"one by one": bench.train(name)}
        if not bench.needs_cuda(f"{name}: as a graph"):
            recorded = record(bench, name)
            if recorded.is_graph:
                trainings["as a graph"] = recorded
            else:
                bench.row(f"{name}: as a graph", remark="it fell back to single launches")
        times = interleaved(bench, trainings)
        tokens = bench.config(name).batch_tokens
        for label, milliseconds in times.items():
            remark = f"{tokens / milliseconds / 1e3:.2f}M tokens/s"
            bench.row(f"{name}: a step {label}", milliseconds, "ms", remark=remark)
        if len(times) == 2:
            gained = gain(times["one by one"], times["as a graph"])
            bench.row(f"{name}: gain of the graph", gained, "%", predicted)
        for training in trainings.values():
            training.close()


def record(bench: Bench, name: str) -> Training:
    """A recorded run; what its recording takes, in seconds and in memory."""
    free_memory()
    before = torch.cuda.memory_reserved()
    training = bench.train(name, graph=True)
    bench.row(f"{name}: recording and its proof", max(training.first_seconds[2:]), "s")
    held = torch.cuda.memory_reserved() - before
    bench.row(f"{name}: memory of a recorded run", held / 1e9, "GB")
    return training


# --------------------------------------------------------------------- check


def check(bench: Bench):
    """One seed, three times: a graph may differ by no more than one by one from one by one."""
    count = 6 if bench.tiny else 100
    losses, weights = train_to(bench, count)
    bench.row(f"loss of step {count}", losses[-1].item(), "nats")
    again = compare(bench, "one by one, again", (losses, weights), train_to(bench, count))
    if bench.needs_cuda("the graph trains as single launches do"):
        return
    recorded = train_to(bench, count, graph=True)
    nats = compare(bench, "as a graph", (losses, weights), recorded)
    good = "yes" if nats <= max(3 * again, 0.005) else "NO"
    remark = "yes within 3 times the difference of two, or 0.005 nats"
    bench.row("the graph trains as single launches do", good, remark=remark)


def train_to(bench: Bench, count: int, graph: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses of `count` steps and of probes between them, and the weights after them."""
    training = bench.train(MIDDLE, graph=graph, warm_up=0)
    tokens = np.arange(training.config.probe_tokens) % training.config.vocab_size
    losses = []
    for step in range(count):
        if step % 10 == 5:  # between replays, as in a run
            losses.append(training.learner.probe(tokens) / len(tokens))
        losses += training.steps(1)
    losses = torch.stack([loss.double() for loss in losses]).cpu()
    weights = torch.nn.utils.parameters_to_vector(training.learner.model.parameters())
    weights = weights.detach().cpu().double()
    if graph and not training.is_graph:
        raise RuntimeError("the step could not be recorded: the log says why")
    training.close()
    return losses, weights


def compare(bench: Bench, label: str, first, second) -> float:
    """Rows of how far two trainings are apart; the largest difference of a loss, in nats."""
    nats = (first[0] - second[0]).abs().max().item()
    part = (first[1] - second[1]).norm() / first[1].norm()
    bench.row(f"{label}: largest difference of a loss", nats, "nats")
    bench.row(f"{label}: distance of the weights, of their norm", part.item())
    return nats


# -------------------------------------------------------------------- stages


def stages(bench: Bench, corpus: str | None):
    """Seconds of starting, compiling from a warm cache, probing, and measuring a run."""
    time_imports(bench)
    for name in ("160 x 29", "288 x 4"):
        start = time.perf_counter()
        training = bench.train(name, warm_up=1)
        seconds = training.first_seconds[0]
        bench.row(f"{name}: set-up", time.perf_counter() - start - seconds, "s")
        bench.row(f"{name}: first step, warm cache", seconds, "s")
        tokens = np.arange(training.config.probe_tokens) % training.config.vocab_size
        training.learner.probe(tokens)
        start = time.perf_counter()
        training.learner.probe(tokens)
        bench.row(f"{name}: a probe of dev", time.perf_counter() - start, "s")
        training.close()
    if corpus is None:
        bench.row("stages of a run", remark="give --corpus FOLDER")
    else:
        time_run(bench, corpus)


def time_imports(bench: Bench):
    """Seconds of a new process: torch, then what trains."""
    code = "import time; a = time.time(); import torch; b = time.time(); import paramalloc.training"
    code += "; print(b - a, time.time() - b)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name, seconds in zip(("torch", "paramalloc.training"), said.stdout.split(), strict=True):
        bench.row(f"import {name}", float(seconds), "s")


def time_run(bench: Bench, folder: str):
    """A short run with all that is measured after it: seconds of each stage, as it ends."""
    corpus = Corpus.open(Path(folder))
    stage = "training"
    start = time.perf_counter()

    def watch(record: dict):
        nonlocal stage, start
        now = time.perf_counter()
        if record.get("stage", stage) != stage:
            bench.row(f"a run of {tokens:,} tokens: {stage}", now - start, "s")
            stage, start = record["stage"], now

    with tempfile.TemporaryDirectory() as outputs:
        values = {"outputs": outputs, "vocab_size": corpus.meta["vocab_size"], "graph": "auto"}
        whole = bench.config(MIDDLE, **values)
        tokens = min(whole.tokens, 60 * whole.batch_tokens)
        train(bench.config(MIDDLE, **values, tokens=tokens, probes=2), corpus, watch)
    bench.row(f"a run of {tokens:,} tokens: {stage}", time.perf_counter() - start, "s")


# ---------------------------------------------------------------------- main

PARTS = {
    "compile": compile_cold,
    "graph": graph,
    "check": check,
    "paths": paths,
    "profile": profile,
    "variants": variants,
    "processes": processes,
    "streams": streams,
    "stages": stages,
    "first_step": first_step,
    "worker": worker,
    "broken": broken,
}
OPTIONS = {  # of the parts that take any
    "stages": ["corpus"],
    "first_step": ["shape", "variant"],
    "worker": ["place", "number", "plan"],
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--number", type=int)
    for name in ("corpus", "shape", "variant", "place", "plan"):
        parser.add_argument(f"--{name}")
    arguments = parser.parse_args()
    options = {name: getattr(arguments, name) for name in OPTIONS.get(arguments.part, [])}
    try:
        PARTS[arguments.part](Bench(arguments.rows, arguments.tiny), **options)
    except Exception as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # leaving torch's compile workers and CUDA can take minutes
