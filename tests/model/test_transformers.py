"""The decoder beside ``transformers.LlamaForCausalLM``: the same function, with the same weights and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from huohou.model import Llama, Llama3Rope, ModelConfig, build, generate, read_model, write_model

BASE = ModelConfig(37, 32, 40, 2, 4, 2, max_position_embeddings=128, initializer_range=0.2, rms_norm_eps=1e-5)
CONFIGS = {
    "grouped": BASE,
    "one key/value head": replace(BASE, num_key_value_heads=1),
    "multi-head": replace(BASE, num_key_value_heads=4),
    "tied": replace(BASE, tie_word_embeddings=True),
    "wide heads": replace(BASE, head_dim=12, rope_theta=500000.0),
    "llama3 rope": replace(BASE, rope_scaling=Llama3Rope(8.0, 1.0, 4.0, 32)),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@pytest.fixture(scope="module")
def transformers() -> Iterator[ModuleType]:
    """Importing it takes seconds, so only this module does."""
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    yield transformers
    transformers.utils.logging.enable_progress_bar()


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs, targets = (torch.randint(0, 37, (3, 50), generator=generator) for _ in range(2))
    targets[1, 7:] = -100
    return inputs, targets


def beside(transformers: ModuleType, config: ModelConfig) -> tuple[Llama, Any]:
    ours = build(config, seed=5)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config.to_huggingface()))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def close(mine: torch.Tensor | None, other: torch.Tensor | None) -> None:
    assert mine is not None
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@every_config
def test_logits_and_gradients_are_equal(transformers: ModuleType, config: ModelConfig) -> None:
    ours, theirs = beside(transformers, config)
    inputs, targets = batch()
    logits = theirs(inputs).logits
    close(ours(inputs), logits)
    nats, count = ours.loss(inputs, targets)
    (nats / count).backward()
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    gradients = dict(theirs.named_parameters())
    assert list(gradients) == [name for name, _ in ours.named_parameters()]
    for name, parameter in ours.named_parameters():
        close(parameter.grad, gradients[name].grad)


@every_config
def test_state_dicts_are_interchangeable(transformers: ModuleType, config: ModelConfig) -> None:
    ours, theirs = beside(transformers, config)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())


@every_config
@pytest.mark.parametrize("shard_bytes", [10**9, 10_000])
def test_transformers_loads_what_is_written_here(
    transformers: ModuleType, tmp_path: Path, config: ModelConfig, shard_bytes: int
) -> None:
    ours = build(config, seed=5)
    write_model(ours, tmp_path / "model", shard_bytes=shard_bytes)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report.values())
    assert type(theirs).__name__ == "LlamaForCausalLM"
    inputs, _ = batch()
    close(ours(inputs), theirs(inputs).logits)


@every_config
@pytest.mark.parametrize("shards", ["50GB", "10KB"])
def test_what_transformers_writes_is_loaded_here(
    transformers: ModuleType, tmp_path: Path, config: ModelConfig, shards: str
) -> None:
    _, theirs = beside(transformers, config)
    theirs.save_pretrained(tmp_path, max_shard_size=shards)
    ours = read_model(tmp_path)
    assert ours.config == config
    inputs, _ = batch()
    close(ours(inputs), theirs(inputs).logits)


def test_writing_on_is_equal(transformers: ModuleType) -> None:
    config = replace(BASE, pad_token_id=0)
    ours, theirs = beside(transformers, config)
    prompt = [3, 1, 4, 1, 5]
    settings = transformers.GenerationConfig(max_new_tokens=20, do_sample=False, pad_token_id=0)
    whole = theirs.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, 5, dtype=torch.int64), generation_config=settings
    )
    new = generate(ours, [prompt], 20)[0]
    assert whole[0, 5:].tolist() == new
    assert len(set(new)) > 3


def test_token_ids_arrive(transformers: ModuleType, tmp_path: Path) -> None:
    config = replace(BASE, bos_token_id=1, eos_token_id=(2, 3), pad_token_id=0)
    write_model(build(config, seed=5), tmp_path / "model")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for there in (theirs.config, theirs.generation_config):
        assert (there.bos_token_id, there.eos_token_id, there.pad_token_id) == (1, [2, 3], 0)


def test_bfloat16_arrives(transformers: ModuleType, tmp_path: Path) -> None:
    write_model(build(BASE, seed=5), tmp_path / "model", dtype=torch.bfloat16)
    assert transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model").dtype == torch.bfloat16
