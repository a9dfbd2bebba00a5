"""Batches: a pure function of (seed, step)."""

import functools

import numpy as np

from ..errors import DataError


class Batches:
    """batches(step) -> x, y: (batch_size, seq_len) int64, y one token ahead; a pure function of (seed, step).

    The text is a ring. Every epoch cuts it, from a random start, into windows that do not overlap, and walks each once
    in a random order. DataError if `tokens` is too short for one window.
    """

    def __init__(self, tokens: np.ndarray, seq_len: int, batch_size: int, seed: int):
        if len(tokens) <= seq_len:
            raise DataError(
                f"{len(tokens)} tokens are too few for one window of seq_len {seq_len}: use more text"
            )
        self.tokens, self.seq_len, self.batch_size, self.seed = tokens, seq_len, batch_size, seed
        self._starts = functools.lru_cache(maxsize=2)(
            self._starts
        )  # a batch may straddle two epochs

    def starts(self, step: int) -> np.ndarray:
        """Where the windows of a step begin (B,)."""
        windows = range(step * self.batch_size, (step + 1) * self.batch_size)
        per_epoch = len(self.tokens) // self.seq_len
        return np.array([self._starts(w // per_epoch)[w % per_epoch] for w in windows])

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        at = (self.starts(step)[:, None] + np.arange(self.seq_len + 1)) % len(
            self.tokens
        )  # (B, T + 1)
        rows = self.tokens[at].astype(np.int64)
        return rows[:, :-1], rows[:, 1:]

    def _starts(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, epoch])
        offset = random.integers(len(self.tokens))
        return offset + self.seq_len * random.permutation(len(self.tokens) // self.seq_len)
