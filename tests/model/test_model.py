"""The decoder is a Llama, and nothing it computes sees the future."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from paramalloc.config import ModelConfig
from paramalloc.export import llama_config, llama_weights
from paramalloc.model import DecoderLM
from paramalloc.model.decoder import rotary, rotate

TINY = ModelConfig(
    vocab_size=300, d_model=48, n_layers=3, n_heads=4, n_kv_heads=2, d_head=12, d_ff=100
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DecoderLM(TINY)


def shape(embedding: str) -> ModelConfig:
    d_embed = 16 if embedding == "factorized" else None
    return replace(TINY, embedding=embedding, d_embed=d_embed)


def as_llama(model: DecoderLM) -> LlamaForCausalLM:
    """The same weights in transformers' model; a factorized embedding is multiplied out."""
    llama = LlamaForCausalLM(LlamaConfig(**llama_config(model.config, 512)))
    weights = llama_weights(model.state_dict(), model.config)
    llama.load_state_dict(weights, strict=False)  # a tied head has no entry
    llama.tie_weights()
    return llama.eval()


@torch.no_grad()
@pytest.mark.parametrize("embedding", ("tied", "untied", "factorized"))
def test_logits_and_loss_are_those_of_transformers_llama(embedding):
    """The same weights give LlamaForCausalLM's logits and loss, with grouped queries."""
    model = DecoderLM(shape(embedding))
    for weight in model.parameters():
        weight.copy_(torch.randn_like(weight) * 0.2)
    tokens = torch.randint(300, (2, 40))
    llama = as_llama(model)
    torch.testing.assert_close(model(tokens), llama(tokens).logits, atol=2e-4, rtol=1e-4)
    loss = model.loss(tokens[:, :-1], tokens[:, 1:])
    torch.testing.assert_close(loss, llama(tokens, labels=tokens).loss, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_no_token_sees_a_later_one(model):
    """Changing token t leaves the logits before t as they are, and changes those at t."""
    tokens = torch.randint(300, (1, 20))
    other = tokens.clone()
    other[0, 10] = (other[0, 10] + 1) % 300
    before, after = model(tokens), model(other)
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.equal(before[:, 10], after[:, 10])


def test_attention_scores_depend_on_distance_alone():
    """RoPE: rotated query and key at t and s have the product they have at t + 5 and s + 5."""
    q, k = torch.randn(2, 1, 1, 1, 16)
    cos_sin = rotary(torch.arange(32), 16)

    def score(query_at, key_at):
        query = rotate(q, cos_sin[:, query_at : query_at + 1])
        key = rotate(k, cos_sin[:, key_at : key_at + 1])
        return (query * key).sum()

    torch.testing.assert_close(score(3, 1), score(8, 6), atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_float64(model):
    """Every parameter's gradient in float32 is that of the float64 model."""
    tokens = torch.randint(300, (2, 17))
    double = DecoderLM(TINY).double()
    double.load_state_dict(model.state_dict())
    for one in (model, double):
        one.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    pairs = zip(model.named_parameters(), double.parameters(), strict=True)
    for (name, weight), exact in pairs:
        error = (weight.grad - exact.grad).norm() / exact.grad.norm()
        assert error < 1e-4, f"{name}: {error}"


@pytest.mark.parametrize("embedding", ("tied", "untied", "factorized"))
def test_an_untrained_model_is_as_uncertain_as_a_uniform_guess(embedding):
    """The first loss is close to ln V: above it by half the variance of the logits.

    That is 0.2; up to 0.4 in a factorized embedding, with its few directions.
    """
    torch.manual_seed(0)
    model = DecoderLM(shape(embedding))
    tokens, targets = torch.randint(300, (2, 4, 64))
    assert model.loss(tokens, targets).item() == pytest.approx(math.log(300), abs=0.45)


def test_the_control_without_a_gate_is_a_squared_relu():
    """relu2: down(relu(up x)^2), by hand."""
    mlp = DecoderLM(replace(TINY, mlp="relu2")).blocks[0].mlp
    x = torch.randn(5, TINY.d_model)
    torch.testing.assert_close(mlp(x), (x @ mlp.up.weight.T).clamp(min=0) ** 2 @ mlp.down.weight.T)
