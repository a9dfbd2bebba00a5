"""The allocator is exact, and its answer is the best there is."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from paramalloc import InfeasibleError, allocate
from paramalloc.allocator import count_parameters, flops_per_token
from paramalloc.config import ModelConfig
from paramalloc.model import DecoderLM

GRID = list(itertools.product((0.25, 0.35, 0.45), (2.0, 2.66, 3.0, 4.0)))


@pytest.mark.parametrize("share, glu", GRID)
def test_the_reference_cells_are_within_their_tolerances(share, glu):
    """10M parameters, V 16,000: total within 0.5 %, share within 2 points, GLU within 5 %, multiples of 8."""
    found = allocate(total_params=10_000_000, embed_share=share, glu=glu, vocab_size=16_000)
    model = found.model
    assert abs(found.params["total"] / 10_000_000 - 1) <= 0.005
    assert abs(found.embed_share - share) <= 0.02
    assert abs(found.glu / glu - 1) <= 0.05
    assert model.n_heads * model.d_head == model.d_model and 24 <= model.d_head <= 64
    assert all(size % 8 == 0 for size in (model.d_model, model.d_ff, model.d_head))


def test_the_twelve_cells_of_both_profiles_are_twelve_shapes():
    """No two cells of a grid are the same model, at 10M and in the quick profile."""
    study = {allocate(10**7, share, glu, 16_000).model for share, glu in GRID}
    quick = {allocate(10**6, share, glu, 4_096, tolerance=0.01, multiple=4).model for share, glu in GRID}
    assert len(study) == len(quick) == 12


shapes = st.builds(
    lambda vocab, layers, heads, groups, d_head, d_ff: ModelConfig(
        vocab, heads * groups * d_head, layers, heads * groups, heads, d_head, d_ff),
    st.integers(257, 70_000), st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.sampled_from((2, 24, 64)),
    st.integers(1, 900))


@given(shapes)
@settings(max_examples=150, deadline=None)
def test_the_ledger_is_the_torch_models_count(shape):
    """Itemised parameters sum to the total, which is that of the model's unique parameters."""
    with torch.device("meta"):
        model = DecoderLM(shape)
    params = count_parameters(shape)
    assert sum(count for name, count in params.items() if name != "total") == params["total"]
    assert params["total"] == sum(weight.numel() for weight in model.parameters())
    assert params["norm"] == sum(weight.numel() for name, weight in model.named_parameters() if "norm" in name)
    assert params["attention"] == sum(w.numel() for name, w in model.named_parameters() if "attention." in name)


@pytest.mark.parametrize("share, glu", GRID[::5])
def test_transformers_counts_the_same(share, glu):
    """LlamaForCausalLM of the same shape, tied, holds exactly as many parameters."""
    found = allocate(10_000_000, share, glu, 16_000)
    with torch.device("meta"):
        llama = LlamaForCausalLM(llama_config(found.model))
    llama.tie_weights()
    assert sum(weight.numel() for weight in set(llama.parameters())) == found.params["total"]


def llama_config(model: ModelConfig) -> LlamaConfig:
    return LlamaConfig(vocab_size=model.vocab_size, hidden_size=model.d_model, num_hidden_layers=model.n_layers,
                       num_attention_heads=model.n_heads, num_key_value_heads=model.n_kv_heads, head_dim=model.d_head,
                       intermediate_size=model.d_ff, tie_word_embeddings=True)


def test_flops_are_what_torch_counts():
    """Forward and backward FLOPs equal FlopCounterMode's on the model, which counts the full score matrix (ours: half)."""
    found, seq_len = allocate(1_000_000, 0.35, 2.66, 4_096, tolerance=0.01, multiple=4), 32
    model, tokens = DecoderLM(found.model), torch.randint(4_096, (2, seq_len))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        loss = model.loss(tokens, tokens)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    expected = flops_per_token(found.model, seq_len)
    full = expected["matmul"] + 2 * expected["attention"]
    assert forward.get_total_flops() == 2 * seq_len * full
    assert forward.get_total_flops() + backward.get_total_flops() == 2 * seq_len * 3 * full
    assert expected["train"] == 3 * (expected["matmul"] + expected["attention"])


