"""The shape of a decoder as frozen data, from and to Hugging Face's ``config.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huohou.errors import UserError


class NotCovered(UserError):
    """A model that is one, but not one that this decoder computes."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the families that this decoder computes differ in, and what their ``config.json`` leaves out."""

    architecture: str
    biased: bool = False
    """Whether queries, keys and values have biases."""
    normed: bool = False
    """Whether each head's queries and keys are normed."""
    key_value_heads: int = 0
    head_dim: int = 0
    max_position_embeddings: int = 32768


FAMILIES: Mapping[str, Family] = {
    "llama": Family("LlamaForCausalLM", max_position_embeddings=2048),
    "mistral": Family("MistralForCausalLM", key_value_heads=8, max_position_embeddings=131072),
    "qwen2": Family("Qwen2ForCausalLM", biased=True, key_value_heads=32),
    "qwen3": Family("Qwen3ForCausalLM", normed=True, key_value_heads=32, head_dim=128),
}


@dataclass(frozen=True, slots=True)
class Llama3Rope:
    """Llama 3.1's stretching of the rotary frequencies for contexts beyond the trained one."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that decides the decoder's mathematics, under Hugging Face's names.

    Defaults are those of ``transformers.LlamaConfig`` (:data:`FAMILIES` has what another family's differ in), so that
    a key that a ``config.json`` leaves out means here what it means there; only the token ids default to none. A
    combination that is no model raises ``UserError``.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int = 0
    """Heads of keys and values; 0 means as many as query heads and is replaced by that number."""
    head_dim: int = 0
    """Width of a head; 0 means ``hidden_size / num_attention_heads`` and is replaced by it."""
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rope_scaling: Llama3Rope | None = None
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None
    model_type: str = "llama"
    """The family, one of :data:`FAMILIES`."""

    @property
    def biased(self) -> bool:
        """Whether queries, keys and values have biases."""
        return FAMILIES[self.model_type].biased

    @property
    def normed(self) -> bool:
        """Whether each head's queries and keys are normed."""
        return FAMILIES[self.model_type].normed

    def __post_init__(self) -> None:
        if not self.num_key_value_heads:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        # transformers refuses such a Llama even where head_dim is given; the other families are made so on purpose.
        if self.hidden_size % self.num_attention_heads and not (self.head_dim and self.model_type != "llama"):
            raise UserError(
                f"model: hidden_size {self.hidden_size} is no multiple of num_attention_heads "
                f"{self.num_attention_heads}; every head needs the same whole width.",
                f"model：hidden_size {self.hidden_size} 不是 num_attention_heads {self.num_attention_heads} 的倍数；"
                "每个注意力头的宽度必须是相同的整数。",
            )
        if not self.head_dim:
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.num_attention_heads % self.num_key_value_heads:
            raise UserError(
                f"model: num_attention_heads {self.num_attention_heads} is no multiple of num_key_value_heads "
                f"{self.num_key_value_heads}; each key/value head serves the same number of query heads.",
                f"model：num_attention_heads {self.num_attention_heads} 不是 num_key_value_heads "
                f"{self.num_key_value_heads} 的倍数；每个键值头要服务相同数量的查询头。",
            )
        if self.head_dim % 2:
            raise UserError(
                f"model: a head is {self.head_dim} wide, but rotary positions turn pairs of numbers; "
                "choose hidden_size and num_attention_heads so that it is even.",
                f"model：每个头的宽度是 {self.head_dim}，而旋转位置编码按两个数一对旋转；"
                "请选择使其为偶数的 hidden_size 和 num_attention_heads。",
            )

    @classmethod
    def from_huggingface(cls, values: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
        """The config in a ``config.json`` of one of the :data:`FAMILIES` (of transformers 4 or 5).

        Keys that do not change the mathematics are left out; what this decoder cannot compute (another family or
        activation, a window of attention in use, other rotary scalings than none and llama3, quantised weights)
        raises :class:`NotCovered`, what is no model at all a plain ``UserError``.
        """
        _refuse_what_differs(values, where)
        kind = values.get("model_type") or "llama"
        if not isinstance(kind, str):
            raise _wrong(where, "model_type", kind, "the name of a kind of model", "一种模型的名字")
        if kind not in FAMILIES:
            raise _not_covered(where, "model_type", kind, ", ".join(map(repr, FAMILIES)))
        family = FAMILIES[kind]
        _refuse_window(values, kind, where)
        optional_sizes = {
            key: _size(values, key, where)
            for key in ("num_key_value_heads", "head_dim", "max_position_embeddings")
            if values.get(key) is not None
        }
        optional_numbers = {
            key: _number(values, key, where, zero=key == "initializer_range")
            for key in ("rms_norm_eps", "initializer_range")
            if values.get(key) is not None
        }
        tied = values.get("tie_word_embeddings", False)
        if not isinstance(tied, bool):
            raise _wrong(where, "tie_word_embeddings", tied, "true or false", "true 或 false")
        sizes = {
            key: _size(values, key, where)
            for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        }
        theta, scaling = _rope(values, where)
        return cls(
            **sizes,
            # A key that is left out has the family's default; null means as many as there are query heads.
            num_key_value_heads=optional_sizes.get(
                "num_key_value_heads", 0 if "num_key_value_heads" in values else family.key_value_heads
            ),
            head_dim=optional_sizes.get("head_dim", family.head_dim),
            max_position_embeddings=optional_sizes.get("max_position_embeddings", family.max_position_embeddings),
            rms_norm_eps=optional_numbers.get("rms_norm_eps", 1e-6),
            initializer_range=optional_numbers.get("initializer_range", 0.02),
            rope_theta=theta,
            rope_scaling=scaling,
            tie_word_embeddings=tied,
            bos_token_id=_token(values, "bos_token_id", where),
            eos_token_id=_tokens(values, "eos_token_id", where),
            pad_token_id=_token(values, "pad_token_id", where),
            model_type=kind,
        )

    def to_huggingface(self, dtype: str = "float32") -> dict[str, Any]:
        """A complete ``config.json``; ``dtype`` is the name of the type of the stored weights.

        The rotary settings and the type are written under the names of transformers 5 and under those of
        transformers 4, which many other programs read.
        """
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": self.rope_theta}
        if self.rope_scaling is not None:
            scaling = self.rope_scaling
            rope |= {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_position_embeddings,
            }
        eos = self.eos_token_id
        return {
            "architectures": [FAMILIES[self.model_type].architecture],
            "model_type": self.model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_norm_eps,
            "initializer_range": self.initializer_range,
            "rope_theta": self.rope_theta,
            "rope_scaling": None if self.rope_scaling is None else dict(rope),
            "rope_parameters": rope,
            **_FIXED[self.model_type],
            "attention_dropout": 0.0,
            "tie_word_embeddings": self.tie_word_embeddings,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
            "pad_token_id": self.pad_token_id,
            "use_cache": True,
            "dtype": dtype,
            "torch_dtype": dtype,
        }


# What the decoder computes, by key: any other value would be another model.
_ONLY: Mapping[str, Any] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "attention_dropout": 0.0,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}


