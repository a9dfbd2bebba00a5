"""paramalloc: how to split a parameter budget between the embedding, the depth, the attention and the MLP."""

from .allocator import InfeasibleError, allocate

__all__ = ["InfeasibleError", "allocate"]
