"""The ledger of a shape: its parameters, FLOPs and bytes, in whole numbers, and the least time they take on a device.

With d = d_model, L layers, a = n_heads d_head, k = n_kv_heads d_head, f = d_ff, e = d_embed and V tokens:

    embedding   V d, or V e + e d when factorized (Lan et al. 2019, arXiv 1909.11942)    head   V d when untied, else 0
    attention   L (2 d a + 2 d k)      mlp   3 L d f, or 2 L d f without a gate          norm   (2 L + 1) d
"""

from dataclasses import dataclass

from .config import ModelConfig


def count_parameters(model: ModelConfig) -> dict[str, int]:
    """Parameters by group, in whole numbers: embedding, attention, mlp, norm, head and their total."""
    d, layers = model.d_model, model.n_layers
    queries, keys = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    table = model.vocab_size * d
    groups = {
        "embedding": (model.vocab_size + d) * model.d_embed
        if model.embedding == "factorized"
        else table,
        "attention": layers * 2 * d * (queries + keys),
        "mlp": layers * model.mlp_matrices * d * model.d_ff,
        "norm": (2 * layers + 1) * d,
        "head": table if model.embedding == "untied" else 0,
    }
    return groups | {"total": sum(groups.values())}


def flops_per_token(model: ModelConfig, seq_len: int) -> dict[str, int]:
    """Floating-point operations per token of a sequence of `seq_len`: a product of (m, k) by (k, n) is 2 m k n.

    `matmul` counts the weight products of a forward pass: the head is one, the embedding look-up is none, a factorized
    embedding's projection is two. `attention` counts the two products of causal attention, L a seq_len on average each;
    `attention_full` those with the whole score matrix, twice as many, which is what torch's FLOP counter counts and what
    a kernel that skips nothing computes. `forward` is matmul + attention; `train`, forward and backward, three times it.
    """
    params = count_parameters(model)
    weights = params["attention"] + params["mlp"] + params["embedding"] + params["head"]
    if model.embedding == "untied":
        weights -= params["embedding"]  # only looked up
    if model.embedding == "factorized":
        weights += model.d_embed * model.d_model  # down from the table, and up to it again
    attention = 2 * model.n_layers * model.n_heads * model.d_head * seq_len
    forward = 2 * weights + attention
    return {
        "matmul": 2 * weights,
        "attention": attention,
        "attention_full": 2 * attention,
        "forward": forward,
        "forward_full": forward + attention,
        "train": 3 * forward,
        "train_full": 3 * (forward + attention),
    }


# -------------------------------------------------------------------- memory


def memory_bytes(
    model: ModelConfig, seq_len: int, batch_tokens: int, value_bytes: int = 2
) -> dict[str, int]:
    """Bytes by purpose, with weights and activations in values of `value_bytes` (2: bf16).

    To generate: `weights`, and per token of context `kv_per_token` = 2 L k values; `kv_cache` is seq_len of these.
    To train: float32 `parameters`, `gradients` and AdamW's two moments (`optimizer`), 16 bytes a parameter, and
    `activations`, what autograd keeps of one forward pass over batch_tokens with flash attention: per token
    `saved_values`, and V logits in float32. `training` is their sum; a compiled model
    keeps less; on the CPU the loss keeps no logits, and attention its probabilities.
    """
    total = count_parameters(model)["total"]
    kv_per_token = 2 * model.n_layers * model.n_kv_heads * model.d_head * value_bytes
    activations = batch_tokens * (value_bytes * saved_values(model) + 4 * model.vocab_size)
    training = {
        "parameters": 4 * total,
        "gradients": 4 * total,
        "optimizer": 8 * total,
        "activations": activations,
    }
    inference = {
        "weights": value_bytes * total,
        "kv_per_token": kv_per_token,
        "kv_cache": kv_per_token * seq_len,
    }
    return inference | training | {"training": sum(training.values())}


def saved_values(model: ModelConfig) -> int:
    """Values per token that autograd keeps of the eager decoder's forward pass, but for the logits.

    A layer keeps of both norms the input, the normalised and the result (6 d); query, key and value as projected (a + 2 k)
    and the two that were rotated (a + k); attention's result (a); gate and up (2 f), silu(gate) and their product
    (2 f). Without a gate: relu(up) and its square (2 f).
    """
    d, queries, keys = model.d_model, model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    layer = 6 * d + 3 * queries + 3 * keys + (4 if model.gated else 2) * model.d_ff
    return (
        model.n_layers * layer
        + 3 * d
        + (2 * model.d_embed if model.embedding == "factorized" else 0)
    )


