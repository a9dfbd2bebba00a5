"""The ledger counts what torch and transformers count."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from paramalloc.allocation import (
    HARDWARE,
    allocate,
    count_parameters,
    flops_per_token,
    memory_bytes,
    peak_flops,
)
from paramalloc.allocation.hardware import roofline
from paramalloc.allocation.ledger import products
from paramalloc.config import ModelConfig
from paramalloc.model import DecoderLM, kernels

KINDS = ("tied", "untied", "factorized")


def make_shape(vocab, layers, heads, groups, d_head, d_ff, embedding, d_embed, mlp) -> ModelConfig:
    d_model = heads * groups * d_head
    d_embed = min(d_embed, d_model) if embedding == "factorized" else None
    return ModelConfig(
        vocab, d_model, layers, heads * groups, heads, d_head, d_ff, embedding, d_embed, mlp
    )


shapes = st.builds(
    make_shape,
    st.integers(257, 70_000),
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from((2, 24, 64)),
    st.integers(1, 900),
    st.sampled_from(KINDS),
    st.integers(1, 300),
    st.sampled_from(("swiglu", "relu2")),
)


@given(shapes)
@settings(max_examples=300, deadline=None)
def test_the_groups_are_the_torch_models(shape):
    """Parameters by group sum to the total, and are those of the model's unique parameters."""
    with torch.device("meta"):
        model = DecoderLM(shape)

    def count(part):
        weights = model.named_parameters()
        return sum(weight.numel() for name, weight in weights if part in name)

    params = count_parameters(shape)
    groups = sum(size for name, size in params.items() if name != "total")
    assert groups == params["total"] == count("")
    assert params["norm"] == count("norm")
    assert params["attention"] == count("attention.")
    assert params["mlp"] == count("mlp.")
    assert params["embedding"] == count("embedding") + count("projection")
    assert params["head"] == count("head.")


def llama_config(model: ModelConfig) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=model.vocab_size,
        hidden_size=model.d_model,
        num_hidden_layers=model.n_layers,
        num_attention_heads=model.n_heads,
        num_key_value_heads=model.n_kv_heads,
        head_dim=model.d_head,
        intermediate_size=model.d_ff,
        tie_word_embeddings=model.embedding == "tied",
    )


@pytest.mark.parametrize("embedding", ("tied", "untied"))
@pytest.mark.parametrize("share, glu", [(0.25, 2.0), (0.35, 2.66), (0.45, 4.0)])
def test_transformers_counts_the_same(share, glu, embedding):
    """LlamaForCausalLM of the same shape holds exactly as many parameters."""
    allocation = allocate(10_000_000, share, glu, 16_000, embedding)
    with torch.device("meta"):
        llama = LlamaForCausalLM(llama_config(allocation.model))
    llama.tie_weights()
    assert sum(weight.numel() for weight in set(llama.parameters())) == allocation.params["total"]


@pytest.mark.parametrize("mlp", ("swiglu", "relu2"))
@pytest.mark.parametrize("embedding", KINDS)
def test_flops_are_what_torch_counts(embedding, mlp, monkeypatch):
    """FLOPs equal FlopCounterMode's, which counts the whole score matrix; causal is half of it."""
    monkeypatch.setattr(kernels, "SCORES", 0)  # torch's own attention
    shape = make_shape(500, 3, 2, 2, 8, 72, embedding, 16, mlp)
    model, tokens = DecoderLM(shape), torch.randint(500, (2, 32))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        loss = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    expected = flops_per_token(shape, 32)
    assert forward.get_total_flops() == tokens.numel() * expected["forward_full"]
    assert (
        forward.get_total_flops() + backward.get_total_flops()
        == tokens.numel() * expected["train_full"]
    )
    assert expected["train_full"] - expected["train"] == 3 * expected["attention"]
    assert expected["attention_full"] == 2 * expected["attention"]
    assert sum(flops for flops, _, _ in products(shape, 32).values()) == expected["forward"]


@pytest.mark.parametrize("mlp", ("swiglu", "relu2"))
@pytest.mark.parametrize("embedding", KINDS)
def test_activations_are_what_autograd_keeps(embedding, mlp, monkeypatch):
    """The ledger's bytes are those of the tensors torch saves for backward, weights apart."""
    monkeypatch.setattr(kernels, "SCORES", 0)  # flash attention, as on a GPU
    shape = make_shape(500, 3, 2, 2, 24, 160, embedding, 32, mlp)
    model, tokens, kept = DecoderLM(shape), torch.randint(500, (4, 64)), {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage, storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
    assert loss.requires_grad
    saved = sum(size for _, size in kept.values())
    expected = memory_bytes(shape, 64, tokens.numel(), value_bytes=4)
    # The rest: statistics of norms and softmax, angles, targets.
    assert saved == pytest.approx(expected["activations"], rel=0.03)


def test_memory_by_purpose():
    """AdamW in float32 is 16 bytes a parameter; a cache holds a key and a value of every layer."""
    allocation = allocate(10_000_000, 0.35, 2.66, 16_000, n_kv_heads=2)
    model = allocation.model
    bytes_of = memory_bytes(model, 512, 4096)
    training = bytes_of["parameters"] + bytes_of["gradients"] + bytes_of["optimizer"]
    assert training == 16 * allocation.params["total"]
    assert bytes_of["weights"] == 2 * allocation.params["total"]
    assert bytes_of["kv_per_token"] == 2 * model.n_layers * 2 * model.d_head * 2
    assert bytes_of["kv_cache"] == 512 * bytes_of["kv_per_token"]


@pytest.mark.parametrize("hardware", HARDWARE)
def test_the_roofline_is_below_the_peaks(hardware):
    """Neither arithmetic nor reading is faster than the device, and wide is faster than deep."""
    peak = HARDWARE[hardware]
    seconds = []
    for share in (0.25, 0.45):  # deep, wide
        shape = allocate(10_000_000, share, 2.66, 16_000).model
        roof = roofline(shape, hardware, 512, 32_768)
        weights = 2 * count_parameters(shape)["total"]  # bytes
        assert roof["train_s_per_token"] >= flops_per_token(shape, 512)["train"] / peak.flops
        assert roof["decode_s_per_token"] >= weights * 0.99 / peak.bandwidth
        assert roof["train_tokens_per_s"] * roof["train_s_per_token"] == pytest.approx(1)
        seconds.append(roof["train_s_per_token"])
    deep, wide = seconds
    assert wide < deep


@pytest.mark.parametrize(
    "device, flops",
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("Tesla V100-SXM2-16GB", 125e12),
        ("cpu", None),
        ("NVIDIA H100 PCIe", None),
        ("Tesla T4", 65e12),
        ("NVIDIA T400 4GB", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
    ],
)
def test_a_card_is_known_by_the_name_torch_gives_it(device, flops):
    """Utilisation is counted against that card's own peak, and not at all where it is not known."""
    assert peak_flops(device) == flops
