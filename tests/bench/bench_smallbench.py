"""BLiMP at 10M parameters: trees of sentences beside each sentence alone (in batches of equal length), in seconds.

python tests/bench/bench_smallbench.py DATASET          10 of the 67 paradigms
python tests/bench/bench_smallbench.py DATASET --all    all of them, with trees
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


@torch.inference_mode()
def one_by_one(model: DecoderLM, texts: list[list[int]]) -> float:
    """The sum of all log-probabilities, nothing shared and nothing padded."""
    total = 0.0
    for length, same in groupby(sorted(texts, key=len), key=len):
        for batch in torch.tensor(list(same)).split(max(1, BATCH_NODES // length)):
            hidden = model.read_out(batch[:, :-1]).flatten(0, 1)
            total -= (
                token_losses(hidden, model.tables[-1], batch[:, 1:].flatten()).double().sum().item()
            )
    return total


def seconds(work) -> tuple[float, float]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def main():
    dataset, every = (
        ([name for name in sys.argv[1:] if name != "--all"] or ["builtin"])[0],
        "--all" in sys.argv,
    )
    corpus = prepare(dataset, 16_000, ROOT / "outputs")
    blimp = next((part for part in load_sets("../shared/data")[0] if part.name == "blimp"), None)
    if blimp is None:
        return print("bench_smallbench: needs blimp in ../shared/data")
    paradigms = sorted({item.group for item in blimp.items})[:: 1 if every else 7]
    part = Set("blimp", [item for item in blimp.items if item.group in set(paradigms)])
    texts, scored = encode(part, corpus.tokenizer, 512)
    sizes = f"{len(part.items):,} pairs, {sum(map(len, texts)):,} tokens, {sum(len(pack.tokens) for pack in packs(texts, scored)):,} in trees"
    rows = []
    for share in (0.25, 0.35, 0.45):
        model = DecoderLM(
            allocate(10_000_000, embed_share=share, glu=2.66, vocab_size=16_000).model
        ).eval()
        trees, sums = seconds(lambda: log_likelihoods(model, texts, scored)[0].sum())
        row = {"embedding share": f"{share:.0%}", "trees": trees}
        if not every:
            row["alone"], expected = seconds(lambda: one_by_one(model, texts))
            row["ratio"] = row["alone"] / trees
            assert abs(sums / expected - 1) < 1e-5
        rows.append(row)
    print(f"{len(paradigms)} paradigms, {sizes}; {torch.get_num_threads()} threads, float32")
    print(pd.DataFrame(rows).round(2).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
