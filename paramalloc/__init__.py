"""paramalloc: how to split a parameter budget between the embedding, the depth, the attention and the MLP."""

from .allocation import allocate
from .errors import InfeasibleError

__all__ = ["InfeasibleError", "allocate"]
