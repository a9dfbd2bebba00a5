"""How far a device is with its batches: a GPU is behind what it was given."""

from collections import deque
from collections.abc import Callable

import torch

from ..model import Stamp, stamp, wait_for

AHEAD = 8  # batches that a GPU is given before the first of them is waited for: it never idles


class Pace:
    """Tells `progress` the fraction that the device has done.

    It waits for a batch of a while ago. So a signal is not kept waiting for all that are given,
    either.
    """

    def __init__(self, device: torch.device, progress: Callable[[float], None] | None):
        self.device = device
        self.progress = progress
        self.given: deque[tuple[Stamp, float]] = deque()
        self.ahead = 0 if device.type == "cpu" else AHEAD

    def __call__(self, fraction: float):
        """Note that the device was given all up to this fraction."""
        self.given.append((stamp(self.device), fraction))
        if len(self.given) > self.ahead:
            self._tell_first()

    def end(self):
        """Wait for the rest."""
        while self.given:
            self._tell_first()

    def _tell_first(self):
        moment, fraction = self.given.popleft()
        wait_for(moment)
        if self.progress:
            self.progress(fraction)
