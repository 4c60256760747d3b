"""The summed cross entropy, whole and in chunks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from huohou.model.loss import chunk_size, cross_entropy


def example(tokens: int, width: int, vocab: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, width, generator=generator, dtype=torch.float64).float().requires_grad_()
    weight = torch.randn(vocab, width, generator=generator).requires_grad_()
    targets = torch.randint(0, vocab, (tokens,), generator=generator)
    targets[torch.rand(tokens, generator=generator) < 0.3] = -100
    return hidden, weight, targets


@settings(deadline=None, max_examples=40)
@given(
    tokens=st.integers(1, 17),
    width=st.integers(1, 5),
    vocab=st.integers(1, 9),
    chunk=st.integers(1, 20),
    seed=st.integers(0, 1000),
)
def test_chunks_change_neither_loss_nor_gradients(tokens: int, width: int, vocab: int, chunk: int, seed: int) -> None:
    hidden, weight, targets = example(tokens, width, vocab, seed)
    whole = F.cross_entropy(F.linear(hidden, weight), targets, reduction="sum")
    expected = torch.autograd.grad(whole * 0.37, (hidden, weight))
    nats, count = cross_entropy(hidden, weight, targets, chunk)
    got = torch.autograd.grad(nats * 0.37, (hidden, weight))
    assert count == (targets >= 0).sum()
    assert count.dtype == torch.int64
    torch.testing.assert_close(nats, whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(hidden, weight, targets, chunk)[0], whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [3, 100])
def test_a_sum_over_parts_is_the_sum_over_the_whole(chunk: int) -> None:
    hidden, weight, targets = example(20, 4, 7)
    nats, count = cross_entropy(hidden.view(4, 5, 4), weight, targets.view(4, 5), chunk)
    parts = [cross_entropy(hidden[at : at + 6], weight, targets[at : at + 6], chunk) for at in range(0, 20, 6)]
    torch.testing.assert_close(sum(part[0] for part in parts), nats)
    assert sum(int(part[1]) for part in parts) == int(count)


@pytest.mark.parametrize("chunk", [2, 100])
def test_no_targets_give_nothing_and_no_gradient(chunk: int) -> None:
    hidden, weight, targets = example(7, 3, 5)
    nats, count = cross_entropy(hidden, weight, torch.full_like(targets, -100), chunk)
    nats.backward()
    assert (float(nats.detach()), int(count)) == (0.0, 0)
    assert not hidden.grad.any()  # type: ignore[union-attr]
    assert not weight.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_only_what_is_trained_gets_a_gradient(frozen: str) -> None:
    hidden, weight, targets = example(7, 3, 5)
    whole = torch.autograd.grad(cross_entropy(hidden, weight, targets, 100)[0], (hidden, weight))
    (hidden if frozen == "hidden" else weight).requires_grad_(False)
    nats, _ = cross_entropy(hidden, weight, targets, 2)
    nats.backward()
    grads = (hidden.grad, weight.grad)
    trained = 1 if frozen == "hidden" else 0
    assert grads[1 - trained] is None
    torch.testing.assert_close(grads[trained], whole[trained], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [2, 100])
def test_logits_are_fp32_for_the_loss_whatever_the_product(chunk: int) -> None:
    hidden, weight, targets = example(9, 4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nats, _ = cross_entropy(hidden, weight, targets, chunk)
    product = F.linear(hidden.bfloat16(), weight.bfloat16()).float()
    torch.testing.assert_close(nats, F.cross_entropy(product, targets, reduction="sum"), atol=1e-4, rtol=1e-5)
    nats.backward()
    assert (hidden.grad.dtype, weight.grad.dtype) == (torch.float32, torch.float32)  # type: ignore[union-attr]


@pytest.mark.parametrize("chunk", [2, 100])
def test_weights_of_half_precision_give_an_fp32_loss(chunk: int) -> None:
    hidden, weight, targets = (x.detach() for x in example(9, 4, 6))
    half, head = hidden.bfloat16().requires_grad_(), weight.bfloat16().requires_grad_()
    nats, _ = cross_entropy(half, head, targets, chunk)
    expected = F.cross_entropy(F.linear(half, head).float(), targets, reduction="sum")
    torch.testing.assert_close(nats, expected, atol=1e-4, rtol=1e-5)
    nats.backward()
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("chunk", [2, 100])
def test_large_logits_stay_finite(chunk: int) -> None:
    hidden = torch.full((3, 1), 1e4, requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    nats, _ = cross_entropy(hidden, weight, torch.tensor([0, 1, 0]), chunk)
    nats.backward()
    assert float(nats.detach()) == 2e4
    assert torch.isfinite(weight.grad).all()  # type: ignore[arg-type]


def test_chunks_are_neither_tiny_nor_many() -> None:
    assert chunk_size(10**6, 4096, "cpu") == math.ceil(10**6 / 16)
    assert chunk_size(1000, 55296, "cpu") == 256
    assert chunk_size(2048, 2048, "cpu") == 512
    assert chunk_size(2048, 32000, "cuda") == 2097
