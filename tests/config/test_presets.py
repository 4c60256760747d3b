"""Presets and their sizes, counted against the decoder itself."""

from __future__ import annotations

import re

import pytest

from huohou.config.presets import PRESETS, preset
from huohou.config.shapes import count_parameters, flops_per_token
from huohou.errors import UserError

MILLIONS = {"m": 1e6, "b": 1e9}


@pytest.mark.parametrize("name", PRESETS)
def test_a_name_is_the_total_at_the_stated_vocabulary(name: str) -> None:
    shape = PRESETS[name]
    number, unit = re.fullmatch(r"([\d.]+)([mb])", name).groups()  # type: ignore[union-attr]
    total = count_parameters(shape.dims, shape.vocab_size).total
    assert total == pytest.approx(float(number) * MILLIONS[unit], rel=0.05)


def test_names_are_in_order_of_size() -> None:
    totals = [count_parameters(shape.dims, shape.vocab_size).total for shape in PRESETS.values()]
    assert totals == sorted(totals)


@pytest.mark.parametrize("name", PRESETS)
def test_the_count_is_that_of_the_decoder(name: str) -> None:
    import torch

    from huohou.model import Llama, ModelConfig

    shape = PRESETS[name]
    with torch.device("meta"):
        model = Llama(ModelConfig.from_huggingface({**shape.dims, "vocab_size": shape.vocab_size}))
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    counted = count_parameters(shape.dims, shape.vocab_size)
    assert counted.total == sum(sizes.values())
    assert counted.embedding == sizes["model.embed_tokens.weight"]
    assert counted.head == sizes.get("lm_head.weight", 0)
    assert counted.body == counted.total - counted.embedding - counted.head


def test_a_known_model_counts_as_published() -> None:
    llama2 = {**PRESETS["7b"].dims}
    assert count_parameters(llama2, 32000).total == 6_738_415_616
    tinyllama = {**PRESETS["1b"].dims, "tie_word_embeddings": False}
    assert count_parameters(tinyllama, 32000).total == 1_100_048_384


def test_key_value_heads_and_tying_may_be_left_out() -> None:
    dims = {"hidden_size": 8, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2}
    counted = count_parameters(dims, 10)
    # Four square matrices, three of the MLP, two norms in the layer and the final one.
    assert (counted.embedding, counted.body, counted.head) == (80, 4 * 64 + 3 * 32 + 3 * 8, 80)
    assert counted.total == 536


def test_operations_are_six_for_each_multiplied_parameter_and_the_attention() -> None:
    dims = {
        "hidden_size": 8,
        "intermediate_size": 4,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }
    layer = 8 * 8 * 2 + 8 * 4 * 2 + 3 * 8 * 4
    assert flops_per_token(dims, 10, 16) == 6 * (3 * layer + 80) + 6 * 3 * 16 * 8
    assert (
        flops_per_token({**dims, "head_dim": 4}, 10, 16)
        == 6 * (3 * (2 * 8 * 16 + 2 * 8 * 8 + 96) + 80) + 6 * 3 * 16 * 16
    )


def test_a_name_is_found_in_any_case() -> None:
    assert preset(" 15M ") is PRESETS["15m"]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no preset '120m'; did you mean '110m'"):
        preset("120m")


def test_presets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PRESETS["1m"].dims["hidden_size"] = 1  # type: ignore[index]
