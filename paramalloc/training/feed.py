"""From token files to the tensors of a step.

Shapes: B sequences of T = seq_len tokens.
"""

import numpy as np
import torch
from torch import Tensor

from ..data import Batches


class Feed:
    """feed(step) -> x, y: (B, T) int64 on the device, y one token ahead.

    On a GPU the whole text lies on the device (`resident`), and only where windows start is sent.
    """

    def __init__(self, batches: Batches, device: torch.device, resident: bool | None = None):
        self.batches = batches
        self.device = device
        self.resident = resident
        if resident is None:
            self.resident = device.type != "cpu"
        if self.resident:
            self.tokens = torch.from_numpy(np.asarray(batches.tokens).astype(np.int32)).to(device)
            self.offsets = torch.arange(batches.seq_len + 1, device=device)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        # A graph is compiled for strides, and probes are dense: so are these.
        if not self.resident:
            x, y = (torch.from_numpy(part).to(self.device) for part in self.batches(step))
            return x.contiguous(), y.contiguous()
        starts = torch.from_numpy(self.batches.starts(step)).to(self.device, non_blocking=True)
        places = (starts[:, None] + self.offsets) % len(self.tokens)  # (B, T + 1)
        rows = self.tokens[places].long()
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def spread_windows(tokens: np.ndarray, seq_len: int, count: int) -> np.ndarray:
    """About `count` of the tokens (N,), as whole windows of seq_len spread evenly over the text.

    A probe of these sees every part of a split.

    >>> spread_windows(np.arange(100), seq_len=2, count=6)
    array([ 0,  1, 48, 49, 98, 99])
    """
    windows = max(1, len(tokens) // seq_len)
    wanted = min(windows, max(1, count // seq_len))
    starts = np.linspace(0, windows - 1, wanted).astype(int) * seq_len
    return np.concatenate([tokens[start : start + seq_len] for start in starts])
