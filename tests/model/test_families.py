"""Mistral, Qwen2 and Qwen3 in our own decoder beside transformers: the same function, both ways through folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from huohou.model import Foreign, Llama, Llama3Rope, ModelConfig, build, generate, open_model, write_model

BASE = ModelConfig(37, 32, 40, 2, 4, 2, max_position_embeddings=128, initializer_range=0.3, rms_norm_eps=1e-5)
CONFIGS = {
    "llama": BASE,
    "llama 3.1": replace(BASE, rope_theta=5e5, rope_scaling=Llama3Rope(8.0, 1.0, 4.0, 32)),
    "mistral": replace(BASE, model_type="mistral", head_dim=12),
    "mistral, heads that part nothing": replace(BASE, model_type="mistral", head_dim=6, num_attention_heads=6),
    "qwen2": replace(BASE, model_type="qwen2", tie_word_embeddings=True),
    "qwen3": replace(BASE, model_type="qwen3", head_dim=16, rope_theta=1e6),
    "qwen3 tied": replace(BASE, model_type="qwen3", head_dim=16, tie_word_embeddings=True),
}
every_family = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@pytest.fixture(scope="module")
def transformers() -> Iterator[ModuleType]:
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    yield transformers
    transformers.utils.logging.enable_progress_bar()


def shaken(config: ModelConfig) -> Llama:
    """A model whose norms and biases are not what they begin as."""
    model = build(config, seed=5)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def beside(transformers: ModuleType, folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randint(0, 37, (3, 50), generator=generator) for _ in range(2))
    targets[1, 7:] = -100
    return inputs, targets


@every_family
def test_logits_and_gradients_are_those_of_transformers(
    transformers: ModuleType, tmp_path: Path, config: ModelConfig
) -> None:
    ours = shaken(config)
    write_model(ours, tmp_path / "model")
    theirs = beside(transformers, tmp_path / "model")
    assert type(theirs).__name__.lower() == f"{config.model_type}forcausallm"
    inputs, targets = batch()
    torch.testing.assert_close(ours(inputs), theirs(inputs).logits, atol=1e-5, rtol=1e-5)
    nats, count = ours.loss(inputs, targets)
    (nats / count).backward()
    logits = theirs(inputs).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    mine = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(mine[name].grad, parameter.grad, atol=1e-5, rtol=1e-4, msg=name)
    assert len(mine) == len(list(theirs.named_parameters()))


@every_family
def test_what_transformers_wrote_is_opened_by_the_own_decoder(
    transformers: ModuleType, tmp_path: Path, config: ModelConfig
) -> None:
    write_model(shaken(config), tmp_path / "ours")
    theirs = beside(transformers, tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    ours = open_model(tmp_path / "theirs")
    assert isinstance(ours, Llama)
    assert ours.config == config
    inputs, _ = batch()
    torch.testing.assert_close(ours(inputs), theirs(inputs).logits, atol=1e-5, rtol=1e-5)


@every_family
def test_greedy_tokens_are_those_of_transformers(transformers: ModuleType, tmp_path: Path, config: ModelConfig) -> None:
    ours = shaken(config)
    write_model(ours, tmp_path / "model")
    theirs = beside(transformers, tmp_path / "model")
    prompt = [5, 9, 30, 2]
    for penalty in (1.0, 1.7):
        expected = theirs.generate(
            torch.tensor([prompt]), max_new_tokens=20, do_sample=False, repetition_penalty=penalty, pad_token_id=0
        )[0, 4:].tolist()
        assert generate(ours, [prompt, [1, 2]], 20, repetition_penalty=penalty)[0] == expected


def test_a_packed_sequence_is_its_documents_alone() -> None:
    model = shaken(CONFIGS["qwen3"])
    inputs, _ = batch()
    segments = torch.tensor([[0] * 20 + [1] * 30] * 3)
    packed = model(inputs, segments=segments)
    torch.testing.assert_close(packed[:, 20:], model(inputs[:, 20:]), atol=1e-5, rtol=1e-5)


def test_a_window_in_use_is_transformers_matter(transformers: ModuleType, tmp_path: Path) -> None:
    config = transformers.MistralConfig(
        vocab_size=37, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, sliding_window=8,
    )  # fmt: skip
    transformers.MistralForCausalLM(config).save_pretrained(tmp_path)
    assert isinstance(open_model(tmp_path), Foreign)
