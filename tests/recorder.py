"""Stands in for a CUDA graph where there is no CUDA.

It keeps the operations of a step with the very tensors and numbers that they got, and does them
again: what was baked in stays baked in.
"""

from contextlib import nullcontext

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Recording(TorchDispatchMode):
    """What was done under it, to be undone and to be done again."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.before = {}  # of each place that was not made here, what it held
        self.made = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("the device is waited for")
        for tensor in tensors((args, kwargs)):
            place = tensor.untyped_storage().data_ptr()
            if place not in self.made:
                self.before.setdefault(place, (tensor, tensor.detach().clone()))
        out = operation(*args, **kwargs)
        self.made |= {tensor.untyped_storage().data_ptr() for tensor in tensors(out)}
        self.calls.append((operation, args, kwargs, out))
        return out

    @torch.no_grad()
    def undo(self):
        for tensor, value in self.before.values():
            tensor.copy_(value)

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, out in self.calls:
            again = operation(*args, **kwargs)
            for old, new in zip(tensors(out), tensors(again), strict=True):
                old.copy_(new)


def tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class Recorder:
    """The interface of CudaRecorder."""

    def beside(self):
        return nullcontext()

    def record(self, body):
        recording = Recording()
        try:
            with recording:
                body()
        finally:
            recording.undo()
        return recording.replay

    def release(self):
        pass