def _refuse_what_differs(values: Mapping[str, Any], where: str) -> None:
    for key, only in _ONLY.items():
        value = values.get(key)
        if value is not None and value != only:
            raise _not_covered(where, key, value, "none" if only is None else repr(only))


# What is written for each family beside its shape: what other programs ask for, and what keeps a window out.
_NO_WINDOW: Mapping[str, Any] = {"sliding_window": None}
_NO_WINDOWS: Mapping[str, Any] = {"use_sliding_window": False, "sliding_window": None}
_FIXED: Mapping[str, Mapping[str, Any]] = {
    "llama": {"attention_bias": False, "mlp_bias": False},
    "mistral": _NO_WINDOW,
    "qwen2": _NO_WINDOWS,
    "qwen3": {"attention_bias": False, **_NO_WINDOWS},
}


def _not_covered(where: str, key: str, value: object, only: str) -> NotCovered:
    return NotCovered(
        f"{where}: {key} is {value!r}; huohou's own decoder only computes {only}.",
        f"{where}：{key} 是 {value!r}；huohou 自带的解码器只支持 {only}。",
    )


def _refuse_window(values: Mapping[str, Any], kind: str, where: str) -> None:
    """A window limits attention where it is on and shorter than the model's context."""
    types = values.get("layer_types")
    if types is not None and (not isinstance(types, list | tuple) or set(types) - {"full_attention"}):
        raise _not_covered(where, "layer_types", types, "'full_attention'")
    if kind == "mistral":
        window = values.get("sliding_window", 4096)
    else:
        window = values.get("sliding_window", 4096) if values.get("use_sliding_window") else None
    context = values.get("max_position_embeddings", FAMILIES[kind].max_position_embeddings)
    if window is not None and not (isinstance(context, int) and isinstance(window, int) and context <= window):
        raise _not_covered(where, "sliding_window", window, "attention without a window")


