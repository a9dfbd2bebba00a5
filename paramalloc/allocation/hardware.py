"""Cards and their roofline: the least time that a shape can take on each."""

from dataclasses import dataclass

from ..config import ModelConfig
from .ledger import count_parameters, flops_per_token, memory_bytes, products


@dataclass(frozen=True)
class Hardware:
    """Peak rates of a card.

    `flops`: dense bf16 (float16 where there is no bf16) operations per second.
    `bandwidth`: bytes per second of its memory.
    """

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

# The name that torch gives a card -> its name here.
CARDS = {
    "NVIDIA H200": "H200 SXM",
    "NVIDIA H100 80GB HBM3": "H100 SXM",
    "NVIDIA A100-SXM4-80GB": "A100 SXM 80GB",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
    "Tesla V100-SXM2-16GB": "V100 SXM2",
    "Tesla V100-SXM2-32GB": "V100 SXM2",
    "Tesla T4": "T4",
}


def peak_flops(device: str) -> float | None:
    """Peak operations per second of the card that torch calls `device`; None where not known."""
    if device not in CARDS:
        return None
    return HARDWARE[CARDS[device]].flops


def roofline(
    model: ModelConfig, hardware: str, seq_len: int, batch_tokens: int
) -> dict[str, float | str]:
    """The least time on `hardware` (a name in HARDWARE), each operation at its own roof:

        seconds = sum over operations of max(FLOPs / peak FLOPs, bytes / bandwidth)

    Training takes three times the FLOPs and the bf16 values of a forward pass: backward reads the
    inputs and the gradient and writes one. Each step adds 28 bytes a parameter for AdamW and 6 for
    the weights of the three products.

    Generation is of one sequence with a cache of `seq_len` tokens: all weights and the cache are
    read for every token.

    `train_bound` and `decode_bound` name the larger term in all, "compute" or "memory".
    Source: Williams et al. 2009, "Roofline: an insightful visual performance model".

    >>> from paramalloc import allocate
    >>> model = allocate(10_000_000, embed_share=0.35, glu=2.66, vocab_size=16_000).model
    >>> roof = roofline(model, "T4", seq_len=512, batch_tokens=32_768)
    >>> roof["train_bound"], roof["decode_bound"]
    ('memory', 'memory')
    >>> f"{roof['train_tokens_per_s']:,.0f} tokens/s"
    '676,297 tokens/s'
    """
    peak = HARDWARE[hardware]
    operations = products(model, seq_len).values()

    # Training, in seconds per token.
    compute = [3 * operation.flops / peak.flops for operation in operations]
    memory = [3 * 2 * operation.values / peak.bandwidth for operation in operations]
    per_step = 34 * count_parameters(model)["total"] / peak.bandwidth / batch_tokens
    train = sum(map(max, compute, memory)) + per_step
    compute_binds = sum(compute) > sum(memory) + per_step

    # Generation, in seconds per token.
    weights = sum(operation.weights for operation in operations)
    cache = memory_bytes(model, seq_len, batch_tokens)["kv_cache"]
    arithmetic = flops_per_token(model, seq_len)["forward_full"] / peak.flops
    reading = (2 * weights + cache) / peak.bandwidth
    decode = max(arithmetic, reading)

    return {
        "train_s_per_token": train,
        "train_tokens_per_s": 1 / train,
        "train_bound": "compute" if compute_binds else "memory",
        "decode_s_per_token": decode,
        "decode_tokens_per_s": 1 / decode,
        "decode_bound": "compute" if arithmetic > reading else "memory",
    }
