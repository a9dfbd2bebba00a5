"""Generation with a cache of keys and values.

Shapes: B sequences of T tokens, the S of them that a cache holds; K heads of keys and values of
size E; V = vocab_size.
"""

import torch
from torch import Tensor

from ..model import DecoderLM


class LayerCache:
    """Keys and values of one block, (B, K, S, E); a call adds those of new tokens."""

    def __init__(self, shape: tuple[int, ...], like: Tensor):
        self.keys = like.new_empty(shape)
        self.values = like.new_empty(shape)
        self.length = 0

    def __call__(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """k, v (B, K, T, E) of new tokens -> all keys, all values, a mask (T, S) of the seen."""
        start = self.length
        new = k.shape[2]
        self.length += new
        self.keys[:, :, start : self.length] = k
        self.values[:, :, start : self.length] = v
        mask = None  # one token sees all; without earlier ones attention is causal by itself
        if new > 1 and start > 0:
            seen = torch.ones(new, self.length, dtype=torch.bool, device=k.device)
            mask = seen.tril(start)
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
    """Next tokens (B, 1) from logits (B, V).

    At temperature 0 they are the likeliest, else they are drawn from the nucleus. The nucleus is
    the fewest tokens that together hold top_p of the probability (Holtzman et al. 2020, arXiv
    1904.09751).

    >>> pick(torch.tensor([[0.0, 2.0, 1.0]]), temperature=0.0, top_p=1.0)
    tensor([[1]])
    """
    if temperature == 0:
        return logits.argmax(-1, keepdim=True)
    probabilities = (logits.float() / temperature).softmax(-1)
    ordered, tokens = probabilities.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered  # what the likelier tokens hold
    nucleus = ordered.masked_fill(before >= top_p, 0)
    return tokens.gather(-1, nucleus.multinomial(1, generator=generator))


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
    """prompt (B, T) of token ids -> (B, T + new_tokens); not `cached`, all is computed again."""
    cache = Cache(model, prompt.shape[0], prompt.shape[1] + new_tokens)
    generator = torch.Generator(prompt.device).manual_seed(seed)
    tokens = prompt
    fresh = prompt  # what the cache does not hold yet
    for _ in range(new_tokens):
        logits = cache.next_logits(model, fresh) if cached else model(tokens)[:, -1]
        fresh = pick(logits, temperature, top_p, generator)
        tokens = torch.cat((tokens, fresh), 1)
    return tokens
