"""From a budget to a shape, by exhaustive search. No torch.

- `allocator`: `allocate`, `k_best`, and the `Allocation` that they return
- `request`: the arguments of `allocate`, and their checks
- `search`: every shape within the budget, ranked
- `refusals`: why nothing fits, and the nearest request that does
- `ledger`: the parameters, FLOPs and bytes of a shape
- `hardware`: cards, and the least time that a shape takes on each (roofline)
- `display`: an allocation as rows, as HTML, and in a table of several
"""

from .allocator import Allocation, allocate, allocation, k_best
from .display import comparison
from .hardware import HARDWARE, peak_flops, roofline
from .ledger import count_parameters, flops_per_token, memory_bytes
from .request import Request, check_request
from .search import best_shapes

__all__ = [
    "HARDWARE",
    "Allocation",
    "Request",
    "allocate",
    "allocation",
    "best_shapes",
    "check_request",
    "comparison",
    "count_parameters",
    "flops_per_token",
    "k_best",
    "memory_bytes",
    "peak_flops",
    "roofline",
]
