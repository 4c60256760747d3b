"""The flags of choosing a token: each alone, and the order of them beside transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from huohou.errors import UserError
from huohou.model import Llama, ModelConfig, Sampling, build, generate, stream

CONFIG = ModelConfig(23, 16, 24, 2, 4, 2, max_position_embeddings=64, initializer_range=0.3)


def logits() -> torch.Tensor:
    return torch.randn(5, 23, generator=torch.Generator().manual_seed(0)) * 3


def drawn(settings: Sampling, suppressed: torch.Tensor | None = None) -> torch.Tensor:
    """The share of each token in many draws: [rows, V]."""
    generator = torch.Generator().manual_seed(0)
    some = logits().repeat_interleave(4000, dim=0)
    chosen = settings.choose(some, [[]] * len(some), suppressed, generator).view(5, 4000)
    return torch.stack([row.bincount(minlength=23) for row in chosen]) / 4000


@pytest.mark.parametrize(
    "flags",
    [
        {"temperature": 0.7},
        {"temperature": 1.0, "top_k": 3},
        {"temperature": 1.5, "top_p": 0.8},
        {"temperature": 1.3, "min_p": 0.1},
        {"temperature": 1.2, "top_k": 7, "top_p": 0.9, "min_p": 0.05},
    ],
    ids=str,
)
def test_shares_are_those_of_transformers(flags: dict[str, Any]) -> None:
    library = pytest.importorskip("transformers")
    steps: list[Any] = [library.TemperatureLogitsWarper(flags["temperature"])]
    steps += [library.TopKLogitsWarper(flags["top_k"])] if "top_k" in flags else []
    steps += [library.TopPLogitsWarper(flags["top_p"])] if "top_p" in flags else []
    steps += [library.MinPLogitsWarper(flags["min_p"])] if "min_p" in flags else []
    scores = logits()
    for step in steps:
        scores = step(None, scores)
    expected, found = scores.softmax(-1), drawn(Sampling(**flags))
    assert not found[expected == 0].any()
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)


def test_what_was_there_is_less_likely() -> None:
    library = pytest.importorskip("transformers")
    seen = [[1, 5, 5, 9], [0], [22, 3, 4], [7] * 9, [2, 8]]
    for row, tokens in enumerate(seen):
        one = logits()[row : row + 1]
        scores = library.RepetitionPenaltyLogitsProcessor(1.8)(torch.tensor([tokens]), one.clone())
        assert Sampling(repetition_penalty=1.8).choose(one, [tokens]) == scores.argmax()
    top = int(logits()[0].argmax())
    assert Sampling(repetition_penalty=50.0).choose(logits()[:1], [[top]]) != top


def test_what_is_suppressed_is_never_drawn() -> None:
    suppressed = logits()[0].topk(3).indices
    for settings in (Sampling(), Sampling(temperature=3.0)):
        assert not drawn(settings, suppressed)[:, suppressed].any()


def test_the_logits_stay_as_they_are() -> None:
    some = logits()
    Sampling(repetition_penalty=2.0).choose(some, [[1]] * 5, torch.tensor([3]))
    assert torch.equal(some, logits())


@pytest.fixture(scope="module")
def model() -> Llama:
    return build(CONFIG, seed=2)


def test_tokens_come_one_by_one(model: Llama) -> None:
    prompts = [[1, 2, 3], [4]]
    whole = generate(model, prompts, 10)
    found: list[list[int]] = [[], []]
    order = []
    for row, token in stream(model, prompts, 10):
        found[row].append(token)
        order.append(row)
    assert found == whole
    assert order == [0, 1] * 10


def test_whoever_stops_listening_stops_the_work(model: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    forward = model.model.forward
    monkeypatch.setattr(model.model, "forward", lambda *a, **k: (calls.append(1), forward(*a, **k))[1])
    tokens = stream(model, [[1, 2]], 50)
    next(tokens)
    next(tokens)
    tokens.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert len(calls) == 2
    assert not torch.is_inference_mode_enabled()


def test_mistakes_are_said_before_the_first_token(model: Llama) -> None:
    with pytest.raises(UserError, match="prompt 1 is empty"):
        stream(model, [[]], 5)
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"top_k": -1}, "top_k is -1; it must be 0 (all) or more"),
        ({"min_p": 1.5}, "min_p is 1.5; it must be from 0 to 1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0; it must be a number above 0"),
    )
    for flags, sentence in wrong:
        with pytest.raises(UserError) as caught:
            generate(model, [[1]], 5, **flags)
        assert sentence in caught.value.text.en
