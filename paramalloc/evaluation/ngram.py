"""The controls that need no network: a unigram and an n-gram model of the training text.

Shapes: N tokens of a text; V = vocab_size.
"""

from typing import NamedTuple, Protocol

import numpy as np

from ..data import EOT


class LanguageModel(Protocol):
    """What the scores of texts need of an n-gram model."""

    def log_probabilities(self, stream: np.ndarray) -> np.ndarray:
        """Natural logarithm, (N - 1,), of each token of stream[1:] after those before it."""


class Unigram:
    """p(w) = (count(w) + 1) / (tokens + V), from `counts` (V,)."""

    def __init__(self, counts: np.ndarray):
        self.log_p = np.log((counts + 1) / (counts + 1).sum())

    def log_probabilities(self, stream: np.ndarray) -> np.ndarray:
        return self.log_p[stream[1:]]


class _Order(NamedTuple):
    """The n-grams of one order while they are counted, each of them a row."""

    keys: np.ndarray  # the number of its h among the (n-1)-grams, times V, plus w
    counts: np.ndarray  # how often it occurs
    places: np.ndarray  # where in the text it ends first
    plain: np.ndarray  # whether its h begins with end-of-text
    grams: np.ndarray  # of each token of the text: the number of the n-gram that ends there, or -1


class KneserNey:
    """Interpolated Kneser-Ney with one discount an order (Kneser & Ney 1995; Chen & Goodman 1999).

        p_n(w | h) = max(c(h w) - D_n, 0) / c(h .) + D_n N(h .) / c(h .) p_{n-1}(w | h')
        D_n = n_1 / (n_1 + 2 n_2)

    N(h .) is the number of different tokens after h; h' is h without its first token; p_0 = 1 / V;
    n_1 and n_2 are how many n-grams count 1 and 2. c is the count in the highest order, and below
    it the number of different tokens before h w, but the plain count where h begins with
    end-of-text: what stands before does not belong to it, and no h reaches over one. An n-gram is
    kept as a whole number: that of its h among the (n-1)-grams, times V, plus w.
    """

    def __init__(self, tokens: np.ndarray, vocab_size: int, order: int = 5):
        stream = np.concatenate(([EOT], tokens)).astype(np.int64)
        self.vocab_size = vocab_size
        self.levels: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        heads = np.zeros(
            len(stream), dtype=np.int64
        )  # the number of the h before each token, or -1
        shorter = None
        for n in range(1, order + 1):
            longer = self._count(stream, heads, n)
            if shorter:
                self._keep_shorter(shorter, longer)
            heads = self._heads(longer.grams, stream, n)
            shorter = longer
        self._keep(longer.keys, longer.counts)

    def log_probabilities(self, stream: np.ndarray) -> np.ndarray:
        """Natural logarithm, (N - 1,), of each token of stream[1:] after those before it.

        stream[0] is an end-of-text.
        """
        stream = stream.astype(np.int64)
        p = np.full(len(stream), 1 / self.vocab_size)
        heads = np.zeros(len(stream), dtype=np.int64)
        for n, (keys, share, left) in enumerate(self.levels, 1):
            key = heads * self.vocab_size + stream
            at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            seen = keys[at] == key  # h w occurs
            known = (heads >= 0) & (heads < len(left))  # h occurs
            p = np.where(known, share[at] * seen + left[np.where(known, heads, 0)] * p, p)
            heads = self._heads(np.where(seen, at, -1), stream, n)
        return np.log(p[1:])

    def _count(self, stream: np.ndarray, heads: np.ndarray, n: int) -> _Order:
        """The n-grams of a text, from the number of the h before each token."""
        ends = np.flatnonzero(heads >= 0)
        keys, first, numbers, counts = np.unique(
            heads[ends] * self.vocab_size + stream[ends],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        places = ends[first]
        plain = (stream[places - n + 1] == EOT) & (n > 1)
        grams = np.full(len(stream), -1)
        grams[ends] = numbers
        return _Order(keys, counts, places, plain, grams)

    def _keep_shorter(self, shorter: _Order, longer: _Order):
        """Keep an order; the next one tells how many different tokens stand before its n-grams."""
        before = np.bincount(shorter.grams[longer.places], minlength=len(shorter.keys))
        self._keep(shorter.keys, np.where(shorter.plain, shorter.counts, before))

    def _keep(self, keys: np.ndarray, counts: np.ndarray):
        """Keep the discounted share of each n-gram, and what is left of each h for the order below.

        Of documents that are all shorter than an order nothing is kept.
        """
        if not len(keys):
            return
        head = keys // self.vocab_size
        ones = max(1, (counts == 1).sum())
        twos = (counts == 2).sum()
        discount = ones / (ones + 2 * twos)
        total = np.bincount(head, counts)
        share = np.maximum(counts - discount, 0) / total[head]
        left = discount * np.bincount(head, counts > 0) / np.maximum(total, 1)
        self.levels.append((keys, share, np.where(total, left, 1.0)))

    @staticmethod
    def _heads(grams: np.ndarray, stream: np.ndarray, n: int) -> np.ndarray:
        """The number of the h before each token, from the n-gram that ends at the one before it."""
        heads = np.where((stream == EOT) & (n > 1), -1, grams)
        return np.concatenate(([-1], heads[:-1]))
