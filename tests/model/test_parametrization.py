"""CompleteP: factors may lie in the weights, and what a step changes depends on no size."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from paramalloc.analysis import slopes
from paramalloc.config import ModelConfig, TrainConfig
from paramalloc.model import DecoderLM, rule
from paramalloc.model.parametrization import BASE_DEPTH, BASE_WIDTH
from paramalloc.training import coordinate_check
from paramalloc.training.optimizer import EPS, make_optimizers

BASE = ModelConfig(
    vocab_size=300,
    d_model=BASE_WIDTH,
    n_layers=BASE_DEPTH,
    n_heads=4,
    n_kv_heads=4,
    d_head=32,
    d_ff=344,
)
WIDE = replace(BASE, d_model=192, n_layers=3, n_heads=6, n_kv_heads=6, d_ff=512)
LR, DECAY = 0.01, 0.3


@pytest.mark.parametrize("embedding", ("tied", "untied", "factorized"))
def test_at_the_base_shape_both_are_the_same(embedding):
    """Starts, rates and decays agree there, but that completep's writers start at zero.

    Within 1 %, as d_ff is a whole number.
    """
    d_embed = BASE_WIDTH if embedding == "factorized" else None
    shape = replace(BASE, embedding=embedding, d_embed=d_embed)
    for name, _ in DecoderLM(shape).named_parameters():
        completep = rule(name, shape, "completep", 3.0)
        standard = rule(name, shape, "standard", 3.0)
        rates = (completep.lr, completep.decay)
        assert rates == pytest.approx((standard.lr, standard.decay), rel=0.01)
        if is_writer(name):
            assert completep.start == 0
        else:
            assert completep.start == pytest.approx(standard.start)


def is_writer(name: str) -> bool:
    return name.endswith(("out.weight", "down.weight"))


class Written(DecoderLM):
    """The decoder with the factors where the paper has them: on the blocks and the logits."""

    def __init__(self, config, parametrization):
        super().__init__(config, parametrization)
        depth = config.n_layers / BASE_DEPTH
        for block in self.blocks:
            for part in (block.attention, block.mlp):
                part.register_forward_hook(lambda module, inputs, out: out / depth)

    def hidden(self, tokens, *where):
        return super().hidden(tokens, *where) / (self.config.d_model / BASE_WIDTH)


def written_groups(model: Written) -> list[dict]:
    """Table 1 of arXiv 2505.01618 with alpha = 1: lr, decay and epsilon of each kind of weight."""
    width = model.config.d_model / BASE_WIDTH
    depth = model.config.n_layers / BASE_DEPTH
    groups = []
    for name, weight in model.named_parameters():
        fan_in = width
        if "down" in name:
            fan_in *= model.config.d_ff / (8 / 3 * model.config.d_model)
        group = {"lr": LR / fan_in, "weight_decay": DECAY * fan_in, "eps": EPS / (width * depth)}
        if name == "norm.weight":
            group = {"lr": LR, "weight_decay": 0.0, "eps": EPS / width}
        elif weight.dim() < 2:
            group = {"lr": LR, "weight_decay": 0.0, "eps": EPS / (width * depth)}
        elif name.startswith(("embedding", "head")):
            group = {"lr": LR, "weight_decay": DECAY, "eps": EPS / width}
        groups.append(group | {"params": [weight]})
    return groups


@pytest.mark.parametrize("embedding", ("tied", "untied"))
def test_factors_may_lie_in_the_weights(embedding):
    """Our weights and rates, and the paper's table, give the same logits for ten steps of AdamW."""
    torch.manual_seed(0)
    shape = replace(WIDE, embedding=embedding)
    ours = DecoderLM(shape, "completep").double()
    papers = Written(shape, "completep").double()
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            if is_writer(name):
                weight.normal_(std=0.02)
    papers.load_state_dict(ours.state_dict())
    factors = {"out": BASE_DEPTH / 3, "down": BASE_DEPTH / 3, "norm": BASE_WIDTH / 192}
    with torch.no_grad():
        for name, weight in papers.named_parameters():
            weight.div_(factors.get(name.split(".")[-2], 1.0))
    config = TrainConfig.from_dict(
        {"profile": "quick", "parametrization": "completep", "embed_lr": 1.0, "weight_decay": DECAY}
    )
    optimizer = make_optimizers(ours, config)[0]
    for group in optimizer.param_groups:
        group["lr"] = LR * group["lr_scale"]
    papers_optimizer = torch.optim.AdamW(written_groups(papers), betas=(0.9, 0.99))
    tokens, targets = torch.randint(300, (2, 4, 32))
    for _ in range(10):
        torch.testing.assert_close(ours(tokens), papers(tokens), rtol=1e-9, atol=1e-9)
        for model, adam in ((ours, optimizer), (papers, papers_optimizer)):
            adam.zero_grad()
            F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten()).backward()
            adam.step()


@pytest.mark.slow
def test_what_a_step_changes_depends_on_the_size_only_under_standard():
    """Exponents of the residual stream and of the final hidden state, after 1 and 10 steps.

    Width 64 to 512, depth 2 to 32, two seeds. Under completep they are within 0.1 of zero, under
    standard at least 0.3.
    """
    completep = exponents("completep", lr=5e-5, seeds=2)
    standard = exponents("standard", lr=5e-5, seeds=2)
    assert len(completep) == len(standard) == 8
    assert completep.abs().max() <= 0.1 and standard.min() >= 0.3


def exponents(parametrization: str, **settings):
    table = slopes(coordinate_check(parametrization, **settings))
    return table.query("what != 'logits'").slope


@pytest.mark.slow
def test_muon_transfers_as_well():
    """The same exponents, within 0.2, of orthogonal steps under completep."""
    assert exponents("completep", lr=1e-3, optimizer="muon").abs().max() <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize("embedding", ("untied", "factorized"))
def test_other_embeddings_transfer_as_well(embedding):
    """Exponents within 0.2 under completep, with two tables and with a projection.

    Its d_embed is half the width: at 32 it has few directions, so chance plays a part.
    """
    assert exponents("completep", lr=5e-5, embedding=embedding).abs().max() <= 0.2