@given(st.integers(20_000, 200_000), st.floats(0.1, 0.9), st.floats(1.0, 5.0), st.sampled_from((257, 300, 512)))
@settings(max_examples=60, deadline=None)
def test_nothing_in_a_small_domain_is_better(total, share, glu, vocab):
    """The answer's objective is the least over a naive enumeration; where that is empty, InfeasibleError."""
    best = naive_best(total, share, glu, vocab)
    if best is None:
        with pytest.raises(InfeasibleError):
            allocate(total, share, glu, vocab, tolerance=0.01)
    else:
        found = allocate(total, share, glu, vocab, tolerance=0.01)
        assert objective(found.model, found.params["total"], share, glu) == pytest.approx(best, abs=1e-6)


def objective(model, total, share, glu):
    off = model.vocab_size * model.d_model / total - share
    return (off / 0.01) ** 2 + (math.log(model.d_ff / model.d_model / glu) / math.log(1.05)) ** 2 + (64 / model.d_head - 1) ** 2


def naive_best(total, share, glu, vocab):
    """All shapes written out with no cleverness: the check on the search's bounds."""
    best = None
    for d, d_head in itertools.product(range(8, 500, 8), range(24, 65, 8)):
        for layers, d_ff in itertools.product(range(1, 60), range(8, 8 * d + 8, 8)) if d % d_head == 0 else ():
            count = vocab * d + layers * (4 * d * d + 3 * d * d_ff + 2 * d) + d
            if count > total * 1.01:
                break_at = d_ff == 8
                if break_at:
                    break
                continue
            if abs(count / total - 1) > 0.01 or abs(vocab * d / count - share) > 0.05:
                continue
            if abs(math.log(d_ff / d / glu)) > math.log(1.25):
                continue
            value = objective(ModelConfig(vocab, d, layers, d // d_head, d // d_head, d_head, d_ff), count, share, glu)
            best = value if best is None else min(best, value)
    return best


def test_an_infeasible_share_names_the_nearest_feasible_one():
    """The message says what is left for the layers and a share that works, and that share does work."""
    with pytest.raises(InfeasibleError, match="leaves 100,000 for the layers") as error:
        allocate(10_000_000, 0.99, 2.66, 16_000)
    nearest = float(str(error.value).rsplit(" ", 1)[1])
    assert allocate(10_000_000, nearest, 2.66, 16_000).embed_share == pytest.approx(nearest, abs=0.05)


def test_an_infeasible_error_is_a_value_error():
    """Callers may catch ValueError."""
    with pytest.raises(ValueError, match="nor at any other share"):
        allocate(100_000, 0.5, 2.66, 16_000)


def test_explicit_dimensions_are_kept():
    """A dimension given by name is taken as it is; with width, depth and d_ff given no budget is needed."""
    assert allocate(10_000_000, 0.35, 2.66, 16_000, d_model=288).model.d_model == 288
    assert allocate(10_000_000, 0.35, 2.66, 16_000, n_layers=6).model.n_layers == 6
    full = allocate(10_000_000, 0.35, 2.66, 16_000, d_model=216, n_layers=12, d_ff=576)
    assert (full.model.d_model, full.model.n_layers, full.model.d_ff) == (216, 12, 576)
    assert full.params["total"] == 10_179_864


def test_grouped_query_attention_is_counted():
    """Fewer key and value heads leave parameters to the MLP, and divide the heads evenly."""
    model = allocate(10_000_000, 0.35, 2.66, 16_000, n_kv_heads=2).model
    assert model.n_kv_heads == 2 and model.n_heads % 2 == 0
