from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from huohou.data.order import Order
from huohou.data.packing import Packed
from huohou.data.token_cache import TokenCache
from huohou.model import Llama, ModelConfig, build
from huohou.stages.lm import NO_TARGET, LanguageModelling, Sampling
from huohou.train.distributed import World

VOCABULARY = 24
END = 0


def packed(tokens: int = 200, length: int = 16, attention: Literal["packed", "documents"] = "packed") -> Packed:
    """A stream of made-up documents, each ended by token 0."""
    draw = np.random.default_rng(5)
    stream = draw.integers(1, VOCABULARY, tokens).astype(np.uint16)
    ends = np.array([30, 77, 78, 140, tokens])
    stream[ends - 1] = END
    cache = TokenCache(
        path=Path(),
        key="made up",
        tokens=stream,
        ends=ends,
        token_bytes=np.arange(VOCABULARY, dtype=np.int32),
        documents=len(ends),
        characters=0,
        bytes=0,
        vocab_size=VOCABULARY,
        counts={},
        files=[],
    )
    return Packed(cache, length, attention)


@pytest.fixture(scope="module")
def model() -> Llama:
    config = ModelConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return build(config, seed=3)


def stage(micro_batch: int = 4, attention: Literal["packed", "documents"] = "packed", **more: Any) -> LanguageModelling:
    data = packed(attention=attention)
    return LanguageModelling(data, Order(data.count, 6, 7, 20), micro_batch=micro_batch, **more)


def gradients(stage: LanguageModelling, model: Llama, index: int) -> torch.Tensor:
    model.zero_grad()
    batch = stage.batch(index)
    for micro in stage.micro_batches(batch):
        (stage.loss(model, micro) / batch.targets).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("attention", ["packed", "documents"])
@pytest.mark.parametrize("index", [0, 2, 3])
def test_how_a_batch_is_split_changes_no_gradient(
    model: Llama, attention: Literal["packed", "documents"], index: int
) -> None:
    reference = gradients(stage(6, attention), model, index)
    for micro_batch in (1, 4):
        for whole in (False, True):
            split = gradients(stage(micro_batch, attention, whole=whole), model, index)
            torch.testing.assert_close(split, reference, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_the_mean_over_all_targets(model: Llama) -> None:
    ours = gradients(stage(2), model, 0)
    arrays = stage().batch(0).arrays
    model.zero_grad()
    logits = model(torch.from_numpy(arrays.inputs).long())
    labels = torch.from_numpy(arrays.targets).long()
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=NO_TARGET).backward()
    theirs = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_attention_stays_inside_documents_where_asked(model: Llama) -> None:
    data = packed(attention="documents")
    documents = LanguageModelling(data, Order(data.count, data.count, 7), micro_batch=data.count)
    (micro,) = documents.micro_batches(documents.batch(0))
    assert micro.segments is not None
    alone = 0.0
    with torch.no_grad():
        for inputs, targets, segments in zip(micro.inputs, micro.targets, micro.segments, strict=True):
            for number in segments.unique():
                inside = segments == number
                alone += float(model.loss(inputs[inside][None], targets[inside][None])[0])
        together = float(documents.loss(model, micro))
    assert len(micro.segments.unique()) > 1
    assert together == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("attention", ["packed", "documents"])
def test_a_batch_counts_its_tokens_and_targets(attention: Literal["packed", "documents"]) -> None:
    data = packed(attention=attention)
    epoch = LanguageModelling(data, Order(data.count, data.count, 7), micro_batch=4).batch(0)
    assert epoch.tokens == data.tokens == 199
    assert epoch.targets == data.targets
    assert epoch.targets == (199 if attention == "packed" else 195)
    twice = LanguageModelling(data, Order(data.count, 2 * data.count, 7), micro_batch=4).batch(3)
    assert twice.tokens == 2 * 199


