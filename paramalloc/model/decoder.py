"""The decoder: pre-norm, RMSNorm, RoPE, causal attention, SwiGLU, no biases; embedding tied, untied or factorized.

The weights are those of a Llama-family model (Touvron et al. 2023, arXiv 2302.13971), so that a trained run can be
exported as one (but for the control without a gate). Shapes: B sequences of T tokens, D = d_model, H heads of size E,
V = vocab_size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import ModelConfig
from .kernels import causal_attention, cross_entropy, masked_attention
from .parametrization import rule

NORM_EPS = 1e-5
ROPE_BASE = 10_000.0


def rotary(positions: Tensor, d_head: int) -> Tensor:
    """(cos, cos) and (-sin, sin) of t * ROPE_BASE^(-2i / d_head) at positions (..., T): (2, ..., T, d_head)
    (Su et al. 2021, eq. 15)."""
    frequency = ROPE_BASE ** (
        -torch.arange(0, d_head, 2, device=positions.device, dtype=torch.float32) / d_head
    )
    angle = positions.float()[..., None] * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)))


def rotate(x: Tensor, cos_sin: Tensor) -> Tensor:
    """Rotate the pairs (x_i, x_{i + E/2}) of x (B, H, T, E) by the angles of their positions."""
    cos, sin = cos_sin.to(x.dtype)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension (Zhang & Sennrich 2019)."""

    def __init__(self, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), NORM_EPS)


class Attention(nn.Module):
    """Causal self-attention; query, key and value share one product. (B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads, self.kv_heads, self.d_head = config.n_heads, config.n_kv_heads, config.d_head
        self.qkv = nn.Linear(
            config.d_model, (self.heads + 2 * self.kv_heads) * self.d_head, bias=False
        )
        self.out = nn.Linear(self.heads * self.d_head, config.d_model, bias=False)

    def forward(self, x: Tensor, cos_sin: Tensor, context=None) -> Tensor:
        batch, length, _ = x.shape
        heads = (
            self.qkv(x).view(batch, length, -1, self.d_head).transpose(1, 2)
        )  # (B, H + 2 H_kv, T, E)
        qk, v = heads.split((self.heads + self.kv_heads, self.kv_heads), dim=1)
        q, k = rotate(qk, cos_sin).split((self.heads, self.kv_heads), dim=1)
        out = causal_attention(q, k, v) if context is None else masked_attention(q, *context(k, v))
        return self.out(out.transpose(1, 2).reshape(batch, length, -1))


class GLU(nn.Module):
    """SwiGLU: down(silu(gate x) * up x), gate and up in one product (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_up = nn.Linear(config.d_model, 2 * config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class SquaredReLU(nn.Module):
    """down(relu(up x)^2): the control without a gate (So et al. 2021, arXiv 2109.08668)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x)).square())


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). (B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.d_model)
        self.mlp = GLU(config) if config.gated else SquaredReLU(config)

    def forward(self, x: Tensor, cos_sin: Tensor, context=None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos_sin, context)
        return x + self.mlp(self.mlp_norm(x))


class DecoderLM(nn.Module):
    """A decoder of the given shape; its parameters number exactly `count_parameters(config)["total"]`. How they start is up to
    the `parametrization` (parametrization.py)."""

    def __init__(self, config: ModelConfig, parametrization: str = "standard"):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_embed or config.d_model)
        self.projection = (
            nn.Linear(config.d_model, config.d_embed, bias=False) if config.d_embed else None
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.d_model)
        self.head = (
            nn.Linear(config.d_model, config.vocab_size, bias=False)
            if config.embedding == "untied"
            else None
        )
        self.init_weights(parametrization)

    @torch.no_grad()
    def init_weights(self, parametrization: str):
        for name, weight in self.named_parameters():
            start = rule(name, self.config, parametrization).start
            weight.fill_(start) if weight.dim() == 1 else weight.normal_(std=start)

    @property
    def tables(self) -> list[Tensor]:
        """What has a row per token: the embedding, and the head where it is another."""
        return [self.embedding.weight] + ([self.head.weight] if self.head is not None else [])

    def hidden(self, tokens: Tensor, positions: Tensor | None = None, contexts=None) -> Tensor:
        """Tokens (B, T) -> final hidden states (B, T, D), normalised.

        Only where tokens are not simply the text from its start: their `positions`, (T,) or (B, 1, T), and for each block
        a function in `contexts` from these tokens' k, v to all keys, all values and a mask (..., T, S), True where seen:
        a cache of earlier tokens (generate.py), a tree of texts (likelihood.py).
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        cos_sin = rotary(positions, self.config.d_head)
        x = self.embedding(tokens)
        if self.projection is not None:
            x = F.linear(x, self.projection.weight.T).to(
                x.dtype
            )  # (B, T, d_embed) -> (B, T, D), in float32 as in a tied model
        for block, context in zip(self.blocks, contexts or [None] * len(self.blocks)):
            x = block(x, cos_sin, context)
        return self.norm(x)

    def read_out(self, tokens: Tensor, positions: Tensor | None = None, contexts=None) -> Tensor:
        """Tokens (B, T) -> what the head's table is multiplied with (B, T, D), or (B, T, d_embed) when factorized."""
        x = self.hidden(tokens, positions, contexts)
        return (
            x if self.projection is None else self.projection(x)
        )  # the transpose of the way in, as in a tied embedding

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T) -> logits (B, T, V) of the next token."""
        return self.logits(self.read_out(tokens))

    def logits(self, x: Tensor) -> Tensor:
        """What `read_out` gave (..., D) -> logits (..., V)."""
        return F.linear(x, self.tables[-1])

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats of targets (B, T) after tokens (B, T), in float32 whatever the products are in."""
        return cross_entropy(
            self.read_out(tokens).flatten(0, 1), self.tables[-1], targets.flatten()
        )
