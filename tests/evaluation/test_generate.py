"""The cache changes nothing but the time, sampling follows its rules, costs are counted right."""

from functools import partial

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from paramalloc.config import ModelConfig
from paramalloc.evaluation.generation import Cache, generate, pick
from paramalloc.evaluation.inference import LiveBytes, inference_cost, peak_bytes, serve
from paramalloc.export import llama_config, llama_weights
from paramalloc.model import DecoderLM

SHAPE = {
    "vocab_size": 300,
    "d_model": 32,
    "n_layers": 3,
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_head": 8,
    "d_ff": 64,
}
MODELS = {
    "tied": {},
    "untied": {"embedding": "untied"},
    "factorized": {"embedding": "factorized", "d_embed": 16},
}


@pytest.fixture(params=MODELS)
def model(request):
    """A small decoder with weights so large that its next tokens differ, and with grouped heads."""
    torch.manual_seed(0)
    model = DecoderLM(ModelConfig(**SHAPE | MODELS[request.param])).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    return model


PROMPT = torch.tensor([[0, 7, 200, 31], [5, 5, 1, 299]])


def test_greedy_with_the_cache_is_greedy_without(model):
    """Token for token, for a batch, for 40 tokens; and the tokens are not all the same."""
    found = generate(model, PROMPT, 40)
    assert torch.equal(found, generate(model, PROMPT, 40, cached=False))
    assert found.shape == (2, 44) and torch.equal(found[:, :4], PROMPT) and len(found.unique()) > 10


def test_transformers_generates_the_same(model):
    """transformers' generate on the exported weights gives the same greedy tokens."""
    theirs = LlamaForCausalLM(LlamaConfig(**llama_config(model.config, 64))).eval()
    theirs.load_state_dict(llama_weights(model.state_dict(), model.config), strict=False)
    theirs.tie_weights()
    found = theirs.generate(
        PROMPT,
        attention_mask=torch.ones_like(PROMPT),
        max_new_tokens=40,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert torch.equal(found, generate(model, PROMPT, 40))


def test_the_cache_in_pieces(model):
    """A prompt fed in pieces of any size gives the logits of the whole."""
    tokens = torch.randint(300, (2, 11))
    with torch.no_grad():
        for cuts in ((11,), (1,) * 11, (4, 3, 4), (1, 9, 1)):
            cache = Cache(model, 2, 11)
            for piece in tokens.split(cuts, 1):
                logits = cache.next_logits(model, piece)
            torch.testing.assert_close(logits, model(tokens)[:, -1], atol=1e-4, rtol=1e-4)


def test_sampling_keeps_to_the_nucleus():
    """Of probabilities 0.5, 0.3, 0.15, 0.05, the nucleus of 0.7 is the first two, drawn 5 to 3;
    that of 0.2 is the first.
    """
    logits, generator = (
        torch.tensor([0.15, 0.5, 0.05, 0.3]).log().expand(8000, 4),
        torch.Generator().manual_seed(0),
    )
    drawn = pick(logits, 1.0, 0.7, generator).flatten().bincount(minlength=4) / 8000
    assert drawn[0] == drawn[2] == 0 and drawn[1].item() == pytest.approx(5 / 8, abs=0.03)
    assert (pick(logits, 1.0, 0.2, generator) == 1).all() and (pick(logits, 0.0, 1.0) == 1).all()
    cold = (
        pick(logits, 0.5, 1.0, generator).flatten().bincount(minlength=4) / 8000
    )  # squares: 0.25 of 0.365
    assert cold[1].item() == pytest.approx(0.25 / 0.365, abs=0.03)


def test_a_seed_draws_the_same_again(model):
    draw = partial(generate, model, PROMPT, 20, temperature=1.0, top_p=0.9)
    assert torch.equal(draw(seed=1), draw(seed=1))
    assert not torch.equal(draw(seed=1), draw(seed=2))


def test_costs_are_those_of_the_shape(model):
    """Bytes of weights and of the cache are those of the shape; 32 together decode more tokens a
    second than one alone.
    """
    cost = inference_cost(model, 32)
    assert cost["weight_bytes"] == 4 * sum(weight.numel() for weight in model.parameters())
    assert (
        cost["kv_bytes_per_token"] == 4 * 2 * 3 * 2 * 8
    )  # float32, keys and values, layers, heads, width
    assert inference_cost(model, 32, torch.bfloat16)["kv_bytes_per_token"] == 2 * 2 * 3 * 2 * 8
    assert all(
        cost[name] > 0
        for name in (
            "decode_ms_per_token",
            "decode_ms_per_token_32",
            "time_to_first_token_ms",
            "prefill_tokens_per_s",
        )
    )
    assert cost["decode_ms_per_token_32"] < 32 * cost["decode_ms_per_token"]
    assert (
        cost["inference_memory_bytes"] > cost["weight_bytes"] + 32 * 32 * cost["kv_bytes_per_token"]
    )


def test_live_bytes_by_hand():
    """Two tensors of 4 kB live at the same time count twice, one after the other once; views count
    nothing.
    """

    def together():
        a = torch.zeros(1000)
        return a.view(10, 100)[2:], torch.zeros(1000)

    def in_turn():
        torch.zeros(1000)
        torch.zeros(1000)

    for work, most in ((together, 8000), (in_turn, 4000)):
        with LiveBytes() as live:
            work()
        assert live.peak == most and live.now == 0


def test_memory_grows_with_the_batch(model):
    """What 32 sequences hold at a time is more than what one holds, and both hold the weights."""
    weights = sum(weight.nbytes for weight in model.parameters())
    with torch.inference_mode():
        one, many = (peak_bytes(model, partial(serve, model, batch, 32)) for batch in (1, 32))
    assert weights < one < many
