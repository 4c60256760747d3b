"""The decoder's shape, to and from ``config.json``."""

from __future__ import annotations

from typing import Any

import pytest

from huohou.errors import UserError
from huohou.language import choose_language
from huohou.model import Llama3Rope, ModelConfig

SMALL = {
    "vocab_size": 11,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def config(**values: Any) -> ModelConfig:
    return ModelConfig.from_huggingface({**SMALL, **values})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tie_word_embeddings": True, "rms_norm_eps": 1e-5, "initializer_range": 0.0, "head_dim": 6},
        {"rope_scaling": LLAMA3, "rope_theta": 500000.0, "max_position_embeddings": 512},
        {"bos_token_id": 0, "eos_token_id": [2, 3], "pad_token_id": 4},
        {"bos_token_id": 1, "eos_token_id": 2},
    ],
)
def test_what_is_written_is_read(values: dict[str, Any]) -> None:
    there = config(**values)
    assert ModelConfig.from_huggingface(there.to_huggingface()) == there


def test_old_and_new_names_are_both_written() -> None:
    written = config(rope_theta=5e5, rope_scaling=LLAMA3, eos_token_id=[2, 3]).to_huggingface("bfloat16")
    assert written["rope_theta"] == written["rope_parameters"]["rope_theta"] == 5e5
    assert written["rope_scaling"] == written["rope_parameters"] == LLAMA3 | {"rope_theta": 5e5}
    assert written["dtype"] == written["torch_dtype"] == "bfloat16"
    assert written["eos_token_id"] == [2, 3]


def test_absent_keys_mean_what_they_mean_to_transformers() -> None:
    there = ModelConfig.from_huggingface({key: SMALL[key] for key in SMALL if key != "num_key_value_heads"})
    assert (there.num_key_value_heads, there.head_dim, there.max_position_embeddings) == (4, 2, 2048)
    assert (there.rms_norm_eps, there.tie_word_embeddings, there.rope_theta) == (1e-6, False, 10000.0)
    assert there.initializer_range == 0.02


@pytest.mark.parametrize(
    "values",
    [
        {"rope_theta": 5e5},
        {"rope_theta": 5e5, "rope_scaling": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"rope_parameters": {"rope_theta": 5e5}, "rope_theta": 1.0},
        {"rope_scaling": {"type": "default"}, "rope_theta": 5e5},
    ],
)
def test_the_rotary_base_is_found_where_versions_4_and_5_put_it(values: dict[str, Any]) -> None:
    assert (config(**values).rope_theta, config(**values).rope_scaling) == (5e5, None)


@pytest.mark.parametrize(
    "values",
    [
        {"rope_scaling": LLAMA3},
        {"rope_parameters": {**LLAMA3, "rope_theta": 10000.0}},
        {"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 9}, "original_max_position_embeddings": 64},
        {
            "rope_scaling": {key: LLAMA3[key] for key in LLAMA3 if not key.startswith("original")},
            "max_position_embeddings": 64,
        },
    ],
)
def test_llama3_scaling_is_found_where_versions_4_and_5_put_it(values: dict[str, Any]) -> None:
    assert config(**values).rope_scaling == Llama3Rope(8.0, 1.0, 4.0, 64)


REFUSED = [
    ({"model_type": "gemma"}, "model_type is 'gemma'"),
    ({"model_type": "mistral"}, "sliding_window is 4096"),
    ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 64}, "sliding_window is 64"),
    ({"model_type": "qwen3", "layer_types": ["sliding_attention"]}, "layer_types is"),
    ({"model_type": "qwen3", "attention_bias": True}, "attention_bias is True"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ({"attention_bias": True}, "attention_bias is True"),
    ({"mlp_bias": True}, "mlp_bias is True"),
    ({"attention_dropout": 0.1}, "attention_dropout is 0.1"),
    ({"quantization_config": {"bits": 4}}, "quantization_config is"),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "has the type 'yarn'"),
    ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "has the type 'linear'"),
    ({"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
    ({"rope_scaling": "yarn"}, "rope_scaling is 'yarn'; it must be an object"),
    ({"rope_scaling": {**LLAMA3, "factor": "8"}}, "factor is '8'; it must be a number"),
    ({"rope_scaling": {**LLAMA3, "low_freq_factor": 4.0}}, "low_freq_factor is 4.0; it must be below"),
    ({"rope_theta": 0}, "rope_theta is 0"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
    ({"vocab_size": "32000"}, "vocab_size is '32000'; it must be a whole number"),
    ({"num_hidden_layers": True}, "num_hidden_layers is True"),
    ({"intermediate_size": 0}, "intermediate_size is 0"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
    ({"eos_token_id": "</s>"}, "eos_token_id is '</s>'"),
    ({"hidden_size": 10}, "hidden_size 10 is no multiple of num_attention_heads 4"),
    ({"num_key_value_heads": 3}, "num_attention_heads 4 is no multiple of num_key_value_heads 3"),
    ({"hidden_size": 12}, "a head is 3 wide"),
]


@pytest.mark.parametrize(("values", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_what_it_cannot_compute_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        config(**values)
    assert sentence in caught.value.text.en
    choose_language("zh")
    assert any("一" <= sign <= "鿿" for sign in str(caught.value))


def test_a_missing_key_is_named_with_its_file() -> None:
    with pytest.raises(UserError, match=r"there/config\.json: hidden_size is missing"):
        ModelConfig.from_huggingface(
            {key: SMALL[key] for key in SMALL if key != "hidden_size"}, where="there/config.json"
        )


def test_minus_one_and_null_mean_no_token() -> None:
    assert config(pad_token_id=-1, eos_token_id=None).pad_token_id is None


@pytest.mark.parametrize(
    ("family", "left_out", "null"),
    [("llama", (16, 4), (16, 4)), ("mistral", (8, 4), (16, 4)), ("qwen3", (32, 128), (16, 128))],
)
def test_what_is_left_out_is_the_familys(family: str, left_out: tuple[int, int], null: tuple[int, int]) -> None:
    """Heads of keys and values, and the width of a head: left out, and written as null."""
    heads = 32 if family == "qwen3" else 16
    shape = {
        "model_type": family, "vocab_size": 20, "hidden_size": heads * 4, "intermediate_size": 24, "num_hidden_layers": 1,
        "num_attention_heads": heads, "sliding_window": None,
    }  # fmt: skip
    config = ModelConfig.from_huggingface(shape)
    assert (config.num_key_value_heads, config.head_dim) == left_out
    config = ModelConfig.from_huggingface(
        {**shape, "num_attention_heads": 16, "hidden_size": 64, "num_key_value_heads": None}
    )
    assert (config.num_key_value_heads, config.head_dim) == null
