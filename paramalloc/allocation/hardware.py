"""Cards and their roofline."""

from dataclasses import dataclass

from ..config import ModelConfig
from .ledger import count_parameters, flops_per_token, memory_bytes, products

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
