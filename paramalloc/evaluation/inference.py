"""What it costs to generate: latency, throughput, memory."""

import copy
import statistics
import time
import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..model import DecoderLM, synchronize
from .generation import Cache, pick

SERVED = 32  # sequences at a time, where many are served
REPEATS = 3
DECODED = 8  # tokens of each sequence
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}  # else float32


def inference_cost(
    model: DecoderLM,
    seq_len: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> dict[str, float | int]:
    """What generation costs on a device (the model's) with weights in `dtype`.

    The columns of `serving_speeds` after a warm-up, of `stored_bytes` and of `serving_memory`.
    """
    model = copy_to_serve(model, dtype, device)
    for batch in (1, SERVED):
        serve(model, batch, seq_len, 2)
    return (
        serving_speeds(model, seq_len) | stored_bytes(model, dtype) | serving_memory(model, seq_len)
    )


def copy_to_serve(
    model: DecoderLM, dtype: torch.dtype, device: torch.device | None = None
) -> DecoderLM:
    """A copy of the model on a device (its own) with weights in `dtype`."""
    return copy.deepcopy(model).to(device, dtype).eval()


def inference_dtype(device: torch.device, precision: str) -> torch.dtype:
    """What weights are served in: the `precision` of training on a GPU.

    On the CPU always float32: it decodes faster there, 8.5 against 9.1 ms at 10M.
    """
    if device.type == "cpu":
        return torch.float32
    return DTYPES.get(precision, torch.float32)


def serving_speeds(model: DecoderLM, seq_len: int, repeats: int = REPEATS) -> dict[str, float]:
    """Medians of so many repetitions.

    The prompt fills half of a window of seq_len; a few tokens are decoded from there:
    - time_to_first_token_ms: from one prompt to its first new token;
    - prefill_tokens_per_s: prompt tokens of 32 at a time;
    - decode_ms_per_token: between two tokens of a sequence alone;
    - decode_ms_per_token_32: the same of 32 sequences together.
    """
    first_1, next_1 = _median_times(model, 1, seq_len, repeats)
    first_n, next_n = _median_times(model, SERVED, seq_len, repeats)
    return {
        "prefill_tokens_per_s": SERVED * _prompt_length(seq_len) / first_n,
        "time_to_first_token_ms": 1e3 * first_1,
        "decode_ms_per_token": 1e3 * next_1,
        "decode_ms_per_token_32": 1e3 * next_n,
    }


def stored_bytes(model: DecoderLM, dtype: torch.dtype) -> dict[str, int]:
    """kv_bytes_per_token and weight_bytes, in values of `dtype`; nothing is computed for them."""
    config = model.config
    value_bytes = torch.finfo(dtype).bits // 8
    return {
        "kv_bytes_per_token": 2 * config.n_layers * config.n_kv_heads * config.d_head * value_bytes,
        "weight_bytes": sum(weight.numel() for weight in model.parameters()) * value_bytes,
    }


def serving_memory(model: DecoderLM, seq_len: int) -> dict[str, int]:
    """inference_memory_bytes: the most that is held at a time, 32 sequences together.

    What the allocator counts on CUDA, the bytes of all live tensors on the CPU.
    """
    return {
        "inference_memory_bytes": peak_bytes(model, lambda: serve(model, SERVED, seq_len, 2)),
    }


@torch.inference_mode()
def serve(
    model: DecoderLM, batch: int, seq_len: int, steps: int = DECODED
) -> tuple[float, list[float]]:
    """Seconds to the first token of random prompts, and of each token after it, `steps` in all."""
    device = next(model.parameters()).device
    length = _prompt_length(seq_len)
    random = torch.Generator().manual_seed(0)
    prompts = torch.randint(model.config.vocab_size, (batch, length), generator=random)
    tokens = prompts.to(device)
    cache = Cache(model, batch, length + steps)
    seconds = []
    for _ in range(steps):
        synchronize(device)
        start = time.perf_counter()
        tokens = pick(cache.next_logits(model, tokens), 0.0, 1.0)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1:]


def peak_bytes(model: DecoderLM, work: Callable[[], object]) -> int:
    """Bytes held at the most while `work()` runs, the weights included."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)  # an optimizer may lie there as well
        work()
        peak = torch.cuda.max_memory_allocated(device) - before
    else:
        with LiveBytes() as live:
            work()
        peak = live.peak
    return peak + sum(weight.nbytes for weight in model.parameters())


def _prompt_length(seq_len: int) -> int:
    return max(1, seq_len // 2)


def _median_times(model: DecoderLM, batch: int, seq_len: int, repeats: int) -> tuple[float, float]:
    """Median seconds to the first token, and from one token to the next."""
    firsts = []
    nexts = []
    for _ in range(repeats):
        first, seconds = serve(model, batch, seq_len)
        firsts.append(first)
        nexts += seconds
    return statistics.median(firsts), statistics.median(nexts)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, as long as a tensor of theirs lives.

    `now` is the count, `peak` the most that it was.
    """

    def __init__(self):
        super().__init__()
        self.now = 0
        self.peak = 0
        self.tensors = {}  # how many live tensors each storage has

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        inputs = {_storage_key(leaf) for leaf in tree_leaves(args) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._add(leaf, inputs)
        return out

    def _add(self, tensor: Tensor, inputs: set[int]):
        key = _storage_key(tensor)
        size = tensor.untyped_storage().nbytes()
        if key not in self.tensors:
            if key in inputs:
                return  # a view of what was there before, such as a weight
            self.tensors[key] = 0
            self.now += size
            self.peak = max(self.peak, self.now)
        self.tensors[key] += 1
        weakref.finalize(tensor, self._drop, key, size)

    def _drop(self, key: int, size: int):
        self.tensors[key] -= 1
        if not self.tensors[key]:
            del self.tensors[key]
            self.now -= size


def _storage_key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
