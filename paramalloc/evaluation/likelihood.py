"""Log-probabilities of many short texts, as trees: a common beginning is computed once.

A node attends to those above it, at the position that it has in its text (tree attention, as in
SpecInfer, Miao et al. 2024, arXiv 2305.09781).

Shapes: a batch of B packs of S nodes; N scored pairs of them; D the width of what the head reads.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..model import DecoderLM, normalizers
from .pace import Pace
from .trees import Batch, Trees


@torch.inference_mode()
def log_likelihoods(
    model: DecoderLM,
    trees: Trees,
    greedy: bool = False,
    progress: Callable[[float], None] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Log-probability of the scored tokens of each text, summed: (texts,) float64.

    If `greedy` also whether each of these was the likeliest, (texts,) bool, else None. A text
    begins with a token that is only a context. These are the `loglikelihood` requests of
    lm-evaluation-harness (Gao et al. 2024). `progress` is told the fraction done.
    """
    pace = Pace(next(model.parameters()).device, progress)
    log_p = []
    wrong = []
    for batch in trees.batches():
        scores, errors = _score_pairs(model, batch, greedy)
        log_p.append(scores)
        wrong.append(errors)
        pace(batch.done)
    pace.end()
    total = trees.sum_by_text(torch.cat(log_p).double().cpu().numpy())
    if not greedy:
        return total, None
    return total, trees.sum_by_text(torch.cat(wrong).cpu().numpy()) == 0


def _score_pairs(model: DecoderLM, batch: Batch, greedy: bool) -> tuple[Tensor, Tensor | None]:
    """The log-probability of each pair of all packs, in order: (N,).

    If `greedy` also whether another token was likelier, (N,) bool, else None.
    """
    device = next(model.parameters()).device

    # states of all nodes
    hidden = _read_out(model, batch).flatten(0, 1)  # (B S, D)
    table = model.tables[-1]

    # a node is normalised once, whatever follows it
    nodes, places = np.unique(batch.pair_nodes, return_inverse=True)
    before = torch.from_numpy(nodes).to(device)
    which = torch.from_numpy(places).to(device)
    sums, likeliest = normalizers(hidden[before], table, greedy)
    token = torch.from_numpy(batch.pair_tokens).to(device)
    log_p = (hidden[before[which]] * table[token]).sum(-1) - sums[which]
    return log_p, likeliest[which] != token if greedy else None


def _read_out(model: DecoderLM, batch: Batch) -> Tensor:
    """What the head reads of each node, (B, S, D)."""
    device = next(model.parameters()).device
    lineage = _lineages(batch.parents)
    tokens = torch.from_numpy(batch.tokens).to(device)
    seen = torch.from_numpy(lineage).to(device)
    depth = torch.from_numpy(lineage.sum(2) - 1).to(device)

    def context(k, v):
        return k, v, seen[:, None]

    return model.read_out(tokens, depth[:, None], [context] * len(model.blocks))


def _lineages(parents: np.ndarray) -> np.ndarray:
    """Which nodes each sees, itself and those above it: (B, S, S) bool from parents (B, S)."""
    rows = np.arange(len(parents))
    seen = np.tile(np.eye(parents.shape[1], dtype=bool), (len(parents), 1, 1))
    for node, parent in enumerate(parents.T):
        seen[:, node] |= seen[rows, parent] & (parent >= 0)[:, None]
    return seen
