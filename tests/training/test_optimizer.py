"""Every weight is in exactly one group, at the rate and decay that its rule says; Muon's steps are
orthogonal.
"""

from dataclasses import replace

import pytest
import torch

from paramalloc.config import ModelConfig, TrainConfig
from paramalloc.errors import ConfigError
from paramalloc.model import DecoderLM, rule
from paramalloc.training.optimizer import make_optimizers

SHAPE = ModelConfig(
    vocab_size=300, d_model=64, n_layers=2, n_heads=2, n_kv_heads=2, d_head=32, d_ff=176
)


def recipe(**changed) -> TrainConfig:
    return TrainConfig.from_dict({"profile": "quick", "weight_decay": 0.1} | changed)


@pytest.mark.parametrize("optimizer", ("adamw", "muon"))
@pytest.mark.parametrize("parametrization", ("standard", "completep"))
@pytest.mark.parametrize("embedding", ("tied", "untied", "factorized"))
def test_every_weight_learns_once_at_its_own_rate(embedding, parametrization, optimizer):
    """The groups hold each weight once; lr, decay and epsilon are those of its rule, but of what
    Muon moves.
    """
    model = DecoderLM(
        replace(SHAPE, embedding=embedding, d_embed=16 if embedding == "factorized" else None),
        parametrization,
    )
    config = recipe(parametrization=parametrization, optimizer=optimizer, embed_lr=3.0)
    groups = [
        (made, group) for made in make_optimizers(model, config) for group in made.param_groups
    ]
    held = [weight for _, group in groups for weight in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, model.parameters()))
    names = {id(weight): name for name, weight in model.named_parameters()}
    for made, group in groups:
        for name in (names[id(weight)] for weight in group["params"]):
            one = rule(name, model.config, parametrization, 3.0)
            if isinstance(made, torch.optim.AdamW):
                assert (group["lr_scale"], group["weight_decay"], group["eps"]) == pytest.approx(
                    (one.lr, 0.1 * one.decay, 1e-8 * one.eps)
                )
            else:
                assert (group["lr_scale"], group["weight_decay"]) == pytest.approx(
                    (one.muon, 0.1 / one.muon)
                )
                assert "embedding" not in name and "head" not in name and "norm" not in name


def test_a_step_of_muon_is_orthogonal():
    """All singular values of a matrix's step are about one, times 0.2 sqrt(longest side): as large
    as AdamW's.
    """
    torch.manual_seed(0)
    model = DecoderLM(SHAPE)
    muon = make_optimizers(model, recipe(optimizer="muon", weight_decay=0.0))[1]
    before = {weight: weight.detach().clone() for weight in muon.param_groups[0]["params"]}
    model.loss(*torch.randint(300, (2, 4, 32))).backward()
    muon.param_groups[0]["lr"] = 0.1
    muon.step()
    for weight, old in before.items():
        if weight.grad.norm() > 0:
            values = torch.linalg.svdvals((weight - old).detach()) / (
                0.1 * 0.2 * max(weight.shape) ** 0.5
            )
            assert values.quantile(0.2) > 0.5 and values.max() < 1.5


def test_muon_is_refused_where_torch_has_none(monkeypatch):
    """An older torch: one line that says what to use."""
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ConfigError, match=r"needs torch 2\.9 or later.*use adamw"):
        make_optimizers(DecoderLM(SHAPE), recipe(optimizer="muon"))
