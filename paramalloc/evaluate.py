"""Perplexity and bits per byte of a split, every token scored exactly once."""

import math

import numpy as np
import torch

from .data import EOT


def windows(tokens: np.ndarray, seq_len: int, batch_tokens: int = 8_192):
    """Batches x, y (B, T) whose y together are exactly `tokens`, in order, after one unscored end-of-text.

    Windows start at multiples of seq_len; the last one may be shorter and comes alone.
    """
    stream = np.concatenate(([EOT], tokens)).astype(np.int64)
    x, y = stream[:-1], stream[1:]
    full, rows = len(y) // seq_len * seq_len, max(1, batch_tokens // seq_len)
    for start in range(0, full, rows * seq_len):
        stop = min(full, start + rows * seq_len)
        yield x[start:stop].reshape(-1, seq_len), y[start:stop].reshape(-1, seq_len)
    if full < len(y):
        yield x[None, full:], y[None, full:]


def mean_loss(model, tokens: np.ndarray, seq_len: int, batch_tokens: int = 8_192, compiled=None) -> float:
    """Nats per token of `tokens` (N,) under model.loss, in the model's own precision.

    `compiled` is model.loss, compiled for batches of batch_tokens: full batches go through that graph, which was made
    with gradients, so they are scored with gradients on (and none is taken); the rest goes through the model itself.
    """
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for x, y in windows(tokens, seq_len, batch_tokens):
        x, y = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
        full = compiled is not None and x.numel() == batch_tokens
        with torch.set_grad_enabled(full):
            loss = (compiled if full else model.loss)(x, y).detach()  # so that the graph of one batch is freed before the next
        total += loss.double() * x.numel()
    return total.item() / len(tokens)


def perplexity(loss: float) -> float:
    """exp(loss), at most exp(700): a float holds no more."""
    return math.exp(min(loss, 700.0))


def scores(loss: float, counts: dict) -> dict[str, float]:
    """loss, ppl, bpb and word_ppl of a split from its nats per token and its counts (meta.json).

    bits per byte = nats / (ln 2 * UTF-8 bytes); word perplexity = exp(nats / words as published).
    """
    nats = loss * counts["tokens"]
    return {
        "loss": loss,
        "ppl": perplexity(loss),
        "bpb": nats / math.log(2) / counts["bytes"],
        "word_ppl": perplexity(nats / counts["ppl_words"]),
    }
