"""What the hardware can do: device, precision, time, memory."""

import ctypes
import gc
import os
import platform
import sys
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from pathlib import Path

import torch

from ..config import THREADS_SLEEP, cores, overload
from ..errors import ConfigError

try:
    import resource
except ImportError:  # Windows
    resource = None

# Device and precision


def pick_device(name: str) -> torch.device:
    """The device of that name; auto is CUDA where there is a card.

    ConfigError where torch cannot use it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        _check_cuda(name, device)
    else:
        _share_cores()
    return device


@cache
def _share_cores() -> None:
    """Once a process: use no more threads than cores, and say what makes training slow here."""
    threads = torch.get_num_threads()
    notes = [overload()]
    if threads > cores() and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores())
        notes.append(
            f"{cores()} threads are used, one for each core that this process has, not {threads}"
        )
    if threads > 1 and not THREADS_SLEEP:
        notes.append(
            "torch was imported before paramalloc, so its threads spin while they wait: beside "
            "other work training may take ten times as long. Import paramalloc first, or set "
            "OMP_WAIT_POLICY=PASSIVE"
        )
    for note in filter(None, notes):
        print(f"paramalloc: {note}", file=sys.stderr, flush=True)


def _check_cuda(name: str, device: torch.device) -> None:
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise ConfigError(
            f"device is {name}, but torch finds {count} CUDA devices: use cpu or auto"
        )
    if not built_for(torch.cuda.get_device_capability(device), torch.cuda.get_arch_list()):
        raise ConfigError(
            f"this torch has no kernels for {torch.cuda.get_device_name(device)}: install a build "
            "of torch for an older CUDA (12.6 for V100), or use device cpu"
        )


def built_for(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Whether a build with these architectures (sm_90, compute_90 …) runs on a card.

    It does with the same major version and a minor one that is not newer, or with PTX (compute)
    that the driver can compile.
    """
    for architecture in architectures:
        kind, number = architecture.split("_")
        digits = number.rstrip("af")
        version = (int(digits[:-1]), int(digits[-1]))
        can_run = kind == "compute" or version[0] == capability[0]
        if can_run and version <= capability:
            return True
    return False


def pick_precision(name: str, device: torch.device) -> str:
    """auto is bf16 where the hardware truly has it, fp16 on older CUDA cards, else fp32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16" if features.get("amx_bf16") or features.get("avx512_bf16") else "fp32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """A context in which products are taken in that precision."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def device_name(device: torch.device) -> str:
    """The name of the card, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def cpu_name() -> str:
    """The model of the CPU where the system tells it, else its architecture."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given; the CPU is never behind."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


Stamp = float | torch.cuda.Event


def stamp(device: torch.device) -> Stamp:
    """The moment when the device has done what it was given so far. It is not waited for."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def wait_for(moment: Stamp) -> None:
    """Wait until the device has reached a stamp; the CPU is never behind."""
    if not isinstance(moment, float):
        moment.synchronize()


def seconds_between(first: Stamp, last: Stamp) -> float:
    """Seconds from one stamp of a device to a later one; waits for the later one."""
    wait_for(last)
    if isinstance(last, float):
        return last - first
    return first.elapsed_time(last) / 1000


# Memory


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed: at every step it would unmap and map the logits again.

    Measured on two AVX-512 cores, 10M parameters: 1,390 tokens/s without, 2,190 with.
    """
    if _has_glibc():
        mmap_threshold = -3  # as malloc.h numbers the settings
        trim_threshold = -1
        ctypes.CDLL(None).mallopt(mmap_threshold, 2**30)
        ctypes.CDLL(None).mallopt(trim_threshold, 2**31 - 1)


def _has_glibc() -> bool:
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"


def device_memory(device: torch.device) -> int | None:
    """Bytes that the device has in all; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def release_memory() -> None:
    """Give back what Python, torch and glibc keep of tensors that are gone."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if _has_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def reset_peak_memory(device: torch.device) -> int:
    """Begin to measure the peak anew; 0, or the peak so far where the system has no such way.

    There a later peak tells something only if it is higher.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return 0
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: begin with what is held now
    except OSError:
        return peak_memory(device) or 0
    return 0


def peak_memory(device: torch.device) -> int | None:
    """Peak bytes since the last reset on a CUDA device, of the whole process on the CPU.

    On CUDA of tensors: what torch keeps beyond, as for a recorded step, is not counted. None where
    the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error)
