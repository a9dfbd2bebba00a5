"""A part of bench_gpu.py: what a recorded step meets in a study, at 60,000 parameters.

Each run is compared with the same run one by one. The recording that breaks off comes last, in a
process of its own, as it leaves traces there.
"""

import gc
import tempfile
from pathlib import Path

import numpy as np
import torch
from gpu_together import start
from gpu_training import TINY, Bench

from paramalloc.config import TrainConfig
from paramalloc.data import Corpus, prepare
from paramalloc.errors import InterruptedRunError
from paramalloc.training import Learner, step_graph, train

STEPS = 40
NATS = 0.01  # as far may a graph's dev loss be from that of single launches
MIDWAY = STEPS // 2 * TINY["batch_tokens"]


def paths(bench: Bench):
    """Probes between replays, two shapes in one process, a checkpoint, a recording that fails."""
    if bench.needs_cuda("runs with a recorded step"):
        return
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        for glu in (2.0, 4.0):
            report(bench, f"a graph of GLU {glu:g}", run(bench, corpus, "on", glu), corpus, glu)
        report(bench, "a graph, stopped and resumed", resume(bench, corpus), corpus)
    if start(bench, "broken").wait():
        raise RuntimeError("the run whose recording breaks off failed")


def broken(bench: Bench):
    """A recording that is not allowed: the run goes on without it, and so does its process."""
    update = Learner.update

    def wait(learner: Learner, x, y):
        loss = update(learner, x, y)
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()
        return loss

    Learner.update = wait
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder))
        dev_loss = run(bench, corpus, "on")
        held = memory_held()
        report(bench, "a graph that breaks off", dev_loss, corpus, broken=True)
    bench.row("memory that torch holds after it", held / 1e6, "MB")
    try:
        torch.randint(9, (3,), device=bench.device)
    except RuntimeError as error:
        bench.row("random numbers after it", remark=" ".join(str(error).split())[:80])
    else:
        bench.row("random numbers after it", "yes")


def report(
    bench: Bench,
    what: str,
    dev_loss: float,
    corpus: Corpus,
    glu: float = 2.0,
    broken: bool = False,
):
    """A row: whether the run ended as the same one does one by one, and what was to be recorded."""
    apart = abs(dev_loss - run(bench, corpus, "off", glu))
    fell_back = bool(step_graph._failures)
    good = "yes" if apart <= NATS and fell_back == broken else "NO"
    remark = f"{apart:.2g} nats apart"
    if fell_back:
        remark += ", one by one"
    bench.row(f"{what}: trains as single launches do", good, remark=remark)


def resume(bench: Bench, corpus: Corpus) -> float:
    """The dev loss of a run that was stopped midway, and went on from its checkpoint."""

    def stop(record: dict):
        if record["tokens"] == MIDWAY:
            raise InterruptedRunError("midway")

    with tempfile.TemporaryDirectory() as outputs:
        config = configure(bench, "on", 2.0, outputs)
        try:
            train(config, corpus, stop)
        except InterruptedRunError:
            [result] = train(config, corpus)
            return result["dev_loss"]
    raise RuntimeError(f"the run did not stop at {MIDWAY} tokens")


def run(bench: Bench, corpus: Corpus, graph: str, glu: float = 2.0) -> float:
    with tempfile.TemporaryDirectory() as outputs:
        [result] = train(configure(bench, graph, glu, outputs), corpus)
    return result["dev_loss"]


def configure(bench: Bench, graph: str, glu: float, outputs: str) -> TrainConfig:
    values = {
        "embed_share": 0.25,
        "glu": glu,
        "tokens": STEPS * TINY["batch_tokens"],
        "probes": 4,
        "checkpoint_seconds": 0,
        "device": bench.device.type,
        "graph": graph,
        "outputs": outputs,
    }
    return TrainConfig.from_dict(TINY | values)


def make_corpus(folder: Path) -> Corpus:
    """Documents of made-up words."""
    generator = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(generator.choice(letters, size)) for size in generator.integers(2, 9, 200)]
    texts = [" ".join(generator.choice(words, 40)) for _ in range(200)]
    (folder / "text.txt").write_text("\n\n".join(texts))
    return prepare(str(folder / "text.txt"), TINY["vocab_size"], folder / "outputs")


def memory_held() -> int:
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved()
