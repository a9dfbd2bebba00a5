"""What it costs to generate: latency, throughput, memory."""

import copy
import statistics
import time
import weakref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..model import DecoderLM, synchronize
from .generation import REPEATS, STEPS, Cache, pick

# ------------------------------------------------------------ inference cost

BATCH = 32  # sequences at a time, where many are served


@torch.inference_mode()
def inference_cost(
    model: DecoderLM,
    seq_len: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> dict[str, float | int]:
    """What generation costs on a device (the model's) with weights in `dtype`: medians over repetitions after a warm-up.

    The prompt fills half of a window of seq_len; a few tokens are decoded from there:
    - time_to_first_token_ms: from one prompt to its first new token; prefill_tokens_per_s: prompt tokens of 32 at a time;
    - decode_ms_per_token and decode_ms_per_token_32: between two tokens of a sequence, of one alone and of 32 together;
    - kv_bytes_per_token, weight_bytes; inference_memory_bytes: the most that is held at a time, 32 together: what the
      allocator counts on CUDA, the bytes of all live tensors on the CPU, where a process does not tell them apart.
    """
    model = copy.deepcopy(model).to(device, dtype).eval()
    first_1, step_1 = timed(model, 1, seq_len)
    first_n, step_n = timed(model, BATCH, seq_len)
    config, size = model.config, torch.finfo(dtype).bits // 8
    return {
        "prefill_tokens_per_s": BATCH * prompt_length(seq_len) / first_n,
        "time_to_first_token_ms": 1e3 * first_1,
        "decode_ms_per_token": 1e3 * step_1,
        "decode_ms_per_token_32": 1e3 * step_n,
        "kv_bytes_per_token": 2 * config.n_layers * config.n_kv_heads * config.d_head * size,
        "weight_bytes": sum(weight.numel() for weight in model.parameters()) * size,
        "inference_memory_bytes": held(model, lambda: serve(model, BATCH, seq_len, 2)),
    }


def prompt_length(seq_len: int) -> int:
    return max(1, seq_len // 2)


def serve(
    model: DecoderLM, batch: int, seq_len: int, steps: int = STEPS
) -> tuple[float, list[float]]:
    """Seconds to the first token of random prompts, and of each step after it."""
    device, length = next(model.parameters()).device, prompt_length(seq_len)
    tokens = torch.randint(
        model.config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(0)
    ).to(device)
    cache, seconds = Cache(model, batch, length + steps), []
    for _ in range(steps):
        synchronize(device)
        start = time.perf_counter()
        tokens = pick(cache.next_logits(model, tokens), 0.0, 1.0)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1:]


def timed(model: DecoderLM, batch: int, seq_len: int) -> tuple[float, float]:
    """Median seconds to the first token, and from one token to the next."""
    serve(model, batch, seq_len, 2)
    firsts, steps = zip(*(serve(model, batch, seq_len) for _ in range(REPEATS)))
    return statistics.median(firsts), statistics.median(sum(steps, []))


def held(model: DecoderLM, work) -> int:
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


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, as long as a tensor of theirs lives; `peak` is the most."""

    def __init__(self):
        super().__init__()
        self.now, self.peak, self.tensors = 0, 0, {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        inputs = {
            tensor.untyped_storage()._cdata
            for tensor in torch.utils._pytree.tree_leaves(args)
            if isinstance(tensor, Tensor)
        }
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.add(tensor, inputs)
        return out

    def add(self, tensor: Tensor, inputs: set):
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.tensors:
            if key in inputs:
                return  # a view of what was there before, such as a weight
            self.tensors[key] = 0
            self.now += size
            self.peak = max(self.peak, self.now)
        self.tensors[key] += 1
        weakref.finalize(tensor, self.drop, key, size)

    def drop(self, key: int, size: int):
        self.tensors[key] -= 1
        if not self.tensors[key]:
            del self.tensors[key]
            self.now -= size
