"""The allocator is exact, and its answer is the best there is."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from paramalloc.allocation import allocate, k_best
from paramalloc.config import ModelConfig
from paramalloc.errors import InfeasibleError
from paramalloc.model import DecoderLM

GRID = list(itertools.product((0.25, 0.35, 0.45), (2.0, 2.66, 3.0, 4.0)))


@pytest.mark.parametrize("share, glu", GRID)
def test_the_reference_cells_are_within_their_tolerances(share, glu):
    """At 10M and V 16,000: total within 0.5 %, share within 2 points, GLU within 5 %, in 8s."""
    allocation = allocate(total_params=10_000_000, embed_share=share, glu=glu, vocab_size=16_000)
    model = allocation.model
    assert abs(allocation.params["total"] / 10_000_000 - 1) <= 0.005
    assert abs(allocation.embed_share - share) <= 0.02
    assert abs(allocation.glu / glu - 1) <= 0.05
    assert model.n_heads * model.d_head == model.d_model and 24 <= model.d_head <= 64
    assert all(size % 8 == 0 for size in (model.d_model, model.d_ff, model.d_head))


def test_the_twelve_cells_of_both_profiles_are_twelve_shapes():
    """No two cells of a grid are the same model, at 10M and in the quick profile."""
    study = {allocate(10**7, share, glu, 16_000).model for share, glu in GRID}
    quick = {
        allocate(10**6, share, glu, 4_096, tolerance=0.01, multiple=4).model for share, glu in GRID
    }
    assert len(study) == len(quick) == 12


KINDS = st.sampled_from(("tied", "untied", "factorized"))
REQUESTS = st.fixed_dictionaries(
    {
        "total_params": st.integers(1_000_000, 100_000_000),
        "vocab_size": st.integers(256, 65_536),
        "embed_share": st.floats(0.01, 0.95),
        "glu": st.floats(0.5, 8.0),
        "embedding": KINDS,
        "n_kv_heads": st.sampled_from((None, None, 1, 2, 3)),
        "mlp": st.sampled_from(("swiglu", "swiglu", "relu2")),
    }
)


@given(REQUESTS)
@settings(max_examples=400, deadline=None)
def test_an_answer_keeps_every_constraint_and_the_rest_is_infeasible(request):
    """Total, limits, multiples and heads hold, and the ledger counts the torch model.

    InfeasibleError and nothing else is raised.
    """
    try:
        allocation = allocate(**request)
    except InfeasibleError:
        event("infeasible")
        return
    event(request["embedding"])
    model = allocation.model

    # The budget and the limits. (The quotient of a total at exactly 0.5 % rounds to more.)
    total, share, glu = request["total_params"], request["embed_share"], request["glu"]
    assert abs(allocation.params["total"] - total) <= 0.005 * total
    assert abs(allocation.embed_share - share) <= min(0.05, share / 2) + 1e-9
    assert abs(math.log(allocation.glu / glu)) <= math.log(1.25) + 1e-9

    # Heads, multiples, and an embedding of the kind that was requested.
    d_embed = model.d_embed or 0
    assert model.n_heads * model.d_head == model.d_model and 24 <= model.d_head <= 64
    assert model.n_heads % model.n_kv_heads == 0
    assert model.n_kv_heads == (request["n_kv_heads"] or model.n_heads)
    assert not any(size % 8 for size in (model.d_model, model.d_ff, model.d_head, d_embed))
    assert (model.d_embed is None) == (request["embedding"] != "factorized")
    assert d_embed <= model.d_model

    if model.n_layers <= 64:  # building hundreds of layers takes seconds
        assert allocation.params["total"] == unique_parameters(model)
    assert allocate(**request) == allocation


def unique_parameters(shape: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in set(DecoderLM(shape).parameters()))


SMALL = st.fixed_dictionaries(
    {
        "total_params": st.integers(20_000, 200_000),
        "vocab_size": st.sampled_from((257, 300, 512)),
        "embed_share": st.floats(0.1, 0.9),
        "glu": st.floats(1.0, 5.0),
        "embedding": KINDS,
        "n_kv_heads": st.sampled_from((None, 1, 2)),
        "mlp": st.sampled_from(("swiglu", "relu2")),
    }
)


ROUNDING = 1e-9  # a value at its limit is within it, on whichever side its float lies
AT_THE_LIMIT = {  # d_ff / d_model is 1.2 here, 1.5 / 1.25
    "total_params": 48_278,
    "vocab_size": 300,
    "embed_share": 0.25,
    "glu": 1.5,
    "embedding": "tied",
    "n_kv_heads": None,
    "mlp": "swiglu",
}
SMALLEST_TOTAL = {  # that of the answer, 31,680, is 1 % below the budget
    "total_params": 32_000,
    "vocab_size": 257,
    "embed_share": 0.5,
    "glu": 1.0,
    "embedding": "factorized",
    "n_kv_heads": None,
    "mlp": "relu2",
}


@given(SMALL)
@example(AT_THE_LIMIT)
@example(SMALLEST_TOTAL)
@settings(max_examples=150, deadline=None)
def test_nothing_in_a_small_domain_is_better(request):
    """The answer is the least over a naive enumeration of every shape; InfeasibleError if none."""
    best = naive_best(**request)
    if best is None:
        with pytest.raises(InfeasibleError):
            allocate(**request, tolerance=0.01)
        return
    event("feasible " + request["embedding"])
    allocation = allocate(**request, tolerance=0.01)
    value = objective(
        allocation.model, allocation.params["total"], request["embed_share"], request["glu"]
    )
    assert value == pytest.approx(best, abs=1e-6)


def objective(model, total, share, glu):
    """`allocate`'s docstring, written out again; None where a limit is broken."""
    matrices = {"swiglu": 3, "relu2": 2}[model.mlp]
    table = model.vocab_size * model.d_model
    aspect = 0
    if model.embedding == "factorized":
        embedding = (model.vocab_size + model.d_model) * model.d_embed
        aspect = math.log(model.d_model / (48 * model.n_layers))
    else:
        embedding = {"tied": table, "untied": 2 * table}[model.embedding]
    off = embedding / total - share
    stretch = math.log(model.d_ff * matrices / 3 / model.d_model / glu)
    if abs(off) > min(0.05, share / 2) + ROUNDING:
        return None
    if abs(stretch) > math.log(1.25) + ROUNDING or abs(aspect) > math.log(2) + ROUNDING:
        return None
    terms = (off / 0.01, stretch / math.log(1.05), 64 / model.d_head - 1, aspect)
    return sum(term**2 for term in terms)


