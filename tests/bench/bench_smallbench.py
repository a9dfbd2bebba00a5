"""BLiMP at 10M parameters: sentences as trees against each sentence alone, in seconds.

    python tests/bench/bench_smallbench.py DATASET          10 of the 67 paradigms
    python tests/bench/bench_smallbench.py DATASET --all    all of them, with trees only

Sentences alone go in batches of equal length.
"""

import sys
import time
from itertools import groupby

import pandas as pd
import torch

from paramalloc.allocation import allocate
from paramalloc.config import ROOT
from paramalloc.data import prepare
from paramalloc.evaluation.likelihood import BATCH_NODES, log_likelihoods, packs
from paramalloc.evaluation.scoring import encode
from paramalloc.evaluation.sets import Set, load_sets
from paramalloc.model import DecoderLM, token_losses

SHARES = (0.25, 0.35, 0.45)


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
    likelihood = log_likelihoods(model, texts, scored)[0].sum()
    row = {"embedding share": f"{share:.0%}", "trees": time.perf_counter() - start}
    if every:
        return row
    start = time.perf_counter()
    expected = score_alone(model, texts)
    row["alone"] = time.perf_counter() - start
    row["ratio"] = row["alone"] / row["trees"]
    assert abs(likelihood / expected - 1) < 1e-5
    return row


def main(*words: str) -> None:
    every = "--all" in words
    names = [word for word in words if word != "--all"] or ["builtin"]
    corpus = prepare(names[0], 16_000, ROOT / "outputs")
    sets = {part.name: part for part in load_sets("../shared/data")[0]}
    if "blimp" not in sets:
        print("bench_smallbench: needs blimp in ../shared/data")
        return
    part = choose_paradigms(sets["blimp"], every)
    texts, scored = encode(part, corpus.tokenizer, 512)
    rows = [time_share(share, texts, scored, every) for share in SHARES]

    paradigms = len({item.group for item in part.items})
    tokens = sum(map(len, texts))
    in_trees = sum(len(pack.tokens) for pack in packs(texts, scored))
    print(
        f"{paradigms} paradigms, {len(part.items):,} pairs, {tokens:,} tokens, "
        f"{in_trees:,} in trees; {torch.get_num_threads()} threads, float32"
    )
    print(pd.DataFrame(rows).round(2).to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
