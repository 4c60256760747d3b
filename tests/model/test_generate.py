"""Writing on: the cache changes nothing, rows do not touch each other, sampling is what it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.errors import RunFailed, UserError
from huohou.model import Llama, ModelConfig, build, generate
from huohou.model.cache import Cache

CONFIG = ModelConfig(23, 16, 24, 2, 4, 2, max_position_embeddings=32, initializer_range=0.4)


@pytest.fixture(scope="module")
def model() -> Llama:
    return build(CONFIG, seed=2)


prompts_of_tokens = st.lists(st.lists(st.integers(0, 22), min_size=1, max_size=9), min_size=1, max_size=4)


@settings(deadline=None, max_examples=15)
@given(prompts=prompts_of_tokens, sampled=st.booleans())
def test_with_and_without_cache_alike(model: Llama, prompts: list[list[int]], sampled: bool) -> None:
    def run(cache: bool) -> list[list[int]]:
        generator = torch.Generator().manual_seed(4)
        temperature = 0.8 if sampled else 0.0
        return generate(model, prompts, 8, temperature=temperature, top_p=0.9, generator=generator, cache=cache)

    assert run(True) == run(False)


@settings(deadline=None, max_examples=15)
@given(prompts=prompts_of_tokens)
def test_each_prompt_gets_what_it_gets_alone(model: Llama, prompts: list[list[int]]) -> None:
    assert generate(model, prompts, 6) == [generate(model, [prompt], 6)[0] for prompt in prompts]


def test_greedy_is_the_argmax_of_the_whole_sequence(model: Llama) -> None:
    tokens = [3, 1, 4]
    for token in generate(model, [tokens], 10)[0]:
        assert token == model(torch.tensor([tokens]))[0, -1].argmax()
        tokens = [*tokens, token]
    assert len(set(tokens)) > 5


def test_a_stop_token_ends_its_row_and_is_left_out(model: Llama) -> None:
    prompts = [[3, 1, 4], [5], [7, 7]]
    free = generate(model, prompts, 12)
    for stops in ({free[0][4]}, {free[0][4], free[1][5]}, set(free[2])):
        for row, new in zip(generate(model, prompts, 12, stop_ids=stops), free, strict=True):
            end = next((at for at, token in enumerate(new) if token in stops), len(new))
            assert row == new[:end]


@settings(deadline=None, max_examples=15)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=3), new=st.integers(1, 5))
def test_the_cache_gives_the_same_hidden_states(model: Llama, lengths: list[int], new: int) -> None:
    tokens = torch.randint(0, 23, (len(lengths), max(lengths) + new), generator=torch.Generator().manual_seed(0))
    whole = model.model(tokens)
    cache = Cache(CONFIG.num_hidden_layers, tokens.shape[1])
    cache.reach = max(lengths)
    model.model(tokens[:, : cache.reach], torch.arange(cache.reach).expand(len(lengths), -1), cache=cache)
    rows, at = torch.arange(len(lengths)), torch.tensor(lengths)
    for _ in range(new):
        # Every row is somewhere else, and the slots after its position hold what was read before.
        cache.reach = int(at.max()) + 1
        hidden = model.model(tokens[rows, at][:, None], at[:, None], cache=cache)
        torch.testing.assert_close(hidden[:, 0], whole[rows, at], atol=1e-5, rtol=1e-5)
        at = at + 1


def test_every_new_token_is_told_as_it_comes(model: Llama) -> None:
    told: list[tuple[int, int]] = []
    first, second = generate(model, [[3, 1, 4], [5]], 6, on_token=lambda row, token: told.append((row, token)))
    assert told == [one for pair in zip(first, second, strict=True) for one in ((0, pair[0]), (1, pair[1]))]


def test_a_row_that_ended_tells_no_more(model: Llama) -> None:
    told: list[tuple[int, int]] = []
    stop = generate(model, [[3, 1, 4]], 6)[0][3]
    rows = generate(model, [[3, 1, 4], [5]], 6, stop_ids=[stop], on_token=lambda row, token: told.append((row, token)))
    assert [[token for r, token in told if r == row] for row in range(2)] == rows
    assert len(rows[0]) < len(rows[1])


def test_a_seed_is_a_text(model: Llama) -> None:
    def run(seed: int) -> list[list[int]]:
        return generate(model, [[1], [2]], 12, temperature=1.0, generator=torch.Generator().manual_seed(seed))

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_draws_follow_the_probabilities_of_the_nucleus(model: Llama) -> None:
    probabilities = (model(torch.tensor([[9]]))[0, -1] / 1.5).softmax(-1)
    ordered, order = probabilities.sort(descending=True)
    kept = int((ordered.cumsum(0) < 0.6).sum()) + 1
    drawn = generate(model, [[9]] * 4000, 1, temperature=1.5, top_p=0.6, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(torch.tensor(drawn).flatten(), minlength=23) / 4000
    expected = torch.zeros(23)
    expected[order[:kept]] = ordered[:kept] / ordered[:kept].sum()
    assert 2 <= kept < 20
    assert not counts[order[kept:]].any()
    torch.testing.assert_close(counts, expected.detach(), atol=0.04, rtol=0)


def test_a_tiny_nucleus_is_greedy(model: Llama) -> None:
    assert generate(model, [[1, 2]], 8, temperature=2.0, top_p=1e-9) == generate(model, [[1, 2]], 8)


def test_nothing_wanted_is_nothing(model: Llama) -> None:
    assert generate(model, [], 5) == []
    assert generate(model, [[1]], 0) == [[]]


def test_nothing_is_kept_for_gradients(model: Llama) -> None:
    modes: list[bool] = []
    generate(model, [[1, 2]], 3, on_token=lambda *_: modes.append(torch.is_inference_mode_enabled()))
    assert modes == [True] * 3
    assert model(torch.tensor([[1, 2]])).requires_grad


def test_a_model_that_diverged_is_said_to_have() -> None:
    broken = build(CONFIG, seed=2)
    torch.nn.init.constant_(broken.model.norm.weight, float("nan"))
    with pytest.raises(RunFailed, match="diverged"):
        generate(broken, [[1]], 2)


@pytest.mark.parametrize(
    ("prompts", "new", "settings", "sentence"),
    [
        ([[1], []], 3, {}, "prompt 2 is empty"),
        ([[1, 23]], 3, {}, "holds the token 23; the model's vocabulary is 0 to 22"),
        ([[-1]], 3, {}, "holds the token -1"),
        ([[1] * 30], 3, {}, "has 30 tokens and 3 new ones are wanted, but the model reads 32"),
        ([[1]], -1, {}, "max_new_tokens is -1"),
        ([[1]], 1, {"temperature": -0.5}, "temperature is -0.5"),
        ([[1]], 1, {"temperature": float("nan")}, "temperature is nan"),
        ([[1]], 1, {"top_p": 0.0}, "top_p is 0.0"),
        ([[1]], 1, {"top_p": 1.1}, "top_p is 1.1"),
    ],
)
def test_mistakes(model: Llama, prompts: list[list[int]], new: int, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        generate(model, prompts, new, **settings)
    assert sentence in caught.value.text.en
