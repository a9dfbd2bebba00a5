"""Log-probabilities of many short texts: a common beginning is computed once.

Texts are merged to trees of tokens; a node attends to those above it, at the position that it has
in its text (tree attention, as in SpecInfer, Miao et al. 2024, arXiv 2305.09781).

Shapes: a batch of B packs of S nodes; N scored pairs of them; D the width of what the head reads.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..model import DecoderLM, normalizers

# Nodes of a pack, unless one text alone is longer: packs fill batches evenly, attention is short.
NODES = 128
BATCH_NODES = 8_192


class Pack(NamedTuple):
    """A tree of texts: node i holds `tokens[i]` after `parents[i]` (-1: a root).

    What is scored are `pairs` of a node and a token after it, by their number; `places` are (text,
    pair) numbers.
    """

    tokens: list[int]
    parents: list[int]
    pairs: dict[tuple[int, int], int]
    places: list[tuple[int, int]]


class _PackBuilder:
    """A pack that grows by one text at a time."""

    def __init__(self):
        self.pack = Pack([], [], {}, [])
        self.children: dict[tuple[int, int], int] = {}  # (parent, token) -> node

    def has_room(self, text: list[int]) -> bool:
        size = len(self.pack.tokens)
        return size == 0 or size + len(text) <= NODES

    def add(self, number: int, text: list[int], scored: int):
        """Add a text but for its last token; its last `scored` tokens are scored."""
        pack = self.pack
        node = -1
        for depth, (token, following) in enumerate(pairwise(text), 1):
            node = self._child(node, token)
            if depth >= len(text) - scored:
                pair = pack.pairs.setdefault((node, following), len(pack.pairs))
                pack.places.append((number, pair))

    def _child(self, parent: int, token: int) -> int:
        pack = self.pack
        node = self.children.setdefault((parent, token), len(pack.tokens))
        if node == len(pack.tokens):
            pack.tokens.append(token)
            pack.parents.append(parent)
        return node


def packs(texts: list[list[int]], scored: list[int]) -> Iterator[Pack]:
    """Trees that hold all texts, each but for its last token; neighbours in order share most."""
    builder = _PackBuilder()
    for number in sorted(range(len(texts)), key=lambda number: texts[number]):
        if not builder.has_room(texts[number]):
            yield builder.pack
            builder = _PackBuilder()
        builder.add(number, texts[number], scored[number])
    if builder.pack.tokens:
        yield builder.pack


@torch.inference_mode()
def log_likelihoods(
    model: DecoderLM,
    texts: list[list[int]],
    scored: list[int],
    greedy: bool = False,
    progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Log-probability of the last `scored` tokens of each text, summed: (texts,) float64.

    If `greedy` also whether each of these was the likeliest, (texts,) bool, else None. A text
    begins with a token that is only a context. These are the `loglikelihood` requests of
    lm-evaluation-harness (Gao et al. 2024). `progress` is told the fraction done.
    """
    total = np.zeros(len(texts))
    missed = np.zeros(len(texts))
    done = 0
    by_size = sorted(packs(texts, scored), key=lambda pack: len(pack.tokens))
    for batch in _batches(by_size):
        log_p, wrong = _score_pairs(model, batch, greedy)
        text, pair = _places(batch)
        np.add.at(total, text, log_p[pair])
        if greedy:
            np.add.at(missed, text, wrong[pair])
        done += len(set(text))
        if progress:
            progress(done / len(texts))
    return total, missed == 0 if greedy else None


def _batches(by_size: list[Pack]) -> Iterator[list[Pack]]:
    """Packs of about the same size, from the smallest, BATCH_NODES at a time."""
    batch = []
    for pack in by_size:
        if batch and (len(batch) + 1) * len(pack.tokens) > BATCH_NODES:
            yield batch
            batch = []
        batch.append(pack)
    if batch:
        yield batch


def _score_pairs(
    model: DecoderLM, batch: list[Pack], greedy: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """The log-probability of each pair of all packs, in order: (N,) float64.

    If `greedy` also whether another token was likelier, (N,) bool, else None.
    """
    device = next(model.parameters()).device
    size = len(batch[-1].tokens)

    # states of all nodes
    hidden = _read_out(model, batch, size).flatten(0, 1)  # (B S, D)
    table = model.tables[-1]

    # which node and token each pair is
    pairs = []
    for row, pack in enumerate(batch):
        pairs += [(row * size + node, token) for node, token in pack.pairs]
    node, token = torch.tensor(pairs, device=device).T  # (N,) each

    # a node is normalised once, whatever follows it
    before, which = node.unique(return_inverse=True)
    sums, likeliest = normalizers(hidden[before], table, greedy)
    log_p = (hidden[node] * table[token]).sum(-1) - sums[which]
    wrong = (likeliest[which] != token).cpu().numpy() if greedy else None
    return log_p.double().cpu().numpy(), wrong


def _read_out(model: DecoderLM, batch: list[Pack], size: int) -> Tensor:
    """What the head reads of each node, (B, S, D); packs are filled up to `size` nodes."""
    device = next(model.parameters()).device
    padded = [pack.tokens + [0] * (size - len(pack.tokens)) for pack in batch]
    lineages = [_lineage(pack.parents, size) for pack in batch]
    tokens = torch.tensor(padded, device=device)
    seen = torch.from_numpy(np.stack([seen for seen, _ in lineages])).to(device)
    depth = torch.from_numpy(np.stack([depth for _, depth in lineages])).to(device)

    def context(k, v):
        return k, v, seen[:, None]

    return model.read_out(tokens, depth[:, None], [context] * len(model.blocks))


def _lineage(parents: list[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which nodes each sees, itself and those above it, (S, S) bool; how deep it is, (S,)."""
    seen = np.eye(size, dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            seen[node] |= seen[parent]
    return seen, seen.sum(1) - 1


def _places(batch: list[Pack]) -> tuple[np.ndarray, np.ndarray]:
    """The text and the pair of each place, pairs numbered through all packs."""
    first = 0
    places = []
    for pack in batch:
        places.append(np.add(pack.places, (0, first)))
        first += len(pack.pairs)
    text, pair = np.concatenate(places).T
    return text, pair
