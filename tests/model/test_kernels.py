"""The kernels for the CPU compute what torch's own do, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from paramalloc.model import kernels
from paramalloc.model.kernels import causal_attention, cross_entropy


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.bfloat16, 2e-2)]
)
@pytest.mark.parametrize("length", (1, 5, 128, 256, 257, 300, 512))
@pytest.mark.parametrize("kv_heads", (1, 2, 4))
def test_attention_is_torchs(length, kv_heads, dtype, tolerance):
    """Output and all three gradients equal those of torch in float64, whatever the blocks."""
    torch.manual_seed(length)
    q, k, v = (
        torch.randn(2, heads, length, 16, dtype=dtype, requires_grad=True)
        for heads in (4, kv_heads, kv_heads)
    )
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    grad = torch.randn(2, 4, length, 16, dtype=dtype)
    out = causal_attention(q, k, v)
    expected = F.scaled_dot_product_attention(*exact, is_causal=True, enable_gqa=True)
    assert "BlockedAttention" in type(out.grad_fn).__name__
    out.backward(grad)
    expected.backward(grad.double())
    results = (out, q.grad, k.grad, v.grad)
    references = (expected, *(x.grad for x in exact))
    for result, reference in zip(results, references, strict=True):
        assert (result.double() - reference).norm() <= tolerance * reference.norm() + 1e-12


def test_attention_sees_nothing_of_the_future():
    """No gradient of an output flows to a later key or value."""
    q, k, v = (torch.randn(1, 2, 300, 8, requires_grad=True) for _ in range(3))
    causal_attention(q, k, v)[:, :, 200].sum().backward()
    assert k.grad[:, :, 201:].abs().max() == 0 and v.grad[:, :, 201:].abs().max() == 0
    assert v.grad[:, :, :201].abs().min() > 0


def test_large_batches_keep_no_probabilities(monkeypatch):
    """Beyond SCORES torch's flash attention is used."""
    q = torch.randn(2, 3, 10, 4, requires_grad=True)
    monkeypatch.setattr(kernels, "SCORES", 600)
    assert "BlockedAttention" in type(causal_attention(q, q, q).grad_fn).__name__
    monkeypatch.setattr(kernels, "SCORES", 599)
    assert "BlockedAttention" not in type(causal_attention(q, q, q).grad_fn).__name__


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float64, 1e-7), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
)
@pytest.mark.parametrize("logits", (7, 400, 2**23))
def test_cross_entropy_is_torchs(logits, dtype, tolerance, monkeypatch):
    """Loss and both gradients equal torch's in float64, in one chunk or in many."""
    monkeypatch.setattr(kernels, "LOGITS", logits)
    torch.manual_seed(0)
    x = torch.randn(33, 20, dtype=dtype, requires_grad=True)
    table = torch.randn(50, 20, dtype=dtype, requires_grad=True)
    targets = torch.randint(50, (33,))
    exact = [part.detach().double().requires_grad_() for part in (x, table)]
    loss = cross_entropy(x, table, targets)
    expected = F.cross_entropy(F.linear(*exact), targets)
    (3 * loss).backward()
    (3 * expected).backward()
    results = (loss, x.grad, table.grad)
    references = (expected, *(part.grad for part in exact))
    for result, reference in zip(results, references, strict=True):
        assert (result.double() - reference).norm() <= tolerance * reference.norm()


def test_cross_entropy_without_gradients_keeps_nothing():
    """Scoring takes no gradient, and gives the same number."""
    x = torch.randn(9, 4)
    table = torch.randn(20, 4, requires_grad=True)
    targets = torch.randint(20, (9,))
    with torch.no_grad():
        scored = cross_entropy(x, table, targets)
    assert not scored.requires_grad
    torch.testing.assert_close(scored, F.cross_entropy(x @ table.T, targets).detach())
