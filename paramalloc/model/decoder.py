"""The decoder: pre-norm blocks of causal attention and SwiGLU, RoPE, RMSNorm, no biases.

The weights are those of a Llama-family model (Touvron et al. 2023, arXiv 2302.13971), so that a
trained run can be exported as one (but for the control without a gate).

Shapes:
    B  sequences              D  d_model                   H  query heads, n_heads
    T  tokens of a sequence   E  size of a head, d_head    K  key and value heads, n_kv_heads
    V  vocab_size             F  size of the MLP, d_ff     S  keys that a query may see
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import ModelConfig
from .kernels import causal_attention, cross_entropy, masked_attention
from .parametrization import rule

NORM_EPS = 1e-5
ROPE_BASE = 10_000.0

# From the k, v (B, K, T, E) of new tokens to all keys, all values (B, K, S, E), and a mask
# (..., T, S), True where seen (None: see `masked_attention`).
Context = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor | None]]


class DecoderLM(nn.Module):
    """A decoder of the given shape, with exactly `count_parameters(config)["total"]` parameters.

    Its embedding is tied, untied or factorized. How the weights start is up to the
    parametrization (parametrization.py).

    >>> shape = ModelConfig(
    ...     vocab_size=300, d_model=48, n_layers=3, n_heads=4, n_kv_heads=2, d_head=12, d_ff=100
    ... )
    >>> model = DecoderLM(shape)
    >>> text = torch.randint(300, (2, 41))
    >>> model(text).shape  # logits (B, T, V)
    torch.Size([2, 41, 300])
    >>> loss = model.loss(tokens=text[:, :-1], targets=text[:, 1:])  # nats, about ln 300
    >>> loss.backward()
    """

    def __init__(self, config: ModelConfig, parametrization: str = "standard"):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_embed or config.d_model)
        self.projection = None
        if config.embedding == "factorized":
            self.projection = _linear(config.d_model, config.d_embed)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.d_model)
        self.head = None
        if config.embedding == "untied":
            self.head = _linear(config.d_model, config.vocab_size)
        self.init_weights(parametrization)

    @torch.no_grad()
    def init_weights(self, parametrization: str) -> None:
        """Draw matrices from a normal and set gains, as the rule of each weight says."""
        for name, weight in self.named_parameters():
            start = rule(name, self.config, parametrization).start
            if weight.dim() == 1:
                weight.fill_(start)
            else:
                weight.normal_(std=start)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) -> logits (B, T, V) of the token after each."""
        return self.logits(self.read_out(tokens))

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of targets (B, T) after tokens (B, T): nats per token, a scalar.

        It is taken in float32, whatever the products are in.
        """
        x = self.read_out(tokens).flatten(0, 1)
        return cross_entropy(x, self.tables[-1], targets.flatten())

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        contexts: Sequence[Context] | None = None,
    ) -> Tensor:
        """Tokens (B, T) -> final hidden states (B, T, D), normalised.

        Args:
            tokens: ids, (B, T).
            positions: of the tokens, (T,) or (B, 1, T), where they are not 0 to T - 1.
            contexts: what each block attends to, where that is not the tokens themselves: a cache
                of earlier ones (evaluation/generation.py), a tree of texts (likelihood.py).
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        cos_sin = rotary(positions, self.config.d_head)
        x = self._embed(tokens)
        contexts = contexts or [None] * len(self.blocks)
        for block, context in zip(self.blocks, contexts, strict=True):
            x = block(x, cos_sin, context)
        return self.norm(x)

    def read_out(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        contexts: Sequence[Context] | None = None,
    ) -> Tensor:
        """Tokens (B, T) -> what the head's table is multiplied with: (B, T, D), or factorized
        (B, T, d_embed). Arguments as of `hidden`."""
        x = self.hidden(tokens, positions, contexts)
        return x if self.projection is None else self.projection(x)

    def logits(self, x: Tensor) -> Tensor:
        """What `read_out` gave, (..., D or d_embed) -> logits (..., V)."""
        return F.linear(x, self.tables[-1])

    @property
    def tables(self) -> list[Tensor]:
        """The matrices with a row per token: the embedding, and the head where it is another."""
        if self.head is None:
            return [self.embedding.weight]
        return [self.embedding.weight, self.head.weight]

    def _embed(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) -> (B, T, D)."""
        x = self.embedding(tokens)
        if self.projection is None:
            return x
        # The transpose of the way out, as in a tied embedding; the stream is float32 as there.
        return F.linear(x, self.projection.weight.T).to(x.dtype)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): (B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.d_model)
        self.mlp = GLU(config) if config.gated else SquaredReLU(config)

    def forward(self, x: Tensor, cos_sin: Tensor, context: Context | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos_sin, context)
        return x + self.mlp(self.mlp_norm(x))


class Attention(nn.Module):
    """Causal self-attention with grouped queries: (B, T, D) -> (B, T, D).

    H / K query heads share the keys and values of one head (Ainslie et al. 2023, arXiv
    2305.13245). Query, key and value come from one product.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads = config.n_heads
        self.kv_heads = config.n_kv_heads
        self.d_head = config.d_head
        self.qkv = _linear(config.d_model, (self.heads + 2 * self.kv_heads) * self.d_head)
        self.out = _linear(self.heads * self.d_head, config.d_model)

    def forward(self, x: Tensor, cos_sin: Tensor, context: Context | None = None) -> Tensor:
        batch, length, _ = x.shape
        qkv = self.qkv(x).view(batch, length, -1, self.d_head).transpose(1, 2)  # (B, H + 2 K, T, E)
        qk, v = qkv.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
        q, k = rotate(qk, cos_sin).split((self.heads, self.kv_heads), dim=1)
        out = causal_attention(q, k, v) if context is None else masked_attention(q, *context(k, v))
        return self.out(out.transpose(1, 2).reshape(batch, length, -1))


class GLU(nn.Module):
    """SwiGLU: down(silu(gate x) * up x), (B, T, D) -> (B, T, D) (Shazeer 2020, arXiv 2002.05202).

    Gate and up, (D, F) each, come from one product.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_up = _linear(config.d_model, 2 * config.d_ff)
        self.down = _linear(config.d_ff, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # (B, T, F)
        return self.down(F.silu(gate) * up)


class SquaredReLU(nn.Module):
    """down(relu(up x)^2): the control without a gate (So et al. 2021, arXiv 2109.08668)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.up = _linear(config.d_model, config.d_ff)
        self.down = _linear(config.d_ff, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x)).square())


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension (Zhang & Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), NORM_EPS)


def rotary(positions: Tensor, d_head: int) -> Tensor:
    """The rotation at positions (..., T): (cos, cos) and (-sin, sin), stacked (2, ..., T, E).

    At position t pair i turns by t * ROPE_BASE^(-2i / E) (Su et al. 2021, arXiv 2104.09864).
    """
    pairs = torch.arange(0, d_head, 2, device=positions.device, dtype=torch.float32)
    frequency = ROPE_BASE ** (-pairs / d_head)  # (E / 2,)
    angle = positions.float()[..., None] * frequency  # (..., T, E / 2)
    cos = angle.cos()
    sin = angle.sin()
    return torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)))


def rotate(x: Tensor, cos_sin: Tensor) -> Tensor:
    """Rotate the pairs (x_i, x_{i + E/2}) of x (B, H, T, E) by the angles of their positions."""
    cos, sin = cos_sin.to(x.dtype)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def _linear(d_in: int, d_out: int) -> nn.Linear:
    return nn.Linear(d_in, d_out, bias=False)