def _rope(values: Mapping[str, Any], where: str) -> tuple[float, Llama3Rope | None]:
    """The base and the scaling, under the old names (``rope_theta``, ``rope_scaling``) or the new ones."""
    # transformers 5 lets the old name win where a file has both.
    name = "rope_scaling" if values.get("rope_scaling") else "rope_parameters"
    rope = values.get(name) or {}
    if not isinstance(rope, Mapping):
        raise _wrong(where, name, rope, "an object", "一个对象")
    base = rope if rope.get("rope_theta") is not None else values
    theta = _number(base, "rope_theta", where) if base.get("rope_theta") is not None else 10000.0
    kind = rope.get("rope_type", rope.get("type", "default"))
    _refuse_what_differs({"partial_rotary_factor": rope.get("partial_rotary_factor")}, f"{where}: {name}")
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise NotCovered(
            f"{where}: {name} has the type {kind!r}; huohou's own decoder knows 'default' and 'llama3'.",
            f"{where}：{name} 的类型是 {kind!r}；huohou 自带的解码器只支持 'default' 和 'llama3'。",
        )
    # As in transformers: beside the scaling, then inside it, then the model's own context.
    original = next(
        source
        for source in (values, rope, {"original_max_position_embeddings": values.get("max_position_embeddings", 2048)})
        if source.get("original_max_position_embeddings") is not None
    )
    inside = f"{where}: {name}"
    low, high = _number(rope, "low_freq_factor", inside), _number(rope, "high_freq_factor", inside)
    if low >= high:
        raise _wrong(inside, "low_freq_factor", low, f"below high_freq_factor {high}", f"小于 high_freq_factor {high}")
    return theta, Llama3Rope(
        _number(rope, "factor", inside), low, high, _size(original, "original_max_position_embeddings", inside)
    )


def _wrong(where: str, key: str, value: object, right: str, right_zh: str) -> UserError:
    return UserError(
        f"{where}: {key} is {value!r}; it must be {right}.", f"{where}：{key} 是 {value!r}；应为{right_zh}。"
    )


def _present(values: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in values:
        raise UserError(f"{where}: {key} is missing.", f"{where}：缺少 {key}。")
    return values[key]


def _size(values: Mapping[str, Any], key: str, where: str) -> int:
    value = _present(values, key, where)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _wrong(where, key, value, "a whole number from 1", "不小于 1 的整数")
    return value


def _number(values: Mapping[str, Any], key: str, where: str, *, zero: bool = False) -> float:
    value = _present(values, key, where)
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (value == 0 and not zero):
        raise _wrong(where, key, value, "a number above 0", "大于 0 的数")
    return float(value)


def _token(values: Mapping[str, Any], key: str, where: str) -> int | None:
    value = values.get(key)
    # Old configurations write -1 where there is no such token.
    if value is None or (value == -1 and not isinstance(value, bool)):
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _wrong(where, key, value, "a token's number or null", "词元编号或 null")
    return value


def _tokens(values: Mapping[str, Any], key: str, where: str) -> int | tuple[int, ...] | None:
    value = values.get(key)
    if not isinstance(value, list | tuple):
        return _token(values, key, where)
    tokens = [_token({key: one}, key, where) for one in value]
    return tuple(token for token in tokens if token is not None) or None
