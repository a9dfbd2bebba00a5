"""Every token of a split is scored exactly once, and the units are what they say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paramalloc.config import ModelConfig
from paramalloc.evaluation import split_losses, sum_losses
from paramalloc.evaluation.perplexity import (
    convert_loss,
    mean_by_decile,
    sum_by_document,
    sum_by_group,
    windows,
)
from paramalloc.model import DecoderLM

TINY = ModelConfig(
    vocab_size=300, d_model=24, n_layers=2, n_heads=1, n_kv_heads=1, d_head=24, d_ff=64
)


@given(st.integers(1, 400), st.integers(1, 64), st.data(), st.integers(1, 300))
def test_the_tokens_scored_are_the_splits_tokens(length, seq_len, data, batch_tokens):
    """The new targets of all windows, joined, are the stream, each once; an input is the token
    before its target, the first an end-of-text; with a stride, all but the first windows' tokens
    see at least seq_len - stride tokens.
    """
    stride = data.draw(st.none() | st.integers(1, seq_len))
    tokens = np.random.default_rng(0).integers(1, 300, length).astype(np.uint16)
    batches = list(windows(tokens, seq_len, stride, batch_tokens))
    assert np.array_equal(np.concatenate([y[:, -new:].ravel() for _, y, new in batches]), tokens)
    assert np.array_equal(
        np.concatenate([x[:, -new:].ravel() for x, _, new in batches]), [0, *tokens[:-1]]
    )
    assert all(
        x.shape[1] <= seq_len and x.size <= max(batch_tokens, x.shape[1]) for x, _, _ in batches
    )
    assert all(x.shape[1] - new >= seq_len - stride for x, _, new in batches[1:] if stride)


@given(st.integers(1, 150), st.integers(4, 40), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_each_token_after_its_own_window(length, seq_len, stride):
    """split_losses equals scoring every token alone in float64 after the text that its window
    holds, whatever the batching; sum_losses is their sum where no windows overlap.
    """
    torch.manual_seed(0)
    stride, double = min(stride, seq_len), DecoderLM(TINY).double()
    model, tokens = (
        DecoderLM(TINY),
        np.random.default_rng(1).integers(0, 300, length).astype(np.uint16),
    )
    model.load_state_dict(double.state_dict())
    stream, expected = torch.tensor([0, *tokens.tolist()]), []
    for place in range(length):
        first = (
            0 if place < seq_len else -(-(place + 1 - seq_len) // stride) * stride
        )  # the earliest window that reaches it
        log_p = double(stream[None, first : place + 1])[0, -1].log_softmax(-1)
        expected.append(-log_p[stream[place + 1]].item())
    for batch_tokens in (1, 64, 8192):
        np.testing.assert_allclose(
            split_losses(model, tokens, seq_len, stride, batch_tokens), expected, rtol=1e-4
        )
    if stride == seq_len:
        fractions = []
        split_losses(model, tokens, seq_len, batch_tokens=64, progress=fractions.append)
        assert fractions == sorted(fractions) and fractions[-1] == 1.0
        total = sum_losses(model, tokens, seq_len).item()
        assert total == pytest.approx(np.sum(expected), rel=1e-5)


def test_losses_by_document(tiny_corpus):
    """Documents of a split: as many as were prepared, all its tokens, all its nats; each ends with
    its end-of-text.
    """
    tokens = np.asarray(tiny_corpus.split("valid"))
    losses = np.random.default_rng(0).random(len(tokens))
    nats, counts = sum_by_document(losses, tokens)
    assert len(nats) == tiny_corpus.meta["splits"]["valid"]["documents"]
    assert counts.sum() == len(tokens) and nats.sum() == pytest.approx(losses.sum())
    first = list(tokens).index(0) + 1
    assert counts[0] == first and nats[0] == pytest.approx(losses[:first].sum())


@given(st.lists(st.integers(1, 400), min_size=1, max_size=300))
def test_groups_are_whole_documents(sizes):
    """In the order of the text, none is cut, none is left out, and no group but by its last
    document is larger than its part.
    """
    tokens, nats = np.array(sizes), np.random.default_rng(0).random(len(sizes))
    found = sum_by_group(nats, tokens)
    assert len(found) <= 32 and sum(loss for _, loss in found) == pytest.approx(nats.sum())
    ends = np.cumsum([count for count, _ in found])
    assert set(ends) <= set(np.cumsum(tokens)) and ends[-1] == tokens.sum()
    assert max(count for count, _ in found) <= tokens.sum() / 32 + max(sizes)
    assert len(found) == 32 or 32 * max(sizes) > tokens.sum()


def test_losses_by_frequency():
    """The ten groups share all types and all tokens, the first has the most frequent; the mean of
    means is the mean.
    """
    counts, random = np.array([500, 300, 150, *[5] * 97, *[0] * 20]), np.random.default_rng(0)
    tokens, losses = random.integers(0, 120, 1000), random.random(1000)
    found = mean_by_decile(losses, tokens, counts)
    assert sum(row["types"] for row in found) == 120 and sum(row["tokens"] for row in found) == 1000
    assert sum(row["tokens"] * (row["loss"] or 0) for row in found) == pytest.approx(losses.sum())
    # 500, 300 and 150 of 1,435 counts have their middles at 0.17, 0.45 and 0.61
    assert [row["types"] for row in found[:7]] == [0, 1, 0, 0, 1, 0, 1 + 11]
    assert found[0]["loss"] is None and found[1]["loss"] == pytest.approx(
        losses[tokens == 0].mean()
    )


def test_scores_by_hand():
    """A model that gives every one of 100 tokens probability 1/8 spends 300 bits on 75 bytes: 4
    bits per byte.
    """
    found = convert_loss(math.log(8), {"tokens": 100, "bytes": 75, "ppl_words": 50})
    assert found == pytest.approx({"loss": math.log(8), "ppl": 8, "bpb": 4, "word_ppl": 64})