def naive_best(total_params, vocab_size, embed_share, glu, embedding, n_kv_heads, mlp):
    """The least objective of all shapes, enumerated naively: the check on the search's bounds."""
    matrices = {"swiglu": 3, "relu2": 2}[mlp]
    values = []
    for d, d_embed, d_head in naive_widths(vocab_size, embedding):
        heads = d // d_head
        keys = n_kv_heads or heads
        if d % d_head or heads % keys:
            continue
        table = (vocab_size + d) * d_embed if d_embed else vocab_size * d
        if embedding == "untied":
            table *= 2
        for layers in range(1, 60):
            rest = table + d + layers * (2 * d * d + 2 * d * keys * d_head + 2 * d)
            if rest / total_params - 1 > 0.01 + ROUNDING:
                break
            for d_ff in range(8, 10 * d + 8, 8):
                count = rest + layers * matrices * d * d_ff
                if abs(count / total_params - 1) > 0.01 + ROUNDING:
                    continue
                sizes = (vocab_size, d, layers, heads, keys, d_head, d_ff)
                shape = ModelConfig(*sizes, embedding, d_embed, mlp)
                values.append(objective(shape, count, embed_share, glu))
    return min((value for value in values if value is not None), default=None)


def naive_widths(vocab_size, embedding):
    """(d_model, d_embed, d_head) of every multiple of 8."""
    for d_model in range(24, 330, 8):
        d_embeds = range(8, d_model + 1, 8) if embedding == "factorized" else [None]
        yield from itertools.product([d_model], d_embeds, (24, 32, 40, 48, 56, 64))