# ------------------------------------------------------------------ roofline


@dataclass(frozen=True)
class Hardware:
    """Peak rates: dense bf16 (float16 where there is no bf16) operations per second, and bytes per second of its memory."""

    flops: float
    bandwidth: float


# NVIDIA's data sheets, without sparsity.
HARDWARE = {
    "H200 SXM": Hardware(989e12, 4.8e12),
    "H100 SXM": Hardware(989e12, 3.35e12),
    "A100 SXM 80GB": Hardware(312e12, 2.039e12),
    "RTX 4090": Hardware(165.2e12, 1.008e12),
    "V100 SXM2": Hardware(125e12, 0.9e12),
    "T4": Hardware(65e12, 0.32e12),
}


def peak_flops(device: str) -> float | None:
    """Of the card that torch calls `device` ("NVIDIA H100 80GB HBM3"); None where it is not in HARDWARE."""
    cards = {
        "NVIDIA H200": "H200 SXM",
        "NVIDIA H100 80GB HBM3": "H100 SXM",
        "NVIDIA A100-SXM4-80GB": "A100 SXM 80GB",
        "NVIDIA GeForce RTX 4090": "RTX 4090",
        "Tesla V100-SXM2-16GB": "V100 SXM2",
        "Tesla V100-SXM2-32GB": "V100 SXM2",
        "Tesla T4": "T4",
    }
    return HARDWARE[cards[device]].flops if device in cards else None


def products(model: ModelConfig, seq_len: int) -> dict[str, tuple[int, int, int]]:
    """Per token of a forward pass: operation -> (FLOPs, values read and written, weights), norms and activations fused.

    The logits of the head are counted as never written, as in a fused cross-entropy.
    """
    d, f, layers, wide = (
        model.d_model,
        model.d_ff,
        model.n_layers,
        (2 if model.gated else 1) * model.d_ff,
    )
    queries, keys = model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    qkv = queries + 2 * keys
    product = lambda rows, columns, values, times=1: (
        2 * rows * columns * times,
        values * times,
        rows * columns * times,
    )
    found = {
        "qkv": product(d, qkv, d + qkv, layers),
        "attention": (2 * queries * seq_len * layers, (qkv + queries) * layers, 0),
        "out": product(queries, d, queries + 2 * d, layers),
        "up": product(d, wide, d + wide, layers),
        "down": product(f, d, wide + 2 * d, layers),
    }
    if model.embedding == "factorized":
        found["projections"] = product(model.d_embed, d, model.d_embed + d, 2)
        return found | {"head": product(model.d_embed, model.vocab_size, model.d_embed)}
    return found | {"head": product(d, model.vocab_size, d)}


def roofline(
    model: ModelConfig, hardware: str, seq_len: int, batch_tokens: int
) -> dict[str, float | str]:
    """The least time on `hardware` (a name in HARDWARE), each operation at its own roof (Williams et al. 2009):

        seconds = sum over operations of max(FLOPs / peak FLOPs, bytes / bandwidth)

    Training: three times the FLOPs and the bf16 values of a forward pass (backward reads the inputs and the gradient
    and writes one), and per step 28 bytes a parameter for AdamW plus 6 for the weights of the three products.
    Generation, one sequence with a cache of seq_len: all weights and the cache are read for every token.
    `train_bound` and `decode_bound` name the larger term in all, "compute" or "memory".
    """
    peak, operations = HARDWARE[hardware], products(model, seq_len)
    compute = [3 * flops / peak.flops for flops, _, _ in operations.values()]
    memory = [3 * 2 * values / peak.bandwidth for _, values, _ in operations.values()]
    per_step = 34 * count_parameters(model)["total"] / peak.bandwidth / batch_tokens
    train = sum(map(max, compute, memory)) + per_step
    weights = sum(count for _, _, count in operations.values())
    cache = memory_bytes(model, seq_len, batch_tokens)["kv_cache"]
    arithmetic, reading = (
        flops_per_token(model, seq_len)["forward_full"] / peak.flops,
        (2 * weights + cache) / peak.bandwidth,
    )
    return {
        "train_s_per_token": train,
        "train_tokens_per_s": 1 / train,
        "train_bound": "compute" if sum(compute) > sum(memory) + per_step else "memory",
        "decode_s_per_token": max(arithmetic, reading),
        "decode_tokens_per_s": 1 / max(arithmetic, reading),
        "decode_bound": "compute" if arithmetic > reading else "memory",
    }
