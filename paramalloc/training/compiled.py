"""Compiled losses: one for each shape, kept while the process lives."""

from collections.abc import Callable, Hashable

import torch

from ..model import DecoderLM

# Shapes whose graphs are kept. A grid has twelve; a process that trained many more would hold the
# graphs of all of them.
KEPT_SHAPES = 24

_kept: set[Hashable] = set()


def compile_loss(model: DecoderLM, *key: Hashable) -> Callable:
    """`model.loss`, compiled for static shapes, which `key` and the model's config determine.

    Weights are inputs of a graph: all models of one key share theirs. Where there are
    `KEPT_SHAPES` keys already, a new one drops the graphs of all of them.
    """
    whole_key = (model.config, *key)
    if whole_key not in _kept and len(_kept) >= KEPT_SHAPES:
        forget_compiled()
    _kept.add(whole_key)
    _allow_graphs(2 * KEPT_SHAPES)
    return torch.compile(model.loss, dynamic=False)


def forget_compiled() -> None:
    """Drop all compiled graphs of this process."""
    torch.compiler.reset()
    _kept.clear()


def _allow_graphs(count: int) -> None:
    """After eight graphs of a function torch would quietly stop compiling."""
    import torch._dynamo.config as config  # only here: it takes a second

    name = "recompile_limit"
    if not hasattr(config, name):
        name = "cache_size_limit"  # torch before 2.7
    setattr(config, name, max(getattr(config, name), count))
