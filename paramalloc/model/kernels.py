"""Causal attention and the loss of the head: torch's own, but on the CPU written to be fast there.

The CPU's are plain torch, forward and backward written out. tests/bench/bench_kernels.py measures
what they gain.

Shapes:
    B  sequences              H  query heads             N  tokens, of all sequences
    T  tokens of a sequence   K  key and value heads     D  size of what the head reads
    S  keys                   E  size of a head          V  tokens of the vocabulary
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 128  # queries at a time; this skips most of what the causal mask would throw away
# Scores of one call, B H T^2. With more of them, keeping the probabilities for backward costs more
# memory than the time saved is worth.
SCORES = 2**26
LOGITS = 2**23  # a chunk has at most so many: they take 32 MB in float32, about a cache


# Attention


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal softmax(q k^T / sqrt(E)) v of q (B, H, T, E) and k, v (B, K, T, E): (B, H, T, E)."""
    batch, heads, length, size = q.shape
    groups = heads // k.shape[1]
    if _is_eager_cpu(q) and q.requires_grad and batch * heads * length**2 <= SCORES:
        if groups > 1:
            k = k.repeat_interleave(groups, 1)
            v = v.repeat_interleave(groups, 1)
        return BlockedAttention.apply(q * size**-0.5, k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=groups > 1)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(E)) v of q (B, H, T, E) over those of k, v (B, K, S, E) that it may see.

    `mask` (..., T, S) is True where a query sees a key. Without one, either a single query sees
    all keys, or there are as many queries as keys, and it is causal.
    """
    is_causal = mask is None and q.shape[2] == k.shape[2]
    is_grouped = q.shape[1] > k.shape[1]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=is_causal, enable_gqa=is_grouped
    )


class BlockedAttention(torch.autograd.Function):
    """Causal softmax(q k^T) v in blocks of queries; the probabilities are kept for backward.

    With P = softmax(q k^T):
        dV = P^T dO,  dS = P * (dO V^T - rowsum(P * dO V^T)),  dQ = dS K,  dK = dS^T Q.
    """

    @staticmethod
    def forward(ctx, q, k, v):
        shape = q.shape
        # (B H, T, E), contiguous: the products need no copies.
        q, k, v = (x.flatten(0, 1).contiguous() for x in (q, k, v))
        future = torch.full((2 * BLOCK, 2 * BLOCK), -torch.inf, dtype=q.dtype).triu(1)
        out = torch.empty_like(q)
        saved = []
        for rows in _query_blocks(q.shape[1]):
            seen = slice(0, rows.stop)
            size = rows.stop - rows.start
            scores = q[:, rows] @ k[:, seen].mT
            scores[..., rows] += future[:size, :size]
            probabilities = scores.softmax(-1)
            out[:, rows] = probabilities @ v[:, seen]
            saved.append(probabilities)
        ctx.save_for_backward(q, k, v, *saved)
        return out.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        q, k, v, *saved = ctx.saved_tensors
        shape = grad.shape
        grad = grad.flatten(0, 1).contiguous()
        dq = torch.empty_like(q)
        dk = torch.zeros_like(k)
        dv = torch.zeros_like(v)
        for rows, probabilities in zip(_query_blocks(q.shape[1]), saved, strict=True):
            seen = slice(0, rows.stop)
            dv[:, seen].baddbmm_(probabilities.mT, grad[:, rows])
            dp = grad[:, rows] @ v[:, seen].mT
            ds = torch._softmax_backward_data(dp, probabilities, -1, dp.dtype)
            dq[:, rows] = ds @ k[:, seen]
            dk[:, seen].baddbmm_(ds.mT, q[:, rows])
        return dq.view(shape), dk.view(shape), dv.view(shape)


def _query_blocks(length: int) -> list[slice]:
    """The queries of a sequence in blocks; a short one is one, as small products cost more."""
    size = length if length <= 2 * BLOCK else BLOCK
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


# The loss


def cross_entropy(x: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Mean nats of targets (N,) under softmax(x table^T), x (N, D), table (V, D): a scalar.

    It is taken in float32, whatever the products are in.
    """
    if not _is_eager_cpu(x):
        return F.cross_entropy(F.linear(x, table).float(), targets)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x = x.to(dtype)
        table = table.to(dtype)
    return ChunkedCrossEntropy.apply(x, table, targets) / len(targets)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies, the logits a chunk at a time and never kept.

    Their gradient is taken at once: d loss / d logits = softmax - onehot(target), as in Liger
    Kernel (Hsu et al. 2024, arXiv 2410.10989).
    """

    @staticmethod
    def forward(ctx, x, table, targets):
        learns = any(ctx.needs_input_grad)
        precise = torch.promote_types(x.dtype, torch.float32)
        dx = torch.empty_like(x) if learns else None
        dtable = torch.zeros_like(table, dtype=precise) if learns else None
        total = x.new_zeros((), dtype=torch.float64)
        # Few rows, for the cache; but with fewer, adding up the table's gradient costs more.
        size = max(1, min(2 * x.shape[1], LOGITS // len(table)))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            truth = targets[rows, None]
            logs = torch.log_softmax(x[rows] @ table.T, -1, dtype=precise)
            total -= logs.gather(1, truth).sum(dtype=torch.float64)
            if learns:
                minus_one = logs.new_full((len(logs), 1), -1.0)
                slope = logs.exp_().scatter_add_(1, truth, minus_one).to(x.dtype)
                torch.mm(slope, table, out=dx[rows])
                dtable += slope.T @ x[rows]
        ctx.save_for_backward(dx, dtable)
        return total.to(precise)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        dx, dtable = ctx.saved_tensors
        return dx * grad, (dtable * grad).to(dx.dtype), None


def token_losses(x: Tensor, table: Tensor, targets: Tensor) -> Tensor:
    """Nats of each of targets (N,) under softmax(x table^T), x (N, D), table (V, D).

    In float32; no gradient.
    """
    return normalizers(x, table)[0] - (x * table[targets]).sum(-1).float()


def normalizers(x: Tensor, table: Tensor, likeliest: bool = False) -> tuple[Tensor, Tensor | None]:
    """log sum_v exp(x table_v) of x (N, D), table (V, D): (N,) in float32; no gradient.

    If `likeliest`, the second result is the likeliest v, (N,); else it is None. The logits are
    never there as a whole, and each chunk of them is overwritten while it lies in the cache.
    """
    sums = []
    tokens = []
    for part in x.split(max(1, LOGITS // 2 // len(table))):
        logits = F.linear(part, table).float()
        if likeliest:
            tokens.append(logits.argmax(-1))
        highest = logits.amax(-1)
        sums.append(logits.sub_(highest[:, None]).exp_().sum(-1).log_() + highest)
    return torch.cat(sums), torch.cat(tokens) if likeliest else None


def _is_eager_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
