"""Texts that share a beginning are scored as each would be alone."""

import numpy as np
import pytest
import torch

from paramalloc.config import ModelConfig
from paramalloc.evaluation import trees
from paramalloc.evaluation.likelihood import log_likelihoods
from paramalloc.evaluation.trees import packs, plant
from paramalloc.model import DecoderLM

SHAPE = ModelConfig(
    vocab_size=320, d_model=32, n_layers=2, n_heads=2, n_kv_heads=1, d_head=16, d_ff=64
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DecoderLM(SHAPE).eval()


@pytest.fixture
def texts():
    """200 texts of 2 to 40 tokens, many with a common beginning, some the same."""
    random = np.random.default_rng(0)
    stems = [[0, *random.integers(0, 320, n)] for n in (1, 5, 10, 30)]
    found = [
        stems[random.integers(4)] + list(random.integers(0, 320, random.integers(1, 10)))
        for _ in range(190)
    ]
    return [list(map(int, text)) for text in found + found[:10]]


@torch.no_grad()
def test_a_tree_gives_what_each_text_gives_alone(model, texts, monkeypatch):
    """Summed log-probabilities and whether all tokens are the likeliest, of any number of last
    tokens, in any packing.
    """
    random = np.random.default_rng(1)
    scored = [int(random.integers(1, len(text))) for text in texts]
    expected, likeliest = [], []
    for n, text in enumerate(texts):
        if n % 3 == 0:  # make some of them the likeliest
            for i in range(len(text) - scored[n], len(text)):
                text[i] = model(torch.tensor([text[:i]]))[0, -1].argmax().item()
        log_p = model(torch.tensor([text]))[0].log_softmax(-1)
        at = range(len(text) - 1 - scored[n], len(text) - 1)
        expected.append(sum(log_p[i, text[i + 1]].item() for i in at))
        likeliest.append(all(log_p[i].argmax() == text[i + 1] for i in at))
    for nodes, batch in ((128, 8192), (20, 100), (10_000, 1)):
        monkeypatch.setattr(trees, "NODES", nodes)
        monkeypatch.setattr(trees, "BATCH_NODES", batch)
        fractions = []
        found, best = log_likelihoods(model, plant(texts, scored), True, fractions.append)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        assert list(best) == likeliest and 60 <= sum(best) < 120
        assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_a_tree_holds_a_common_beginning_once(texts):
    """No node twice under the same parent; fewer nodes than tokens; every scored token has its
    place.
    """
    found = list(packs(texts, [1] * len(texts)))
    for pack in found:
        assert len(set(zip(pack.parents, pack.tokens, strict=True))) == len(pack.tokens)
    assert sum(len(pack.tokens) for pack in found) < 0.7 * sum(map(len, texts))
    assert sorted(text for pack in found for text in pack.texts) == list(range(len(texts)))
    assert sum(len(pack.places) for pack in found) == len(texts)
