from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.train.probes import clip, global_norm, layer_norms, tensor_norms
from huohou.train.probes.gradients import layer_of


def gradients(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in ((4, 4), (7,), (2, 3, 2))]


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 20))
def test_clipping_is_that_of_torch(seed: int, limit: float) -> None:
    ours, theirs = gradients(seed), [torch.nn.Parameter(g) for g in gradients(seed)]
    for parameter, gradient in zip(theirs, gradients(seed), strict=True):
        parameter.grad = gradient
    norm = float(global_norm(tensor_norms(ours)))
    expected = torch.nn.utils.clip_grad_norm_(theirs, limit)
    assert norm == pytest.approx(float(expected), rel=1e-6)
    assert clip(ours, norm, limit) == (norm > limit)
    for gradient, parameter in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_small_gradients_and_no_limit_change_nothing() -> None:
    ours = gradients()
    norm = float(global_norm(tensor_norms(ours)))
    assert not clip(ours, norm, None)
    assert not clip(ours, norm, norm)
    assert all(torch.equal(a, b) for a, b in zip(ours, gradients(), strict=True))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_bad_entry_shows_in_the_norm(value: float) -> None:
    ours = gradients()
    ours[1][3] = value
    assert not math.isfinite(float(global_norm(tensor_norms(ours))))


def test_half_precision_gradients_are_summed_in_fp32() -> None:
    assert float(global_norm(tensor_norms([torch.full((1000,), 100.0, dtype=torch.bfloat16)]))) == pytest.approx(
        3162, rel=0.01
    )


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.11.self_attn.q_proj.weight", "layers.11"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("model.norm.weight", "norm"),
        ("lm_head.weight", "lm_head"),
        ("layers.0.bias", "layers.0"),
    ],
)
def test_a_parameter_belongs_to_its_layer(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_layer_norms_add_up() -> None:
    names = ["model.layers.0.a", "model.norm.weight", "model.layers.0.b"]
    norms = tensor_norms(gradients())
    layers = layer_norms(names, norms)
    assert list(layers) == ["layers.0", "norm"]
    assert math.hypot(*layers.values()) == pytest.approx(float(global_norm(norms)), rel=1e-6)
    assert layers["layers.0"] == pytest.approx(math.hypot(float(norms[0]), float(norms[2])), rel=1e-6)
