"""Generation with a cache of keys and values, and what it costs on this machine."""

import torch
from torch import Tensor

from ..model import DecoderLM

# ---------------------------------------------------------------- generation


class LayerCache:
    """Keys and values of one block, (B, H_kv, S, E); called with those of new tokens, it gives all so far."""

    def __init__(self, shape: tuple[int, ...], like: Tensor):
        self.keys, self.values, self.length = like.new_empty(shape), like.new_empty(shape), 0

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        start, new = self.length, k.shape[2]
        self.length += new
        self.keys[:, :, start : self.length], self.values[:, :, start : self.length] = k, v
        mask = (
            None
            if new == 1 or start == 0
            else torch.ones(new, self.length, dtype=torch.bool, device=k.device).tril(start)
        )
        return self.keys[:, :, : self.length], self.values[:, :, : self.length], mask


class Cache:
    """Room for `length` tokens of a batch: 2 * n_layers * n_kv_heads * d_head values for each."""

    def __init__(self, model: DecoderLM, batch: int, length: int):
        shape = (batch, model.config.n_kv_heads, length, model.config.d_head)
        self.layers = [LayerCache(shape, model.norm.weight) for _ in model.blocks]

    def next_logits(self, model: DecoderLM, tokens: Tensor) -> Tensor:
        """Logits (B, V) after `tokens` (B, T), which follow those that the cache holds."""
        start = self.layers[0].length
        positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
        return model.logits(model.read_out(tokens, positions, self.layers)[:, -1])


def pick(
    logits: Tensor, temperature: float, top_p: float, generator: torch.Generator | None = None
) -> Tensor:
    """Next tokens (B, 1) from logits (B, V): the likeliest at temperature 0, else drawn from the nucleus, the fewest
    tokens that together hold top_p of the probability (Holtzman et al. 2020, arXiv 1904.09751)."""
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    ordered, tokens = (logits.float() / temperature).softmax(-1).sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    chosen = ordered.masked_fill(before >= top_p, 0).multinomial(1, generator=generator)
    return tokens.gather(-1, chosen)


@torch.inference_mode()
def generate(
    model: DecoderLM,
    prompt: Tensor,
    new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    cached: bool = True,
) -> Tensor:
    """prompt (B, T) of token ids -> (B, T + new_tokens). Without the cache every step computes all of it again."""
    cache = Cache(model, prompt.shape[0], prompt.shape[1] + new_tokens)
    generator, tokens = torch.Generator(prompt.device).manual_seed(seed), prompt
    for step in range(new_tokens):
        if cached:
            logits = cache.next_logits(model, tokens if step == 0 else tokens[:, -1:])
        else:
            logits = model(tokens)[:, -1]
        tokens = torch.cat((tokens, pick(logits, temperature, top_p, generator)), 1)
    return tokens


REPEATS, STEPS = 3, 8
