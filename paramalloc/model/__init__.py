"""The decoder that every cell trains, and what it runs on.

decoder            the model: a Llama-family decoder of a given shape
kernels            attention and the loss of the head, fast on the CPU
parametrization    how each weight starts and how fast it learns: standard, CompleteP
device             device, precision, time and memory
"""

from .decoder import NORM_EPS, ROPE_BASE, DecoderLM
from .device import (
    Stamp,
    autocast,
    cpu_name,
    device_memory,
    device_name,
    is_out_of_memory,
    keep_freed_memory,
    peak_memory,
    pick_device,
    pick_precision,
    release_memory,
    reset_peak_memory,
    seconds_between,
    stamp,
    synchronize,
    wait_for,
)
from .kernels import normalizers, token_losses
from .parametrization import TABLES, rule

__all__ = [
    "NORM_EPS",
    "ROPE_BASE",
    "TABLES",
    "DecoderLM",
    "Stamp",
    "autocast",
    "cpu_name",
    "device_memory",
    "device_name",
    "is_out_of_memory",
    "keep_freed_memory",
    "normalizers",
    "peak_memory",
    "pick_device",
    "pick_precision",
    "release_memory",
    "reset_peak_memory",
    "rule",
    "seconds_between",
    "stamp",
    "synchronize",
    "token_losses",
    "wait_for",
]
