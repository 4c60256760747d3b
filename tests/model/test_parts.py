"""Every parameter has one part, in ours, transformers' and adapted models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from grown import model, tokenizer
from torch import nn

from huohou.model import grow_model, part_of
from huohou.model.parts import PARTS


def counts(some: nn.Module) -> dict[str, int]:
    return dict(Counter(part_of(some).values()))


def grown(tmp_path: Path, *, tied: bool = False) -> Any:
    some = model(tied=tied)
    grow_model(some, tokenizer(tmp_path / "old", grown=False), tokenizer(tmp_path / "new", grown=True))
    return some


def test_an_ungrown_model_has_old_rows_and_a_body() -> None:
    parts = part_of(model())
    assert [name for name, part in parts.items() if part == "old_rows"] == [
        "model.embed_tokens.weight",
        "lm_head.weight",
    ]
    assert set(parts.values()) == {"old_rows", "body"}
    assert list(parts) == [name for name, _ in model().named_parameters()]
    assert counts(model(tied=True))["old_rows"] == 1


@pytest.mark.parametrize("tied", [False, True])
def test_a_grown_one_has_new_rows(tmp_path: Path, tied: bool) -> None:
    found = counts(grown(tmp_path, tied=tied))
    assert (found["new_rows"], found["old_rows"]) == ((1, 1) if tied else (2, 2))


def test_wrappers_change_nothing(tmp_path: Path) -> None:
    some = grown(tmp_path)

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = some

    parts = part_of(Wrapper())
    assert parts == {f"module.{name}": part for name, part in part_of(some).items()}


def test_transformers_models_have_the_same_parts() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4
    )
    parts = part_of(transformers.LlamaForCausalLM(config))
    assert [name for name, part in parts.items() if part == "old_rows"] == [
        "model.embed_tokens.weight",
        "lm_head.weight",
    ]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("which", ["ours", "theirs"])
def test_adapters_and_their_second_matrices(tmp_path: Path, which: str) -> None:
    peft = pytest.importorskip("peft")
    if which == "ours":
        some: nn.Module = grown(tmp_path)
    else:
        import transformers

        some = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=20, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4
            )
        )
    settings = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj", "embed_tokens"], use_dora=which == "theirs")
    if which == "ours":
        peft.inject_adapter_in_model(settings, some)
    else:
        some = peft.get_peft_model(some, settings)
    parts = part_of(some)
    assert set(parts.values()) <= set(PARTS)
    for name, part in parts.items():
        if "lora_B" in name or "lora_embedding_B" in name:
            assert part == "adapters_b", name
        elif "lora_" in name:
            assert part == "adapters", name
        elif name.endswith("new_weight"):
            assert part == "new_rows", name
        elif "embed_tokens" in name or "lm_head" in name:
            assert part == "old_rows", name
        else:
            assert part == "body", name
    found = Counter(parts.values())
    assert found["adapters_b"] == 5
    assert found["adapters"] == (10 if which == "theirs" else 5)
    assert found["old_rows"] == 2
    assert found["new_rows"] == (2 if which == "ours" else 0)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_trained_tokens_of_peft_are_new_rows() -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=20, hidden_size=32, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4
    )
    some = peft.get_peft_model(
        transformers.LlamaForCausalLM(config),
        peft.LoraConfig(r=4, target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [18, 19]}),
    )
    delta = [part for name, part in part_of(some).items() if "trainable_tokens_delta" in name]
    assert delta == ["new_rows"]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_loss_goes_through_an_adapted_head(tmp_path: Path) -> None:
    """A head with an adapter around it is more than its matrix, in the loss as in the logits."""
    peft = pytest.importorskip("peft")
    some = grown(tmp_path)
    peft.inject_adapter_in_model(peft.LoraConfig(r=4, target_modules=["lm_head"], init_lora_weights=False), some)
    inputs = torch.randint(0, 14, (3, 30), generator=torch.Generator().manual_seed(0))
    nats, count = some.loss(inputs, inputs)
    expected = torch.nn.functional.cross_entropy(some(inputs).flatten(0, 1), inputs.flatten(), reduction="sum")
    torch.testing.assert_close(nats, expected)
    nats.backward()
    assert count == 90
    adapters = [p.grad for name, p in some.named_parameters() if "lora_" in name]
    assert len(adapters) == 2
    assert all(gradient is not None and gradient.any() for gradient in adapters)
