"""The ledger of a shape: its parameters, FLOPs and bytes, in whole numbers.

With d = d_model, L layers, a = n_heads d_head, k = n_kv_heads d_head, f = d_ff, e = d_embed and
V tokens:

    embedding   V d, or V e + e d when factorized (Lan et al. 2019, arXiv 1909.11942)
    attention   L (2 d a + 2 d k)
    mlp         3 L d f, or 2 L d f without a gate
    norm        (2 L + 1) d
    head        V d when untied, else 0
"""

from typing import NamedTuple

from ..config import ModelConfig


def count_parameters(model: ModelConfig) -> dict[str, int]:
    """Parameters by group, in whole numbers: embedding, attention, mlp, norm, head and total.

    >>> from paramalloc.config import ModelConfig
    >>> width = {"d_model": 224, "n_heads": 4, "n_kv_heads": 4, "d_head": 56}
    >>> model = ModelConfig(vocab_size=16_000, n_layers=11, d_ff=568, **width)
    >>> for group, count in count_parameters(model).items():
    ...     print(f"{group:10}{count:>10,}")
    embedding  3,584,000
    attention  2,207,744
    mlp        4,198,656
    norm           5,152
    head               0
    total      9,995,552
    """
    d = model.d_model
    queries = model.n_heads * model.d_head
    keys = model.n_kv_heads * model.d_head
    table = model.vocab_size * d

    embedding = table
    if model.d_embed is not None:  # factorized
        embedding = (model.vocab_size + d) * model.d_embed
    head = table if model.embedding == "untied" else 0

    groups = {
        "embedding": embedding,
        "attention": model.n_layers * 2 * d * (queries + keys),
        "mlp": model.n_layers * model.mlp_matrices * d * model.d_ff,
        "norm": (2 * model.n_layers + 1) * d,
        "head": head,
    }
    return groups | {"total": sum(groups.values())}


# --------------------------------------------------------------------- FLOPs


def flops_per_token(model: ModelConfig, seq_len: int) -> dict[str, int]:
    """Floating-point operations per token of a sequence of `seq_len` tokens.

    A product of (m, k) by (k, n) is 2 m k n.

    - `matmul`: the weight products of a forward pass. The head is one, the embedding look-up is
      none, a factorized embedding's projection is two.
    - `attention`: the two products of causal attention, on average L a seq_len each.
    - `attention_full`: the same with the whole score matrix, twice as many. This is what torch's
      FLOP counter counts, and what a kernel that skips nothing computes.
    - `forward` is matmul + attention; `train`, forward and backward, is three times that.

    >>> from paramalloc import allocate
    >>> model = allocate(10_000_000, embed_share=0.35, glu=2.66, vocab_size=16_000).model
    >>> flops = flops_per_token(model, seq_len=512)
    >>> f"{flops['matmul']:,} + {flops['attention']:,}, to train {flops['train']:,}"
    '19,980,800 + 2,523,136, to train 67,511,808'
    """
    params = count_parameters(model)
    weights = params["attention"] + params["mlp"] + params["embedding"] + params["head"]
    if model.embedding == "untied":
        weights -= params["embedding"]  # only looked up
    if model.d_embed is not None:  # factorized
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


class Product(NamedTuple):
    """What an operation takes per token, over all layers."""

    flops: int
    values: int  # read and written
    weights: int


def products(model: ModelConfig, seq_len: int) -> dict[str, Product]:
    """The operations of a forward pass, norms and activations fused into them.

    The logits of the head are counted as never written, as in a fused cross-entropy.
    """
    d = model.d_model
    layers = model.n_layers
    queries = model.n_heads * model.d_head
    qkv = queries + 2 * model.n_kv_heads * model.d_head
    up = (model.mlp_matrices - 1) * model.d_ff
    operations = {
        "qkv": _product(d, qkv, d + qkv, layers),
        "attention": Product(2 * queries * seq_len * layers, (qkv + queries) * layers, 0),
        "out": _product(queries, d, queries + 2 * d, layers),
        "up": _product(d, up, d + up, layers),
        "down": _product(model.d_ff, d, up + 2 * d, layers),
    }
    narrow = d
    if model.d_embed is not None:  # factorized
        narrow = model.d_embed
        operations["projections"] = _product(narrow, d, narrow + d, 2)
    operations["head"] = _product(narrow, model.vocab_size, narrow)
    return operations


def _product(rows: int, columns: int, values: int, times: int = 1) -> Product:
    """A vector by a matrix of rows x columns, `times` times."""
    weights = rows * columns * times
    return Product(2 * weights, values * times, weights)


# -------------------------------------------------------------------- memory


def memory_bytes(
    model: ModelConfig, seq_len: int, batch_tokens: int, value_bytes: int = 2
) -> dict[str, int]:
    """Bytes by purpose, with weights and activations in values of `value_bytes` (2: bf16).

    To generate: `weights`, and per token of context `kv_per_token` = 2 L k values; `kv_cache` is
    seq_len of these.

    To train: float32 `parameters`, `gradients` and AdamW's two moments (`optimizer`), 16 bytes a
    parameter, and `activations`. These are what autograd keeps of one forward pass over
    batch_tokens with flash attention: per token `saved_values`, and V logits in float32. `training`
    is their sum. A compiled model keeps less; on the CPU the loss keeps no logits, and attention
    its probabilities.
    """
    total = count_parameters(model)["total"]
    kv_per_token = 2 * model.n_layers * model.n_kv_heads * model.d_head * value_bytes
    inference = {
        "weights": value_bytes * total,
        "kv_per_token": kv_per_token,
        "kv_cache": kv_per_token * seq_len,
    }
    training = {
        "parameters": 4 * total,
        "gradients": 4 * total,
        "optimizer": 8 * total,
        "activations": batch_tokens * (value_bytes * saved_values(model) + 4 * model.vocab_size),
    }
    return inference | training | {"training": sum(training.values())}


def saved_values(model: ModelConfig) -> int:
    """Values per token that autograd keeps of the eager decoder's forward pass, without the logits.

    A layer keeps, in values per token:

    - of both norms the input, the normalised and the result: 6 d
    - query, key and value as projected, a + 2 k, and the two that were rotated, a + k
    - attention's result: a
    - gate and up, silu(gate) and their product: 4 f; without a gate relu(up) and its square: 2 f
    """
    d = model.d_model
    queries = model.n_heads * model.d_head
    keys = model.n_kv_heads * model.d_head
    mlp = (4 if model.gated else 2) * model.d_ff
    layer = 6 * d + 3 * queries + 3 * keys + mlp
    return model.n_layers * layer + 3 * d + 2 * (model.d_embed or 0)
