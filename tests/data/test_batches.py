"""Batches walk every window once an epoch, as a pure function of (seed, step)."""

import numpy as np
import pytest

from paramalloc.data import Batches
from paramalloc.errors import DataError


def test_batches_are_pure():
    """batches(step) depends on seed and step alone, whatever was asked before."""
    tokens = np.arange(1000, dtype=np.uint16)
    one, two = Batches(tokens, 16, 4, seed=3), Batches(tokens, 16, 4, seed=3)
    later = [one(step) for step in range(60)][50]
    np.testing.assert_array_equal(later, two(50))
    assert not np.array_equal(later, Batches(tokens, 16, 4, seed=4)(50))


def test_y_is_x_shifted():
    """y is x one token ahead, both (batch_size, seq_len) int64."""
    x, y = Batches(np.arange(1000, dtype=np.uint16), 16, 4, seed=0)(7)
    assert x.shape == y.shape == (4, 16) and x.dtype == y.dtype == np.int64
    np.testing.assert_array_equal(y, (x + 1) % 1000)


@pytest.mark.parametrize("length", [17, 160, 161, 175])
def test_epoch_walks_every_window_once(length):
    """In an epoch no token is input twice, fewer than seq_len are left out, and epochs differ."""
    batches = Batches(np.arange(length, dtype=np.uint16), 16, 1, seed=0)
    per_epoch = length // 16
    rows = [batches(step)[0][0] for step in range(3 * per_epoch)]
    epochs = [np.concatenate(rows[i * per_epoch : (i + 1) * per_epoch]) for i in range(3)]
    for inputs in epochs:
        assert len(set(inputs.tolist())) == len(inputs) == 16 * per_epoch
    assert not np.array_equal(epochs[0], epochs[1])


def test_batch_may_straddle_epochs():
    """A batch larger than an epoch takes the windows of the following ones."""
    tokens = np.arange(50, dtype=np.uint16)
    wide, single = Batches(tokens, 16, 7, seed=0), Batches(tokens, 16, 1, seed=0)
    np.testing.assert_array_equal(wide(1)[0], np.concatenate([single(i)[0] for i in range(7, 14)]))


def test_too_short_for_a_window():
    """A split without one whole window is refused."""
    with pytest.raises(DataError, match="16 tokens are too few for one window of seq_len 16"):
        Batches(np.zeros(16, np.uint16), 16, 1, seed=0)
