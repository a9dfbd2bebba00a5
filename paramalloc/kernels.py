"""Causal attention and the loss of the head, computed so that a CPU is fast; elsewhere torch's own are used.

Both are plain torch, forward and backward written out. What they gain is measured in tests/bench/bench_kernels.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128  # queries at a time: the products skip most of what the causal mask would throw away
LONGEST = 2048  # beyond, the probabilities that backward needs take more memory than they save time
LOGITS = 2**23  # of a chunk: 32 MB in float32, about a cache


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal softmax(q k^T / sqrt(E)) v of q (B, H, T, E) and k, v (B, H_kv, T, E): (B, H, T, E)."""
    groups = q.shape[1] // k.shape[1]
    if q.device.type == "cpu" and q.requires_grad and q.shape[2] <= LONGEST and not torch.compiler.is_compiling():
        k, v = (x.repeat_interleave(groups, 1) for x in (k, v)) if groups > 1 else (k, v)
        return BlockedAttention.apply(q * q.shape[-1] ** -0.5, k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=groups > 1)


class BlockedAttention(torch.autograd.Function):
    """Causal softmax(q k^T) v in blocks of queries; the probabilities are kept for backward.

    With P = softmax(q k^T):  dV = P^T dO,  dS = P * (dO V^T - rowsum(P * dO V^T)),  dQ = dS K,  dK = dS^T Q.
    """

    @staticmethod
    def blocks(length: int) -> list[slice]:
        size = length if length <= 2 * BLOCK else BLOCK  # few and small products cost more than what they skip
        return [slice(start, min(start + size, length)) for start in range(0, length, size)]

    @staticmethod
    def forward(ctx, q, k, v):
        future = torch.full((2 * BLOCK, 2 * BLOCK), -torch.inf, dtype=q.dtype).triu(1)
        out, kept = torch.empty_like(q), []
        for rows in BlockedAttention.blocks(q.shape[2]):
            scores, size = q[:, :, rows] @ k[:, :, : rows.stop].transpose(-1, -2), rows.stop - rows.start
            scores[..., rows] += future[:size, :size]
            kept.append(scores.softmax(-1))
            out[:, :, rows] = kept[-1] @ v[:, :, : rows.stop]
        ctx.save_for_backward(q, k, v, *kept)
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, *kept = ctx.saved_tensors
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for rows, probabilities in zip(BlockedAttention.blocks(q.shape[2]), kept):
            seen, given = slice(0, rows.stop), grad[:, :, rows]
            dv[:, :, seen] += probabilities.transpose(-1, -2) @ given
            dp = given @ v[:, :, seen].transpose(-1, -2)
            ds = torch._softmax_backward_data(dp, probabilities, -1, dp.dtype)
            dq[:, :, rows] = ds @ k[:, :, seen]
            dk[:, :, seen] += ds.transpose(-1, -2) @ q[:, :, rows]
        return dq, dk, dv


def cross_entropy(x: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Mean nats of targets (N,) under softmax(x table^T), x (N, D), table (V, D); in float32 whatever the products are in."""
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        if torch.is_autocast_enabled("cpu"):
            x, table = x.to(torch.get_autocast_dtype("cpu")), table.to(torch.get_autocast_dtype("cpu"))
        return ChunkedCrossEntropy.apply(x, table, targets) / len(targets)
    return F.cross_entropy(F.linear(x, table).float(), targets)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies, the logits a chunk at a time and never kept: their gradient is taken at once.

    d loss / d logits = softmax - onehot(target) (as in Liger Kernel, Hsu et al. 2024, arXiv 2410.10989).
    """

    @staticmethod
    def forward(ctx, x, table, targets):
        learns, rows, precise = ctx.needs_input_grad[0], max(1, LOGITS // len(table)), torch.promote_types(x.dtype, torch.float32)
        dx, dtable = (torch.empty_like(x), torch.zeros_like(table, dtype=precise)) if learns else (None, None)
        total = x.new_zeros((), dtype=torch.float64)
        for part, truth, start in zip(x.split(rows), targets.split(rows), range(0, len(x), rows)):
            logits = (part @ table.T).to(precise)
            norm = logits.logsumexp(-1, keepdim=True)
            total += (norm - logits.gather(1, truth[:, None])).sum(dtype=torch.float64)
            if learns:
                slope = logits.sub_(norm).exp_().scatter_add_(1, truth[:, None], logits.new_full((len(part), 1), -1.0)).to(x.dtype)
                torch.mm(slope, table, out=dx[start:start + rows])
                dtable += slope.T @ part
        ctx.save_for_backward(dx, dtable)
        return total.to(precise)

    @staticmethod
    def backward(ctx, grad):
        dx, dtable = ctx.saved_tensors
        return dx * grad, (dtable * grad).to(dx.dtype), None
