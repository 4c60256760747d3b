"""The decoder by itself: documents, positions, initialisation, compilation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.model import Llama, ModelConfig, build
from huohou.model.llama import document_starts

SMALL = ModelConfig(31, 16, 24, 2, 4, 2, max_position_embeddings=64, initializer_range=0.3)


@pytest.fixture(scope="module")
def model() -> Llama:
    return build(SMALL, seed=3)


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, SMALL.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), seed=st.integers(0, 100))
def test_a_document_is_computed_as_if_alone(model: Llama, lengths: list[int], seed: int) -> None:
    inputs = tokens(1, sum(lengths), seed=seed)
    # Numbers may come back later: 0 1 0 are three documents.
    segments = torch.cat([torch.full((n,), i % 2) for i, n in enumerate(lengths)])[None]
    apart = torch.cat([model(part) for part in inputs.split(lengths, dim=1)], dim=1)
    torch.testing.assert_close(model(inputs, segments=segments), apart, atol=1e-5, rtol=1e-5)


def test_rows_have_documents_of_their_own(model: Llama) -> None:
    inputs = tokens(2, 7)
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [5, 5, 5, 5, 5, 9, 9]])
    logits = model(inputs, segments=segments)
    for row, cut in ((0, 3), (1, 5)):
        apart = torch.cat([model(part) for part in inputs[row : row + 1].split([cut, 7 - cut], dim=1)], dim=1)
        torch.testing.assert_close(logits[row : row + 1], apart, atol=1e-5, rtol=1e-5)
    assert document_starts(segments).tolist() == [[0, 0, 0, 3, 3, 3, 3], [0, 0, 0, 0, 0, 5, 5]]


def test_one_document_is_plain_attention(model: Llama) -> None:
    inputs = tokens(2, 9)
    torch.testing.assert_close(model(inputs, segments=torch.zeros_like(inputs)), model(inputs), atol=1e-5, rtol=1e-5)


def test_gradients_stay_inside_documents(model: Llama) -> None:
    inputs, segments = tokens(1, 6), torch.tensor([[0, 0, 0, 1, 1, 1]])
    vectors = model.model.embed_tokens(inputs).detach().requires_grad_()
    handle = model.model.embed_tokens.register_forward_hook(lambda *_: vectors)
    try:
        model(inputs, segments=segments)[0, 3:].square().sum().backward()
    finally:
        handle.remove()
        model.zero_grad()
    assert not vectors.grad[0, :3].any()  # type: ignore[index]
    assert vectors.grad[0, 3:].any()  # type: ignore[index]


def test_positions_are_relative_and_may_be_given(model: Llama) -> None:
    inputs = tokens(2, 5)
    moved = model(inputs, torch.arange(5) + 40)
    torch.testing.assert_close(moved, model(inputs), atol=1e-4, rtol=1e-4)
    stretched = model(inputs, torch.tensor([[0, 1, 2, 3, 4], [0, 2, 4, 6, 8]]))
    torch.testing.assert_close(stretched[0], model(inputs)[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(stretched[1], model(inputs)[1], atol=1e-3)


def test_given_positions_win_over_restarting_ones(model: Llama) -> None:
    inputs, segments = tokens(1, 6), torch.tensor([[0, 0, 0, 1, 1, 1]])
    stretched = model(inputs, torch.tensor([[0, 1, 2, 0, 2, 4]]), segments)
    expected = model(inputs[:, 3:], torch.tensor([[0, 2, 4]]))
    torch.testing.assert_close(stretched[:, 3:], expected, atol=1e-5, rtol=1e-5)


def test_no_position_sees_a_later_one(model: Llama) -> None:
    inputs = tokens(1, 8)
    changed = inputs.clone()
    changed[0, 5] = (changed[0, 5] + 1) % SMALL.vocab_size
    torch.testing.assert_close(model(changed)[:, :5], model(inputs)[:, :5])
    assert not torch.allclose(model(changed)[:, 5:], model(inputs)[:, 5:], atol=1e-3)


def test_the_loss_is_the_sum_over_targets_and_their_count(model: Llama) -> None:
    inputs, targets = tokens(2, 6), tokens(2, 6, seed=1)
    targets[0, 2:] = -100
    nats, count = model.loss(inputs, targets)
    wanted = model(inputs).log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    torch.testing.assert_close(nats, -wanted[targets >= 0].sum())
    assert (int(count), nats.dtype, nats.shape) == (8, torch.float32, ())
    both = model(inputs, targets=targets)
    assert (both[0], both[1]) == (nats, count)


def test_a_tied_head_is_the_embedding() -> None:
    config = ModelConfig(31, 16, 24, 1, 2, tie_word_embeddings=True)
    model = build(config, seed=1)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert "lm_head.weight" not in dict(model.named_parameters())


@pytest.mark.parametrize("depth_scaled", [False, True])
def test_first_weights_have_the_spread_that_was_asked_for(depth_scaled: bool) -> None:
    config = ModelConfig(512, 64, 176, 8, 4, initializer_range=0.05)
    for name, parameter in build(config, seed=0, depth_scaled=depth_scaled).named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all(), name
            continue
        small = depth_scaled and name.endswith(("o_proj.weight", "down_proj.weight"))
        spread = 0.05 / (math.sqrt(16) if small else 1)
        # The spread of n draws is uncertain by spread / sqrt(2n).
        assert parameter.std().item() == pytest.approx(spread, abs=5 * spread / math.sqrt(2 * parameter.numel())), name
        assert abs(parameter.mean().item()) < 5 * spread / math.sqrt(parameter.numel()), name


def test_a_seed_is_the_weights_whatever_was_drawn_or_made_before() -> None:
    first = build(SMALL, seed=7).state_dict()
    torch.manual_seed(5)
    torch.randn(3)
    again = build(SMALL, seed=7).state_dict()
    other = build(SMALL, seed=8).state_dict()
    half = build(SMALL, seed=7, dtype=torch.bfloat16).state_dict()
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
        assert torch.equal(tensor.bfloat16(), half[name])
        assert name.endswith("norm.weight") or not torch.equal(tensor, other[name])


def test_a_parameters_draw_depends_on_its_name_and_not_on_its_neighbours() -> None:
    deeper = build(ModelConfig(31, 16, 24, 3, 4, 2, initializer_range=0.3), seed=3).state_dict()
    shallow = build(SMALL, seed=3).state_dict()
    assert all(torch.equal(tensor, deeper[name]) for name, tensor in shallow.items())
    kinds = [deeper[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in range(3)]
    assert not torch.equal(kinds[0], kinds[1])


def test_the_seed_gives_these_very_numbers() -> None:
    weight = build(SMALL, seed=3).state_dict()["model.layers.1.mlp.up_proj.weight"]
    assert weight[0, :3].tolist() == pytest.approx([0.2546894, 0.03081212, 0.3855798], rel=1e-5)


# Torch's own compiler uses what torch itself deprecates, and looks for gradients where none are kept.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.slow
def test_all_layers_compile_to_one_graph_that_is_not_compiled_again() -> None:
    model, compiled = build(SMALL, seed=3), build(SMALL, seed=3)
    compiled.compile(fullgraph=True)
    inputs, targets, segments = tokens(2, 8), tokens(2, 8, seed=1), torch.tensor([[0] * 4 + [1] * 4] * 2)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            loss, _ = model.loss(inputs, targets)
            fast, _ = compiled.loss(inputs, targets)
            torch.testing.assert_close(fast, loss)
            loss.backward()
            fast.backward()
    for parameter, other in zip(model.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        compiled.loss(inputs, targets, segments=segments), model.loss(inputs, targets, segments=segments)
    )
    assert list(compiled.state_dict()) == list(model.state_dict())
