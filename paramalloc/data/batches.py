"""Batches: a pure function of (seed, step).

Shapes: B windows (batch_size) of T tokens (seq_len).
"""

import functools

import numpy as np

from ..errors import DataError


class Batches:
    """Batches of a token stream: step -> x, y (B, T) int64, y one token ahead of x.

    A batch is a pure function of (seed, step), so a run that is resumed sees what it would have.
    The text is a ring. Every epoch cuts it, from a random start, into windows that do not
    overlap, and walks each once in a random order.

    Args:
        tokens: the stream, (tokens,). DataError if it is too short for one window.
        seq_len: tokens of a window, T.
        batch_size: windows of a step, B.
        seed: of the starts and orders.

    >>> batches = Batches(np.arange(10), seq_len=3, batch_size=2, seed=0)
    >>> x, y = batches(step=0)
    >>> x
    array([[4, 5, 6],
           [8, 9, 0]])
    >>> y
    array([[5, 6, 7],
           [9, 0, 1]])
    """

    def __init__(self, tokens: np.ndarray, seq_len: int, batch_size: int, seed: int):
        if len(tokens) <= seq_len:
            few = f"{len(tokens)} tokens are too few for one window of seq_len {seq_len}"
            raise DataError(f"{few}: use more text")
        self.tokens = tokens
        self.seq_len = seq_len
        self.batch_size = batch_size
        self.seed = seed
        self.per_epoch = len(tokens) // seq_len
        # Two epochs are kept, as a batch may straddle them.
        self._epoch_starts = functools.lru_cache(maxsize=2)(self._draw_starts)

    def starts(self, step: int) -> np.ndarray:
        """Where the windows of a step begin, (B,); in the ring, so perhaps past its end."""
        windows = range(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = (divmod(window, self.per_epoch) for window in windows)
        return np.array([self._epoch_starts(epoch)[place] for epoch, place in epochs])

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        places = self.starts(step)[:, None] + np.arange(self.seq_len + 1)  # (B, T + 1)
        rows = self.tokens[places % len(self.tokens)].astype(np.int64)
        return rows[:, :-1], rows[:, 1:]

    def _draw_starts(self, epoch: int) -> np.ndarray:
        """The starts of an epoch's windows in the order they are walked, (per_epoch,)."""
        random = np.random.default_rng([self.seed, epoch])
        offset = random.integers(len(self.tokens))
        return offset + self.seq_len * random.permutation(self.per_epoch)
