"""Log-probabilities of many short texts: what they have in common at their beginning is computed once."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ..model import DecoderLM, normalizers

NODES = 128  # of a pack, unless one text alone is longer: packs fill batches evenly, and attention stays short
BATCH_TOKENS = 8_192


class Pack(NamedTuple):
    """A tree of texts: node i holds `tokens[i]` after `parents[i]` (-1: a root). What is scored are pairs of a node and a
    token after it; `places` are (text, pair) numbers."""

    tokens: list[int]
    parents: list[int]
    pairs: dict[tuple[int, int], int]
    places: list[tuple[int, int]]


def packs(texts: list[list[int]], scored: list[int]) -> Iterator[Pack]:
    """Trees that hold all texts, each but for its last token, which nothing follows; neighbours in order share most."""
    pack, children = Pack([], [], {}, []), {}
    for text in sorted(range(len(texts)), key=lambda text: texts[text]):
        ids = texts[text]
        if pack.tokens and len(pack.tokens) + len(ids) > NODES:
            yield pack
            pack, children = Pack([], [], {}, []), {}
        node = -1
        for depth, (token, following) in enumerate(zip(ids, ids[1:]), 1):
            child = children.setdefault((node, token), len(pack.tokens))
            if child == len(pack.tokens):
                pack.tokens.append(token)
                pack.parents.append(node)
            node = child
            if depth >= len(ids) - scored[text]:
                pack.places.append(
                    (text, pack.pairs.setdefault((node, following), len(pack.pairs)))
                )
    if pack.tokens:
        yield pack


def lineage(parents: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which nodes each of `size` sees, itself and those above it, (size, size) bool; and how deep it is, (size,)."""
    seen = np.eye(size, dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            seen[node] |= seen[parent]
    return seen, seen.sum(1) - 1


@torch.inference_mode()
def log_likelihoods(
    model: DecoderLM, texts: list[list[int]], scored: list[int], greedy: bool = False, progress=None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Log-probability of the last `scored` tokens of each text, summed, and if `greedy` whether each was the likeliest.

    A text begins with a token that is only a context. (texts,) float64, (texts,) bool or None. Texts are merged to trees: a node
    attends to those above it, at the position that it has in its text.
    """
    device = next(model.parameters()).device
    total, missed, done = np.zeros(len(texts)), np.zeros(len(texts)), 0
    for batch in batches(sorted(packs(texts, scored), key=lambda pack: len(pack.tokens))):
        size = len(batch[-1].tokens)
        seen, depth = (
            torch.from_numpy(np.stack(part)).to(device)
            for part in zip(*(lineage(pack.parents, size) for pack in batch))
        )
        tokens = torch.tensor(
            [pack.tokens + [0] * (size - len(pack.tokens)) for pack in batch], device=device
        )
        contexts = [lambda k, v: (k, v, seen[:, None])] * len(model.blocks)
        hidden, table = (
            model.read_out(tokens, depth[:, None], contexts).flatten(0, 1),
            model.tables[-1],
        )
        node, token = torch.tensor(
            [
                (row * size + node, token)
                for row, pack in enumerate(batch)
                for node, token in pack.pairs
            ],
            device=device,
        ).T
        before, which = node.unique(
            return_inverse=True
        )  # a node is normalised once, whatever follows it
        sums, likeliest = normalizers(hidden[before], table, greedy)
        log_p = (hidden[node] * table[token]).sum(-1) - sums[which]
        first = np.cumsum([0] + [len(pack.pairs) for pack in batch])
        text, pair = np.concatenate(
            [np.add(pack.places, (0, start)) for pack, start in zip(batch, first)]
        ).T
        np.add.at(total, text, log_p.double().cpu().numpy()[pair])
        if greedy:
            np.add.at(missed, text, (likeliest[which] != token).cpu().numpy()[pair])
        done += len(set(text))
        if progress:
            progress(done / len(texts))
    return total, missed == 0 if greedy else None


def batches(packs: list[Pack]) -> Iterator[list[Pack]]:
    """Packs of about the same size, from the smallest, BATCH_TOKENS at a time."""
    batch = []
    for pack in packs:
        if batch and (len(batch) + 1) * len(pack.tokens) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(pack)
    if batch:
        yield batch
