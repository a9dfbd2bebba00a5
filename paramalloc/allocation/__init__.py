"""From a budget to a shape, by exhaustive search; the ledger of its parameters, FLOPs and bytes. No torch."""

from .allocator import Allocation, allocate, allocation, k_best
from .display import comparison
from .hardware import HARDWARE, peak_flops
from .ledger import count_parameters, flops_per_token, memory_bytes
from .refusals import checked
from .search import Request

__all__ = [
    "Allocation",
    "HARDWARE",
    "Request",
    "allocate",
    "allocation",
    "checked",
    "comparison",
    "count_parameters",
    "flops_per_token",
    "k_best",
    "memory_bytes",
    "peak_flops",
]
