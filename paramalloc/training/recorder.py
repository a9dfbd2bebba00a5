"""Records what is given to a CUDA device as a CUDA graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from ..model import release_memory


class CudaRecorder:
    """Records what is given to a CUDA device, on a stream of its own."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.broken_pool: tuple[int, int] | None = None  # of a recording that failed

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What is given to the device here runs on the stream of the recording.

        What torch makes once for each stream, such as the workspaces of products, is made before.
        """
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        with torch.cuda.stream(self.stream):
            yield
        here.wait_stream(self.stream)

    def record(self, body: Callable[[], None]) -> Callable[[], None]:
        """What does again, at each call, all that `body()` gives to the device.

        Nothing of it is done while it is recorded.
        """
        self.graph = torch.cuda.CUDAGraph()
        # Of this recording alone: torch does not take back a pool whose graphs are gone.
        pool = torch.cuda.graph_pool_handle()
        try:
            recording = torch.cuda.graph(self.graph, pool=pool, stream=self.stream)
            # The first context puts the stream back where the second one fails to.
            with torch.cuda.stream(self.stream), recording:
                body()
        except Exception:
            self.broken_pool = pool
            with suppress(Exception):  # up to torch 2.11 nobody else says so (pytorch PR 180395)
                torch._C._cuda_endAllocateToPool(self._index(), pool)
            raise
        return self.graph.replay

    def release(self) -> None:
        """Give the memory of the recording back to this process."""
        torch.cuda.synchronize(self.device)
        if self.graph is not None:
            self.graph.reset()
            self.graph = None
        with suppress(RuntimeError):  # after a recording that failed, torch may refuse
            release_memory()
        if self.broken_pool is not None:
            with suppress(Exception):
                self._release_broken_pool()

    def _release_broken_pool(self) -> None:
        """Up to torch 2.13 `reset` keeps the pool of a recording that failed (pytorch PR 190348).

        Then all of it is free, and still there. To release it a second time would be an error.
        """
        pool = self.broken_pool
        self.broken_pool = None
        kept = torch.cuda.memory_snapshot(pool)
        if kept and not any(segment["active_size"] for segment in kept):
            torch._C._cuda_releasePool(self._index(), pool)
            torch.cuda.empty_cache()

    def _index(self) -> int:
        if self.device.index is None:
            return torch.cuda.current_device()
        return self.device.index
