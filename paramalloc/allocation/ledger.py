"""The ledger of a shape: its parameters, FLOPs and bytes, in whole numbers, and the least time they take on a device.

With d = d_model, L layers, a = n_heads d_head, k = n_kv_heads d_head, f = d_ff, e = d_embed and V tokens:

    embedding   V d, or V e + e d when factorized (Lan et al. 2019, arXiv 1909.11942)    head   V d when untied, else 0
    attention   L (2 d a + 2 d k)      mlp   3 L d f, or 2 L d f without a gate          norm   (2 L + 1) d
"""

from ..config import ModelConfig


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
