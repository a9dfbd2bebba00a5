"""Causal attention and the loss of the head, computed so that a CPU is fast; elsewhere torch's own are used.

Both are plain torch, forward and backward written out. What they gain is measured in tests/bench/bench_kernels.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 128  # queries at a time: the products skip most of what the causal mask would throw away
SCORES = (
    2**26
)  # of one call, B H T^2: beyond, the probabilities that backward needs take more memory than they save time
LOGITS = 2**23  # of a chunk at most: 32 MB in float32, about a cache


def eager_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal softmax(q k^T / sqrt(E)) v of q (B, H, T, E) and k, v (B, H_kv, T, E): (B, H, T, E)."""
    groups = q.shape[1] // k.shape[1]
    if eager_cpu(q) and q.requires_grad and q.shape[0] * q.shape[1] * q.shape[2] ** 2 <= SCORES:
        k, v = (x.repeat_interleave(groups, 1) for x in (k, v)) if groups > 1 else (k, v)
        return BlockedAttention.apply(q * q.shape[-1] ** -0.5, k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=groups > 1)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(E)) v of q (B, H, T, E) over the keys k, v (B, H_kv, S, E) that mask (..., T, S) lets each see;
    without a mask, one query that sees all, or as many queries as keys, causal."""
    causal = mask is None and q.shape[2] == k.shape[2]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=q.shape[1] > k.shape[1]
    )


class BlockedAttention(torch.autograd.Function):
    """Causal softmax(q k^T) v in blocks of queries; the probabilities are kept for backward.

    With P = softmax(q k^T):  dV = P^T dO,  dS = P * (dO V^T - rowsum(P * dO V^T)),  dQ = dS K,  dK = dS^T Q.
    """

    @staticmethod
    def blocks(length: int) -> list[slice]:
        size = (
            length if length <= 2 * BLOCK else BLOCK
        )  # few and small products cost more than what they skip
        return [slice(start, min(start + size, length)) for start in range(0, length, size)]

    @staticmethod
    def forward(ctx, q, k, v):
        shape, (q, k, v) = (
            q.shape,
            (x.flatten(0, 1).contiguous() for x in (q, k, v)),
        )  # (B H, T, E): products need no copies
        future = torch.full((2 * BLOCK, 2 * BLOCK), -torch.inf, dtype=q.dtype).triu(1)
        out, kept = torch.empty_like(q), []
        for rows in BlockedAttention.blocks(q.shape[1]):
            seen, size = slice(0, rows.stop), rows.stop - rows.start
            scores = q[:, rows] @ k[:, seen].mT
            scores[..., rows] += future[:size, :size]
            kept.append(scores.softmax(-1))
            out[:, rows] = kept[-1] @ v[:, seen]
        ctx.save_for_backward(q, k, v, *kept)
        return out.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        q, k, v, *kept = ctx.saved_tensors
        shape, grad = grad.shape, grad.flatten(0, 1).contiguous()
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for rows, probabilities in zip(BlockedAttention.blocks(q.shape[1]), kept):
            seen = slice(0, rows.stop)
            dv[:, seen].baddbmm_(probabilities.mT, grad[:, rows])
            dp = grad[:, rows] @ v[:, seen].mT
            ds = torch._softmax_backward_data(dp, probabilities, -1, dp.dtype)
            dq[:, rows] = ds @ k[:, seen]
            dk[:, seen].baddbmm_(ds.mT, q[:, rows])
        return dq.view(shape), dk.view(shape), dv.view(shape)


def cross_entropy(x: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Mean nats of targets (N,) under softmax(x table^T), x (N, D), table (V, D); in float32 whatever the products are in."""
    if eager_cpu(x):
        if torch.is_autocast_enabled("cpu"):
            x, table = (
                x.to(torch.get_autocast_dtype("cpu")),
                table.to(torch.get_autocast_dtype("cpu")),
            )
        return ChunkedCrossEntropy.apply(x, table, targets) / len(targets)
    return F.cross_entropy(F.linear(x, table).float(), targets)


def token_losses(x: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Nats of each of targets (N,) under softmax(x table^T), x (N, D), table (V, D), in float32; no gradient."""
    return normalizers(x, table)[0] - (x * table[targets]).sum(-1).float()


def normalizers(x: Tensor, table: Tensor, likeliest: bool = False) -> tuple[Tensor, Tensor | None]:
    """log sum_v exp(x table_v) of x (N, D), table (V, D): (N,) in float32, and the likeliest v (N,) if asked; no gradient.
    The logits are never there as a whole, and each chunk of them is overwritten while it lies in the cache."""
    sums, places = [], []
    for part in x.split(max(1, LOGITS // 2 // len(table))):
        logits = F.linear(part, table).float()
        if likeliest:
            places.append(logits.argmax(-1))
        highest = logits.amax(-1)
        sums.append(logits.sub_(highest[:, None]).exp_().sum(-1).log_() + highest)
    return torch.cat(sums), torch.cat(places) if likeliest else None


class ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies, the logits a chunk at a time and never kept: their gradient is taken at once.

    d loss / d logits = softmax - onehot(target) (as in Liger Kernel, Hsu et al. 2024, arXiv 2410.10989).
    """

    @staticmethod
    def forward(ctx, x, table, targets):
        learns, precise = any(ctx.needs_input_grad), torch.promote_types(x.dtype, torch.float32)
        rows = max(
            1, min(2 * x.shape[1], LOGITS // len(table))
        )  # few enough for a cache; fewer, and adding up the table's gradient costs more
        dx, dtable = (
            (torch.empty_like(x), torch.zeros_like(table, dtype=precise))
            if learns
            else (None, None)
        )
        total = x.new_zeros((), dtype=torch.float64)
        for part, truth, start in zip(x.split(rows), targets.split(rows), range(0, len(x), rows)):
            logs = torch.log_softmax(part @ table.T, -1, dtype=precise)
            total -= logs.gather(1, truth[:, None]).sum(dtype=torch.float64)
            if learns:
                slope = (
                    logs.exp_()
                    .scatter_add_(1, truth[:, None], logs.new_full((len(part), 1), -1.0))
                    .to(x.dtype)
                )
                torch.mm(slope, table, out=dx[start : start + rows])
                dtable += slope.T @ part
        ctx.save_for_backward(dx, dtable)
        return total.to(precise)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        dx, dtable = ctx.saved_tensors
        return dx * grad, (dtable * grad).to(dx.dtype), None
