"""Perplexity and bits per byte of a split, every token scored exactly once; losses by document and by token frequency."""

import itertools
import math

import numpy as np
import torch

from ..data import EOT
from ..model import token_losses


def windows(tokens: np.ndarray, seq_len: int, stride: int | None = None, batch_tokens: int = 8_192):
    """Batches x, y (B, T) and how many of the last targets of each row are new: these together are exactly `tokens`, in
    order, after one unscored end-of-text.

    Windows start at multiples of `stride` (by default seq_len: no window sees the text before it); the last may be shorter.
    """
    stream, spans, done = np.concatenate(([EOT], tokens)).astype(np.int64), [], 0
    for start in range(0, len(tokens), stride or seq_len):
        stop = min(start + seq_len, len(tokens))
        if stop > done:
            spans.append((start, stop - start, stop - done))
            done = stop
    for (length, new), same in itertools.groupby(spans, key=lambda span: span[1:]):
        starts = np.array([span[0] for span in same])
        for some in np.split(
            starts, range(rows := max(1, batch_tokens // length), len(starts), rows)
        ):
            window = stream[some[:, None] + np.arange(length + 1)]
            yield window[:, :-1], window[:, 1:], new


@torch.no_grad()
def split_losses(
    model, tokens: np.ndarray, seq_len: int, stride: int | None = None, batch_tokens: int = 8_192
) -> np.ndarray:
    """Nats of each of `tokens` (N,), float32, in windows of seq_len; a smaller `stride` gives each more context, at the
    price of seq_len / stride times the work."""
    device, found = next(model.parameters()).device, []
    for x, y, new in windows(tokens, seq_len, stride, batch_tokens):
        hidden = model.read_out(torch.from_numpy(x).to(device))[:, -new:].flatten(0, 1)
        targets = torch.from_numpy(y[:, -new:].flatten()).to(device)
        found.append(token_losses(hidden, model.tables[-1], targets))
    return torch.cat(found).cpu().numpy()


def mean_loss(
    model, tokens: np.ndarray, seq_len: int, batch_tokens: int = 8_192, compiled=None
) -> float:
    """Nats per token of `tokens` (N,) under model.loss, in the model's own precision: for probes during training.

    `compiled` is model.loss, compiled for batches of batch_tokens: full batches go through that graph, which was made
    with gradients, so they are scored with gradients on (and none is taken); the rest goes through the model itself.
    """
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for x, y, _ in windows(tokens, seq_len, batch_tokens=batch_tokens):
        x, y = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device).contiguous()
        full = compiled is not None and x.numel() == batch_tokens
        with torch.set_grad_enabled(full):
            loss = (compiled if full else model.loss)(
                x.contiguous(), y
            ).detach()  # so that the graph of one batch is freed before the next
        total += loss.double() * x.numel()
    return total.item() / len(tokens)


def as_perplexity(loss: float) -> float:
    """exp(loss), at most exp(700): a float holds no more."""
    return math.exp(min(loss, 700.0))


def scores(loss: float, counts: dict) -> dict[str, float]:
    """loss, ppl, bpb and word_ppl of a split from its nats per token and its counts (meta.json).

    bits per byte = nats / (ln 2 * UTF-8 bytes); word perplexity = exp(nats / words as published).
    """
    nats = loss * counts["tokens"]
    return {
        "loss": loss,
        "ppl": as_perplexity(loss),
        "bpb": nats / math.log(2) / counts["bytes"],
        "word_ppl": as_perplexity(nats / counts["ppl_words"]),
    }


def by_document(losses: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nats, tokens) of each document, (documents,); a document ends with its end-of-text."""
    document = np.cumsum(tokens == EOT) - (tokens == EOT)
    return np.bincount(document, losses), np.bincount(document)


def by_group(nats: np.ndarray, tokens: np.ndarray, groups: int = 32) -> list[list]:
    """[tokens, nats] of `groups` runs of whole documents, about equal in tokens, in the order of the text: the units of a
    jackknife or a bootstrap over documents. A document longer than a group's part leaves fewer groups, none of them empty."""
    middle = np.cumsum(tokens) - tokens / 2
    group = (middle * groups / tokens.sum()).astype(int)
    sums = zip(np.bincount(group, tokens), np.bincount(group, nats))
    return [[int(count), float(loss)] for count, loss in sums if count]


def by_frequency(losses: np.ndarray, tokens: np.ndarray, counts: np.ndarray) -> list[dict]:
    """Mean loss by decile of token frequency: the types, from the most to the least frequent by `counts` (V,), are cut
    into ten groups that each cover about a tenth of the counted text. The loss is None where no token fell."""
    order = np.argsort(-counts, kind="stable")
    middle = (np.cumsum(counts[order]) - counts[order] / 2) / counts.sum()
    decile = np.empty(len(counts), dtype=int)
    decile[order] = np.minimum((10 * middle).astype(int), 9)
    seen, nats = (
        np.bincount(decile[tokens], minlength=10),
        np.bincount(decile[tokens], losses, minlength=10),
    )
    return [
        {
            "decile": n + 1,
            "types": int((decile == n).sum()),
            "tokens": int(seen[n]),
            "loss": float(nats[n] / seen[n]) if seen[n] else None,
        }
        for n in range(10)
    ]
