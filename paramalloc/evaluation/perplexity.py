"""Perplexity and bits per byte of a split: every token is scored exactly once.

Shapes: N tokens of a split in batches of B windows of T <= seq_len tokens; V = vocab_size.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..data import EOT
from ..model import DecoderLM, token_losses
from .pace import Pace

TOKENS_AT_A_TIME = 8_192
DECILES = 10


def windows(
    tokens: np.ndarray,
    seq_len: int,
    stride: int | None = None,
    batch_tokens: int = TOKENS_AT_A_TIME,
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Batches x, y (B, T) of windows, and how many of the last targets of each row are new.

    These together are exactly `tokens` (N,), in order, after one unscored end-of-text. Windows
    start at multiples of `stride` (by default seq_len: no window sees the text before it); the last
    may be shorter.

    >>> [(x.tolist(), y.tolist(), new) for x, y, new in windows(np.array([5, 6, 7]), seq_len=2)]
    [([[0, 5]], [[5, 6]], 2), ([[6]], [[7]], 1)]
    """
    stream = np.concatenate(([EOT], tokens)).astype(np.int64)

    # where windows start, how long they are, how many of their targets are new
    spans = []
    done = 0
    for start in range(0, len(tokens), stride or seq_len):
        stop = min(start + seq_len, len(tokens))
        if stop > done:
            spans.append((start, stop - start, stop - done))
            done = stop

    # those of one kind, a batch at a time
    for (length, new), group in itertools.groupby(spans, key=lambda span: span[1:]):
        starts = np.array([start for start, _, _ in group])
        rows = max(1, batch_tokens // length)
        for first in range(0, len(starts), rows):
            places = starts[first : first + rows, None] + np.arange(length + 1)  # (B, T + 1)
            window = stream[places]
            yield window[:, :-1], window[:, 1:], new


@torch.no_grad()
def split_losses(
    model: DecoderLM,
    tokens: np.ndarray,
    seq_len: int,
    stride: int | None = None,
    batch_tokens: int = TOKENS_AT_A_TIME,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Nats of each of `tokens` (N,), float32, in windows of seq_len.

    A smaller `stride` gives each token more context, at the price of seq_len / stride times the
    work. `progress` is told the fraction done.
    """
    device = next(model.parameters()).device
    pace = Pace(device, progress)
    losses = []
    done = 0
    for x, y, new in windows(tokens, seq_len, stride, batch_tokens):
        hidden = model.read_out(torch.from_numpy(x).to(device))[:, -new:].flatten(0, 1)
        targets = torch.from_numpy(y[:, -new:].flatten()).to(device)
        losses.append(token_losses(hidden, model.tables[-1], targets))
        done += len(targets)
        pace(done / len(tokens))
    pace.end()
    return torch.cat(losses).cpu().numpy()


def sum_losses(
    model: DecoderLM,
    tokens: np.ndarray,
    seq_len: int,
    batch_tokens: int = TOKENS_AT_A_TIME,
    compiled: Callable | None = None,
) -> Tensor:
    """Nats of all `tokens` (N,) in the model's own precision, (), float64: for probes in training.

    The sum stays on the device: it is not waited for. `compiled` is model.loss, compiled for
    batches of batch_tokens. Full batches go through that graph. It was made with gradients, so
    they are scored with gradients on, and none is taken. The rest goes through the model itself.
    """
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    for inputs, targets, _ in windows(tokens, seq_len, batch_tokens=batch_tokens):
        x = torch.from_numpy(inputs).to(device).contiguous()
        y = torch.from_numpy(targets).to(device).contiguous()
        full = compiled is not None and x.numel() == batch_tokens
        score = compiled if full else model.loss
        with torch.set_grad_enabled(full):
            loss = score(x, y).detach()  # the graph of one batch is freed before the next
        total += loss.double() * x.numel()
    return total


def as_perplexity(loss: float) -> float:
    """exp(loss), at most exp(700): a float holds no more.

    >>> round(as_perplexity(3.0), 3)
    20.086
    """
    return math.exp(min(loss, 700.0))


def convert_loss(loss: float, counts: dict) -> dict[str, float]:
    """loss, ppl, bpb and word_ppl of a split, from its nats per token and its counts (meta.json).

    Bits per byte are nats / (ln 2 * UTF-8 bytes) (Gao et al. 2020, arXiv 2101.00027). Word
    perplexity is exp(nats / words as published).

    >>> units = convert_loss(2.0, {"tokens": 100, "bytes": 400, "ppl_words": 80})
    >>> {name: round(value, 3) for name, value in units.items()}
    {'loss': 2.0, 'ppl': 7.389, 'bpb': 0.721, 'word_ppl': 12.182}
    """
    nats = loss * counts["tokens"]
    return {
        "loss": loss,
        "ppl": as_perplexity(loss),
        "bpb": nats / math.log(2) / counts["bytes"],
        "word_ppl": as_perplexity(nats / counts["ppl_words"]),
    }


def sum_by_document(losses: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nats and tokens of each document, (documents,), from those of each token, (N,).

    A document ends with its end-of-text.
    """
    ends = tokens == EOT
    document = np.cumsum(ends) - ends
    return np.bincount(document, losses), np.bincount(document)


def sum_by_group(nats: np.ndarray, tokens: np.ndarray, groups: int = 32) -> list[list]:
    """[tokens, nats] of `groups` runs of whole documents, in the text's order.

    They are about equal in tokens, and the units of a jackknife or a bootstrap over documents. A
    document longer than a group's part leaves fewer groups, none of them empty. `nats` and `tokens`
    are those of each document.
    """
    middle = np.cumsum(tokens) - tokens / 2
    group = (middle * groups / tokens.sum()).astype(int)
    counts = np.bincount(group, tokens)
    sums = np.bincount(group, nats)
    return [[int(count), float(total)] for count, total in zip(counts, sums, strict=True) if count]


def mean_by_decile(losses: np.ndarray, tokens: np.ndarray, counts: np.ndarray) -> list[dict]:
    """Mean loss by decile of token frequency; None where no token fell.

    The types, from the most to the least frequent by `counts` (V,), are cut into ten groups that
    each cover about a tenth of the counted text. `losses` and `tokens` are (N,).
    """
    order = np.argsort(-counts, kind="stable")
    middle = (np.cumsum(counts[order]) - counts[order] / 2) / counts.sum()
    decile = np.empty(len(counts), dtype=int)
    decile[order] = np.minimum((DECILES * middle).astype(int), DECILES - 1)
    seen = np.bincount(decile[tokens], minlength=DECILES)
    nats = np.bincount(decile[tokens], losses, minlength=DECILES)
    rows = []
    for n in range(DECILES):
        rows.append(
            {
                "decile": n + 1,
                "types": int((decile == n).sum()),
                "tokens": int(seen[n]),
                "loss": float(nats[n] / seen[n]) if seen[n] else None,
            }
        )
    return rows
