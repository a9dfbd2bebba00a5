"""Many short texts as trees of tokens, made once for a tokenizer and a set.

Texts with a common beginning share its nodes. A pack is a forest of up to NODES nodes; packs of
about the same size fill a batch.

Shapes: a batch of B packs of S nodes; of all packs, N nodes, M scored pairs, K places of them.
"""

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from ..data import Corpus
from .kept import digest_of, keep_arrays
from .scoring import encode
from .sets import Set

TREES_VERSION = 1  # raise it when the same texts would give other trees

# Nodes of a pack, unless one text alone is longer: packs fill batches evenly, attention is short.
NODES = 128
BATCH_NODES = 8_192


class Pack(NamedTuple):
    """A tree of texts: node i holds `tokens[i]` after `parents[i]` (-1: a root).

    What is scored are `pairs` of a node and a token after it, by their number. `places` are the
    pairs of all `texts`, one text after another.
    """

    tokens: list[int]
    parents: list[int]
    pairs: dict[tuple[int, int], int]
    texts: list[int]
    places: list[int]


class _PackBuilder:
    """A pack that grows by one text at a time."""

    def __init__(self):
        self.pack = Pack([], [], {}, [], [])
        self.children: dict[tuple[int, int], int] = {}  # (parent, token) -> node

    def has_room(self, text: list[int]) -> bool:
        size = len(self.pack.tokens)
        return size == 0 or size + len(text) <= NODES

    def add(self, number: int, text: list[int], scored: int):
        """Add a text but for its last token; its last `scored` tokens are scored."""
        pack = self.pack
        pack.texts.append(number)
        node = -1
        for depth, (token, following) in enumerate(pairwise(text), 1):
            node = self._child(node, token)
            if depth >= len(text) - scored:
                pair = pack.pairs.setdefault((node, following), len(pack.pairs))
                pack.places.append(pair)

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


class Batch(NamedTuple):
    """Packs filled up to the same size, and what is scored of them."""

    tokens: np.ndarray  # (B, S)
    parents: np.ndarray  # (B, S); -1: a root, or no node
    pair_nodes: np.ndarray  # of each pair, among the B S nodes
    pair_tokens: np.ndarray  # of each pair
    done: float  # the fraction of all nodes that is scored after this batch


class Trees(NamedTuple):
    """All packs of some texts, the smallest first, one after another."""

    sizes: np.ndarray  # nodes of each pack
    pair_counts: np.ndarray  # pairs of each pack
    tokens: np.ndarray  # (N,)
    parents: np.ndarray  # (N,), numbered within the pack
    pair_nodes: np.ndarray  # (M,), numbered within the pack
    pair_tokens: np.ndarray  # (M,)
    place_pairs: np.ndarray  # (K,), numbered through all packs
    texts: np.ndarray  # the number of each text, in the order of the packs
    scored: np.ndarray  # how many places each has, in that order

    def batches(self) -> Iterator[Batch]:
        """BATCH_NODES nodes at a time, padded packs of about the same size."""
        first = 0
        for number, size in enumerate(self.sizes.tolist()):
            if number > first and (number + 1 - first) * size > BATCH_NODES:
                yield self._batch(first, number)
                first = number
        if first < len(self.sizes):
            yield self._batch(first, len(self.sizes))

    def _batch(self, first: int, last: int) -> Batch:
        """The packs from `first` to `last`, which is not among them."""
        sizes = self.sizes[first:last].astype(np.int64)
        filled = np.arange(sizes[-1]) < sizes[:, None]  # (B, S)
        nodes = _slice_of(self.sizes, first, last)
        tokens = np.zeros(filled.shape, dtype=np.int64)
        tokens[filled] = self.tokens[nodes]
        parents = np.full(filled.shape, -1, dtype=np.int64)
        parents[filled] = self.parents[nodes]

        pairs = _slice_of(self.pair_counts, first, last)
        rows = np.repeat(np.arange(len(sizes)), self.pair_counts[first:last])
        return Batch(
            tokens,
            parents,
            rows * sizes[-1] + self.pair_nodes[pairs],
            self.pair_tokens[pairs].astype(np.int64),
            nodes.stop / len(self.tokens),
        )

    def sum_by_text(self, values: np.ndarray) -> np.ndarray:
        """The sum over the places of each text, (texts,), of a value of each pair, (M,)."""
        sums = np.zeros(len(self.texts))
        np.add.at(sums, np.repeat(self.texts, self.scored), values[self.place_pairs])
        return sums


def plant(texts: list[list[int]], scored: list[int]) -> Trees:
    """The trees of texts, of each of which the last `scored` tokens are scored.

    >>> trees = plant([[0, 5, 6], [0, 5, 7]], [1, 1])
    >>> trees.tokens.tolist(), trees.parents.tolist(), trees.pair_tokens.tolist()
    ([0, 5], [-1, 0], [6, 7])
    """
    found = sorted(packs(texts, scored), key=lambda pack: len(pack.tokens))
    counts = np.array([len(pack.pairs) for pack in found])
    places = np.concatenate([np.array(pack.places, dtype=np.int64) for pack in found])
    before = np.repeat(counts.cumsum() - counts, [len(pack.places) for pack in found])
    order = np.concatenate([pack.texts for pack in found])
    arrays = {
        "sizes": [len(pack.tokens) for pack in found],
        "pair_counts": counts,
        "tokens": np.concatenate([pack.tokens for pack in found]),
        "parents": np.concatenate([pack.parents for pack in found]),
        "pair_nodes": [node for node, _ in chain.from_iterable(p.pairs for p in found)],
        "pair_tokens": [token for _, token in chain.from_iterable(p.pairs for p in found)],
        "place_pairs": places + before,
        "texts": order,
        "scored": np.asarray(scored)[order],
    }
    return Trees(**{name: _in_few_bytes(array) for name, array in arrays.items()})


def kept_trees(corpus: Corpus, part: Set, seq_len: int) -> Trees:
    """The trees of a set in the tokens of a corpus, beside which they are kept."""
    key = digest_of(TREES_VERSION, NODES, corpus.fingerprint, seq_len, part.sha256)

    def make():
        return plant(*encode(part, corpus.tokenizer, seq_len))._asdict()

    path = corpus.folder / f"trees-{key}.safetensors"
    return Trees(**keep_arrays(path, Trees._fields, make))


def _slice_of(counts: np.ndarray, first: int, last: int) -> slice:
    """Where the packs from `first` to `last` lie among what is counted of each."""
    return slice(int(counts[:first].sum()), int(counts[:last].sum()))


def _in_few_bytes(values) -> np.ndarray:
    """Whole numbers in the smallest type that holds them all."""
    values = np.asarray(values)
    types = (np.min_scalar_type(values.min()), np.min_scalar_type(values.max()))
    return values.astype(np.result_type(*types))
