"""The decoder, its kernels and its parametrization."""

from .decoder import NORM_EPS, ROPE_BASE, DecoderLM
from .device import (
    autocast,
    device_memory,
    device_name,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory,
    pick_device,
    pick_precision,
    reset_peak_memory,
    synchronize,
)
from .kernels import normalizers, token_losses
from .parametrization import TABLES, rule

__all__ = [
    "DecoderLM",
    "NORM_EPS",
    "ROPE_BASE",
    "TABLES",
    "autocast",
    "device_name",
    "keep_freed_memory",
    "device_memory",
    "normalizers",
    "peak_memory",
    "pick_device",
    "pick_precision",
    "is_out_of_memory",
    "reset_peak_memory",
    "rule",
    "synchronize",
    "token_losses",
]