def test_the_k_best_are_distinct_and_in_order():
    """k_best gives k different shapes: the first is allocate's, none is better than the last."""
    request = {"total_params": 10_000_000, "embed_share": 0.35, "glu": 2.66, "vocab_size": 16_000}
    best = k_best(8, **request)
    values = [objective(one.model, one.params["total"], 0.35, 2.66) for one in best]
    assert best[0] == allocate(**request) and len({one.model for one in best}) == 8
    assert values == pytest.approx(sorted(values), abs=1e-6)


def test_what_a_factorized_embedding_is_traded_against():
    """The MLP shrinks as the share grows where width and depth are given, else the depth does."""

    def ask(share, **given):
        return allocate(10_000_000, share, 2.66, 16_000, "factorized", d_model=288, **given)

    by_mlp = [ask(share, n_layers=6) for share in (0.25, 0.35, 0.45)]
    by_depth = [ask(share) for share in (0.25, 0.35, 0.45)]
    for allocation in (*by_mlp, *by_depth):
        assert (
            allocation.model.d_model == 288
            and abs(allocation.embed_share - allocation.requested_share) <= 0.02
        )
    assert all(
        allocation.model.n_layers == 6 and allocation.requested_glu is None for allocation in by_mlp
    )
    assert by_mlp[0].model.d_ff > by_mlp[1].model.d_ff > by_mlp[2].model.d_ff
    assert all(abs(allocation.glu / 2.66 - 1) < 0.25 for allocation in by_depth)
    assert by_depth[0].model.n_layers > by_depth[1].model.n_layers > by_depth[2].model.n_layers


def test_without_a_gate_the_parameters_stay_equal():
    """relu2 has the width, depth and MLP parameters of swiglu: d_ff is half as large again."""
    gated = allocate(10_000_000, 0.35, 2.66, 16_000, mlp="swiglu")
    plain = allocate(10_000_000, 0.35, 2.66, 16_000, mlp="relu2")
    assert plain.model.d_model == gated.model.d_model
    assert plain.model.n_layers == gated.model.n_layers
    assert plain.model.d_ff / gated.model.d_ff == pytest.approx(1.5, rel=0.02)
    assert plain.params["mlp"] / gated.params["mlp"] == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("same", [np.int64(10_000_000), 10e6, "10_000_000"], ids=repr)
def test_whole_numbers_of_any_kind_are_understood(same):
    """numpy's, floats and text give the same plain whole numbers; k_best wants at least one."""
    request = {
        "embed_share": 0.35,
        "glu": 2.66,
        "vocab_size": np.uint16(16_000),
        "d_model": np.int16(288),
    }
    allocation = allocate(same, **request)
    assert allocation == allocate(10_000_000, 0.35, 2.66, 16_000, d_model=288)
    assert json.dumps(allocation.details())
    with pytest.raises(InfeasibleError, match="k must be at least 1, not 0"):
        k_best(0, same, **request)


def test_named_heads_keep_their_limits():
    """n_heads alone still means a d_head from 24 to 64; with d_model it means what it says."""
    assert 24 <= allocate(10_000_000, 0.35, 2.66, 16_000, n_heads=8).model.d_head <= 64
    assert allocate(10_000_000, 0.35, 2.66, 16_000, d_model=288, n_heads=2).model.d_head == 144


def test_explicit_dimensions_are_kept():
    """A named dimension is taken as it is; with width, depth and d_ff no budget is needed."""
    assert allocate(10_000_000, 0.35, 2.66, 16_000, d_model=288).model.d_model == 288
    assert allocate(10_000_000, 0.35, 2.66, 16_000, n_layers=6).model.n_layers == 6
    full = allocate(10_000_000, 0.35, 2.66, 16_000, d_model=216, n_layers=12, d_ff=576)
    assert (full.model.d_model, full.model.n_layers, full.model.d_ff) == (216, 12, 576)
    assert full.params["total"] == 10_179_864


def test_grouped_query_attention_is_counted():
    """Fewer key and value heads leave parameters to the MLP, and divide the heads evenly."""
    model = allocate(10_000_000, 0.35, 2.66, 16_000, n_kv_heads=2).model
    assert model.n_kv_heads == 2 and model.n_heads % 2 == 0
