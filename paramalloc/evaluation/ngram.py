"""The controls that need no network: a unigram and an n-gram model of the training text. NumPy alone."""

import numpy as np

from ..data import EOT


class Unigram:
    """p(w) = (count(w) + 1) / (tokens + V)."""

    def __init__(self, counts: np.ndarray):
        self.log_p = np.log((counts + 1) / (counts + 1).sum())

    def log_probabilities(self, stream: np.ndarray) -> np.ndarray:
        """Natural logarithm, (N - 1,), of each token of stream[1:] after those before it."""
        return self.log_p[stream[1:]]


class KneserNey:
    """Interpolated Kneser-Ney with one discount an order (Kneser & Ney 1995; Chen & Goodman 1999, section 3).

        p_n(w | h) = max(c(h w) - D_n, 0) / c(h .) + D_n N(h .) / c(h .) p_{n-1}(w | h'),   D_n = n_1 / (n_1 + 2 n_2)

    N(h .) is the number of different tokens after h; h' is h without its first token; p_0 = 1 / V; n_1 and n_2 are how
    many n-grams count 1 and 2. c is the count in the highest order, and below it the number of different tokens before
    h w, but the plain count where h begins with end-of-text: what stands before does not belong to it, and no h reaches
    over one. An n-gram is kept as a whole number: that of its h among the (n-1)-grams, times V, plus w.
    """

    def __init__(self, tokens: np.ndarray, vocab_size: int, order: int = 5):
        stream = np.concatenate(([EOT], tokens)).astype(np.int64)
        self.vocab_size, self.levels, shorter = vocab_size, [], None
        heads = np.zeros(
            len(stream), dtype=np.int64
        )  # of each token: the number of the h before it, -1 where there is none
        for n in range(1, order + 1):
            ends = np.flatnonzero(heads >= 0)
            keys, places, numbers, counts = np.unique(
                heads[ends] * vocab_size + stream[ends],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            places = ends[places]  # where each n-gram ends first
            if shorter:
                self._keep_shorter(*shorter, places)
            grams = np.full(len(stream), -1)  # the number of the n-gram that ends at each token
            grams[ends] = numbers
            plain = (stream[places - n + 1] == EOT) & (n > 1)
            shorter, heads = (keys, counts, plain, grams), self._heads(grams, stream, n)
        self._keep(keys, counts)

    def _keep_shorter(self, keys, counts, plain, grams, places):
        """One order, now that the n-grams of the next, which end at `places`, tell what stands before its own."""
        self._keep(keys, np.where(plain, counts, np.bincount(grams[places], minlength=len(keys))))

    def _keep(self, keys: np.ndarray, counts: np.ndarray):
        """One order: the discounted share of each n-gram, and for each h what is left for the order below. Of documents that are
        all shorter than an order nothing is kept."""
        if not len(keys):
            return
        head, ones, twos = keys // self.vocab_size, max(1, (counts == 1).sum()), (counts == 2).sum()
        discount, total = ones / (ones + 2 * twos), np.bincount(head, counts)
        left = discount * np.bincount(head, counts > 0) / np.maximum(total, 1)
        self.levels.append(
            (keys, np.maximum(counts - discount, 0) / total[head], np.where(total, left, 1.0))
        )

    @staticmethod
    def _heads(grams: np.ndarray, stream: np.ndarray, n: int) -> np.ndarray:
        """From the number of the n-gram that ends at each token to that of the h before the token after it."""
        heads = np.where((stream == EOT) & (n > 1), -1, grams)
        return np.concatenate(([-1], heads[:-1]))

    def log_probabilities(self, stream: np.ndarray) -> np.ndarray:
        """Natural logarithm, (N - 1,), of each token of stream[1:] after those before it; stream[0] is an end-of-text."""
        stream = stream.astype(np.int64)
        p, heads = np.full(len(stream), 1 / self.vocab_size), np.zeros(len(stream), dtype=np.int64)
        for n, (keys, share, left) in enumerate(self.levels, 1):
            key = heads * self.vocab_size + stream
            at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            known, found = (heads >= 0) & (heads < len(left)), keys[at] == key
            p = np.where(known, share[at] * found + left[np.where(known, heads, 0)] * p, p)
            heads = self._heads(np.where(found, at, -1), stream, n)
        return np.log(p[1:])