def test_only_the_last_planned_batch_is_short() -> None:
    lengths = [len(stage().batch(index).arrays.inputs) for index in range(6)]
    assert lengths == [6, 6, 6, 2, 6, 6]


def test_a_batch_depends_on_its_index_only() -> None:
    one, other = stage(), stage()
    other.batch(9)
    assert np.array_equal(one.batch(3).arrays.inputs, other.batch(3).arrays.inputs)
    assert not np.array_equal(one.batch(0).arrays.inputs, one.batch(1).arrays.inputs)


def test_a_compiled_model_meets_one_shape() -> None:
    shapes = {tuple(m.inputs.shape) for i in range(4) for m in stage(4, whole=True).micro_batches(stage().batch(i))}
    assert shapes == {(4, 16)}
    shapes = {tuple(m.inputs.shape) for i in range(4) for m in stage(4).micro_batches(stage().batch(i))}
    assert shapes == {(4, 16), (2, 16)}


def test_evaluation_is_the_mean_loss_and_the_bits_of_a_byte(model: Llama) -> None:
    data = packed()
    result = stage(3, validation=data).evaluate(model)
    assert result is not None
    with torch.no_grad():
        arrays = data.batch(np.arange(data.count))
        nats, count = model.loss(torch.from_numpy(arrays.inputs).long(), torch.from_numpy(arrays.targets).long())
    assert result["tokens"] == int(count) == 199
    assert result["loss"] == pytest.approx(float(nats) / 199, rel=1e-5)
    size = sum(int(token) for token in data.cache.tokens[1:])
    assert result["bits_per_byte"] == pytest.approx(float(nats) / math.log(2) / size, rel=1e-5)


def test_an_evaluation_can_be_limited(model: Llama) -> None:
    result = stage(3, validation=packed(), evaluate_sequences=5).evaluate(model)
    assert result is not None and result["tokens"] == 5 * 16
    assert stage().evaluate(model) is None


class Letters:
    """A tokenizer whose pieces are letters."""

    end_id = END

    def encode(self, text: str) -> np.ndarray:
        return np.array([ord(letter) - 96 for letter in text], dtype=np.int32)

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(96 + token) for token in ids)


def test_samples_repeat_and_leave_the_run_alone(model: Llama) -> None:
    asked = Sampling(("abc", "de"), new_tokens=12, seed=1)
    sampled = stage(tokenizer=Letters(), sampling=asked)
    state = torch.get_rng_state()
    samples = sampled.samples(model, 10)
    assert [sample["prompt"] for sample in samples] == ["abc", "de"]
    assert all(len(sample["text"]) <= 12 for sample in samples)
    assert any(sample["text"] for sample in samples)
    assert sampled.samples(model, 10) == samples
    assert sampled.samples(model, 11) != samples
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_end_where_the_model_ends(model: Llama) -> None:
    long = stage(tokenizer=Letters(), sampling=Sampling(("abcdefghij",), new_tokens=10_000))
    assert len(long.samples(model, 1)[0]["text"]) <= 64 - 11
    assert stage().samples(model, 1) == []


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("index", [1, 3])
def test_the_shares_of_all_processes_are_the_batch(size: int, index: int) -> None:
    whole = stage()
    batch = whole.batch(index)
    parts = [stage(among=World(rank, size)) for rank in range(size)]
    batches = [part.batch(index) for part in parts]
    assert {(b.tokens, b.targets) for b in batches} == {(batch.tokens, batch.targets)}
    assert np.array_equal(np.concatenate([b.arrays.inputs for b in batches]), batch.arrays.inputs)
    assert len({len(list(p.micro_batches(b))) for p, b in zip(parts, batches, strict=True)}) == 1
    for part, own in zip(parts, batches, strict=True):
        learned = sum(int((micro.targets != NO_TARGET).sum()) for micro in part.micro_batches(own))
        assert learned == int((own.arrays.targets != NO_TARGET).sum())
