"""SmallBench: sentences as trees, and what a second model of a tokenizer need not do again.

    python tests/bench/bench_smallbench.py DATASET            10 of BLiMP's 67 paradigms
    python tests/bench/bench_smallbench.py DATASET --all      all of them, with trees only
    python tests/bench/bench_smallbench.py DATASET --second   all sets, of one model after another

The first two take BLiMP at 10M parameters, in seconds; sentences alone go in batches of equal
length. The third takes SmallBench in full at 1M parameters and a vocabulary of 4,096: of a first
model, of another one of its shape and seed, and of one with another seed. Each is measured as in a
process of its own, with what the ones before it kept beside the corpus. `quick` beside `--second`
takes SmallBench's quick part.
"""

import functools
import shutil
import sys
import tempfile
import time
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch

from paramalloc.allocation import allocate
from paramalloc.config import ROOT
from paramalloc.data import Corpus, prepare
from paramalloc.evaluation import controls, kept, sets
from paramalloc.evaluation.controls import Untrained
from paramalloc.evaluation.likelihood import log_likelihoods
from paramalloc.evaluation.scoring import encode
from paramalloc.evaluation.sets import Set, load_sets
from paramalloc.evaluation.smallbench import run_smallbench
from paramalloc.evaluation.trees import BATCH_NODES, plant
from paramalloc.model import DecoderLM, token_losses

SHARES = (0.25, 0.35, 0.45)
SETS = "../shared/data"


@torch.inference_mode()
def score_alone(model: DecoderLM, texts: list[list[int]]) -> float:
    """The sum of all log-probabilities, nothing shared and nothing padded."""
    total = 0.0
    for length, same in groupby(sorted(texts, key=len), key=len):
        for batch in torch.tensor(list(same)).split(max(1, BATCH_NODES // length)):
            hidden = model.read_out(batch[:, :-1]).flatten(0, 1)
            losses = token_losses(hidden, model.tables[-1], batch[:, 1:].flatten())
            total -= losses.double().sum().item()
    return total


def choose_paradigms(blimp: Set, every: bool) -> Set:
    """All paradigms, or each seventh."""
    paradigms = sorted({item.group for item in blimp.items})
    if not every:
        paradigms = paradigms[::7]
    return Set("blimp", [item for item in blimp.items if item.group in set(paradigms)])


def time_share(share: float, texts, scored, every: bool) -> dict:
    """Seconds of both ways for one shape; the sums of log-probabilities have to agree."""
    shape = allocate(10_000_000, embed_share=share, glu=2.66, vocab_size=16_000).model
    model = DecoderLM(shape).eval()
    start = time.perf_counter()
    trees = plant(texts, scored)
    row = {"embedding share": f"{share:.0%}", "planting": time.perf_counter() - start}
    likelihood = log_likelihoods(model, trees)[0].sum()
    row["trees"] = time.perf_counter() - start
    if every:
        return row
    start = time.perf_counter()
    expected = score_alone(model, texts)
    row["alone"] = time.perf_counter() - start
    row["ratio"] = row["alone"] / row["trees"]
    assert abs(likelihood / expected - 1) < 1e-5
    return row


def bench_trees(dataset: str, every: bool) -> None:
    """BLiMP as trees against each sentence alone."""
    corpus = prepare(dataset, 16_000, ROOT / "outputs")
    [blimp] = [part for part in load_sets(SETS)[0] if part.name == "blimp"]
    part = choose_paradigms(blimp, every)
    texts, scored = encode(part, corpus.tokenizer, 512)
    rows = [time_share(share, texts, scored, every) for share in SHARES]
    print(
        f"{len(set(part.groups))} paradigms, {len(part.items):,} pairs, "
        f"{sum(map(len, texts)):,} tokens, {len(plant(texts, scored).tokens):,} in trees; "
        f"{torch.get_num_threads()} threads, float32"
    )
    print(pd.DataFrame(rows).round(2).to_string(index=False))


def time_model(name: str, corpus: Corpus, size: str, seed: int) -> dict:
    """Seconds of SmallBench of one model, in all and in its two networks."""
    kept._memory.clear()  # as in a new process
    sets._read_local_files.cache_clear()
    shape = allocate(1_000_000, embed_share=0.35, glu=2.66, vocab_size=4_096).model
    start = Untrained(shape, "standard", seed, torch.device("cpu"))
    model = DecoderLM(shape)
    in_networks = []

    @functools.wraps(log_likelihoods)
    def timed(*arguments):
        began = time.perf_counter()
        found = log_likelihoods(*arguments)
        in_networks.append(time.perf_counter() - began)
        return found

    controls.log_likelihoods = timed
    began = time.perf_counter()
    run_smallbench(model, start, corpus, 512, load_sets(SETS)[0], size, lambda *_: None)
    seconds = time.perf_counter() - began
    row = {"model": name, "seconds": seconds, "in networks": sum(in_networks)}
    return row | {"outside": seconds - sum(in_networks)}


def bench_second(dataset: str, size: str) -> None:
    """SmallBench of three models of one tokenizer, the first with nothing kept."""
    corpus = prepare(dataset, 4_096, ROOT / "outputs")
    with tempfile.TemporaryDirectory() as folder:
        ignored = shutil.ignore_patterns("*.safetensors", "lease")
        place = shutil.copytree(corpus.folder, Path(folder, "corpus"), ignore=ignored)
        bare = Corpus.open(place)
        rows = [
            time_model("first", bare, size, seed=0),
            time_model("second, same shape and seed", bare, size, seed=0),
            time_model("third, another seed", bare, size, seed=1),
        ]
        mebibytes = sum(path.stat().st_size for path in place.glob("*.safetensors")) / 2**20
    frame = pd.DataFrame(rows)
    frame["of the first"] = frame["seconds"] / frame["seconds"][0]
    print(
        f"SmallBench {size}, 1M parameters, vocabulary of 4,096; {torch.get_num_threads()} "
        f"threads, float32; {mebibytes:.0f} MiB kept beside the corpus"
    )
    print(frame.round(2).to_string(index=False))


def main(*words: str) -> None:
    names = [word for word in words if word not in ("--all", "--second", "quick")]
    [dataset] = names or ["builtin"]
    if "blimp" not in {part.name for part in load_sets(SETS)[0]}:
        print(f"bench_smallbench: needs blimp in {SETS}")
    elif "--second" in words:
        size = "quick" if "quick" in words else "full"
        bench_second(dataset, size)
    else:
        bench_trees(dataset, "--all" in words)


if __name__ == "__main__":
    main(*sys.argv[1:])
