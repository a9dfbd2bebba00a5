"""CompleteP: factors in the weights do what factors on the forward pass do, and what a step changes depends on no size."""

from dataclasses import replace

import pytest
import torch

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
    """Starts, rates and decays agree there, but that completep's writers to the stream start at zero (d_ff is whole: within 1 %)."""
    shape = replace(
        BASE, embedding=embedding, d_embed=BASE_WIDTH if embedding == "factorized" else None
    )
    for name, _ in DecoderLM(shape).named_parameters():
        ours, theirs = rule(name, shape, "completep", 3.0), rule(name, shape, "standard", 3.0)
        assert (ours.lr, ours.decay) == pytest.approx((theirs.lr, theirs.decay), rel=0.01)
        assert (
            ours.start == 0
            if name.endswith(("out.weight", "down.weight"))
            else ours.start == pytest.approx(theirs.start)
        )


class Written(DecoderLM):
    """The same decoder with the factors where the paper has them: on what a block adds, and on the logits."""

    def hidden(self, tokens, *where):
        depth, width = self.config.n_layers / BASE_DEPTH, self.config.d_model / BASE_WIDTH
        for block in self.blocks:
            for part in (block.attention, block.mlp):
                part.register_forward_hook(
                    lambda module, inputs, out: out / depth
                ) if not part._forward_hooks else None
        return super().hidden(tokens, *where) / width


def written_groups(model: Written) -> list[dict]:
    """Table 1 of arXiv 2505.01618 with alpha = 1: lr, decay and epsilon of each kind of weight."""
    width, depth = model.config.d_model / BASE_WIDTH, model.config.n_layers / BASE_DEPTH
    groups = []
    for name, weight in model.named_parameters():
        fan_in = width * (
            model.config.d_ff / (8 / 3 * model.config.d_model) if "down" in name else 1
        )
        if weight.dim() < 2:
            groups.append(
                {
                    "lr": LR,
                    "weight_decay": 0.0,
                    "eps": EPS / width if name == "norm.weight" else EPS / (width * depth),
                }
            )
        elif name.startswith(("embedding", "head")):
            groups.append({"lr": LR, "weight_decay": DECAY, "eps": EPS / width})
        else:
            groups.append(
                {"lr": LR / fan_in, "weight_decay": DECAY * fan_in, "eps": EPS / (width * depth)}
            )
        groups[-1]["params"] = [weight]
    return groups


@pytest.mark.parametrize("embedding", ("tied", "untied"))
def test_factors_may_lie_in_the_weights(embedding):
    """Ten steps of AdamW in double precision: our weights and rates, and the paper's table, give the same logits."""
    torch.manual_seed(0)
    shape = replace(WIDE, embedding=embedding)
    ours, theirs = DecoderLM(shape, "completep").double(), Written(shape, "completep").double()
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                weight.normal_(std=0.02)
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            factor = {"out": BASE_DEPTH / 3, "down": BASE_DEPTH / 3, "norm": BASE_WIDTH / 192}.get(
                name.split(".")[-2], 1.0
            )
            weight.div_(factor)
    config = TrainConfig.from_dict(
        {"profile": "quick", "parametrization": "completep", "embed_lr": 1.0, "weight_decay": DECAY}
    )
    optimizer, other = (
        make_optimizers(ours, config)[0],
        torch.optim.AdamW(written_groups(theirs), betas=(0.9, 0.99)),
    )
    for group in optimizer.param_groups:
        group["lr"] = LR * group["lr_scale"]
    tokens, targets = torch.randint(300, (2, 4, 32))
    for _ in range(10):
        torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-9, atol=1e-9)
        for model, its in ((ours, optimizer), (theirs, other)):
            its.zero_grad()
            torch.nn.functional.cross_entropy(
                model(tokens).flatten(0, 1), targets.flatten()
            ).backward()
            its.step()


@pytest.mark.slow
def test_what_a_step_changes_depends_on_the_size_only_under_standard():
    """Width 64 to 512, depth 2 to 32, two seeds, after 1 and 10 steps: exponents of the residual stream and of the final hidden state
    are within 0.1 of zero under completep, and at least 0.3 under standard."""
    found = {
        name: slopes(coordinate_check(name, lr=5e-5, seeds=2)).query("what != 'logits'").slope
        for name in ("completep", "standard")
    }
    assert len(found["completep"]) == len(found["standard"]) == 8
    assert found["completep"].abs().max() <= 0.1 and found["standard"].min() >= 0.3


@pytest.mark.slow
def test_muon_transfers_as_well():
    """The same exponents, within 0.2, of orthogonal steps under completep."""
    found = slopes(coordinate_check("completep", lr=1e-3, optimizer="muon")).query(
        "what != 'logits'"
    )
    assert found.slope.abs().max() <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize("embedding", ("untied", "factorized"))
def test_other_embeddings_transfer_as_well(embedding):
    """Exponents within 0.2 under completep with two tables, and with a projection whose d_embed is half the width: at 32 it
    has few directions, so chance plays a part."""
    found = slopes(coordinate_check("completep", lr=5e-5, embedding=embedding)).query(
        "what != 'logits'"
    )
    assert found.slope.abs().max() <= 0.2
