"""Every token of a split is scored exactly once, and the units are what they say."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paramalloc.config import ModelConfig
from paramalloc.evaluate import mean_loss, scores, windows
from paramalloc.model import DecoderLM

TINY = ModelConfig(vocab_size=300, d_model=24, n_layers=2, n_heads=1, n_kv_heads=1, d_head=24, d_ff=64)


@given(st.integers(1, 400), st.integers(1, 64), st.integers(1, 300))
def test_the_tokens_scored_are_the_splits_tokens(length, seq_len, batch_tokens):
    """Targets of all windows, joined, are the stream; each input is the token before, the first an end-of-text."""
    tokens = np.random.default_rng(0).integers(1, 300, length).astype(np.uint16)
    batches = list(windows(tokens, seq_len, batch_tokens))
    assert np.array_equal(np.concatenate([y.ravel() for _, y in batches]), tokens)
    assert np.array_equal(np.concatenate([x.ravel() for x, _ in batches]), [0, *tokens[:-1]])
    assert all(x.shape[1] <= seq_len for x, _ in batches)


@given(st.integers(1, 150), st.integers(4, 40))
@settings(max_examples=20, deadline=None)
def test_the_mean_is_that_of_one_window_after_another(length, seq_len):
    """mean_loss equals scoring each window alone in float64, whatever the batching and the last partial window."""
    torch.manual_seed(0)
    model, tokens = DecoderLM(TINY), np.random.default_rng(1).integers(0, 300, length).astype(np.uint16)
    stream, total, double = torch.tensor([0, *tokens.tolist()]), 0.0, DecoderLM(TINY).double()
    double.load_state_dict(model.state_dict())
    for start in range(0, length, seq_len):
        piece = stream[start : start + seq_len + 1]
        log_p = double(piece[None, :-1])[0].log_softmax(-1)
        total -= log_p[torch.arange(len(piece) - 1), piece[1:]].sum().item()
    assert mean_loss(model, tokens, seq_len) == pytest.approx(total / length, rel=1e-5)


def test_scores_by_hand():
    """A model that gives every one of 100 tokens probability 1/8 spends 300 bits on 75 bytes: 4 bits per byte."""
    found = scores(math.log(8), {"tokens": 100, "bytes": 75, "ppl_words": 50})
    assert found == pytest.approx({"loss": math.log(8), "ppl": 8, "bpb": 4, "word_ppl": 64})
