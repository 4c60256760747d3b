"""Models by name, as plain data.

A name is honest about everything the model holds: it is the total of parameters, embedding included, at the
vocabulary stated beside it (within 5 %). With another vocabulary the total is another; ``plan`` says which.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from huohou.errors import UserError


@dataclass(frozen=True, slots=True)
class Preset:
    """One named shape.

    ``dims`` has Hugging Face's names; ``vocab_size`` is the vocabulary at which the name states the total.
    """

    name: str
    vocab_size: int
    dims: Mapping[str, int | float | bool]


def _preset(
    name: str,
    vocab_size: int,
    hidden: int,
    intermediate: int,
    layers: int,
    heads: int,
    key_value_heads: int,
    positions: int,
    *,
    tied: bool = True,
    rope_theta: float = 10000.0,
) -> Preset:
    dims: dict[str, int | float | bool] = {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "max_position_embeddings": positions,
        "rope_theta": rope_theta,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": tied,
        "initializer_range": 0.02,
    }
    return Preset(name, vocab_size, MappingProxyType(dims))


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            # name, vocabulary, hidden, intermediate, layers, heads, key/value heads, positions
            _preset("0.5m", 2048, 96, 240, 3, 3, 3, 512),
            _preset("1m", 2048, 128, 336, 4, 4, 4, 512),
            _preset("2m", 4096, 160, 448, 4, 5, 5, 512),
            _preset("4m", 4096, 192, 512, 7, 6, 6, 1024),
            _preset("6m", 4096, 256, 704, 6, 4, 4, 1024),
            _preset("15m", 8192, 384, 1024, 7, 6, 6, 1024),
            _preset("30m", 8192, 512, 1376, 8, 8, 8, 2048),
            _preset("60m", 16384, 640, 1712, 10, 10, 10, 2048),
            # The shape of llama2.c's stories110M.
            _preset("110m", 32000, 768, 2048, 12, 12, 12, 2048),
            # The widths of Pythia-410M with SwiGLU, at the vocabulary of Chinese-LLaMA-2.
            _preset("350m", 55296, 1024, 2736, 24, 16, 16, 2048),
            # TinyLlama 1.1B without its second embedding.
            _preset("1b", 32000, 2048, 5632, 22, 32, 4, 2048),
            # Llama 3.2 3B at the vocabulary of Chinese-LLaMA-2.
            _preset("3b", 55296, 3072, 8192, 28, 24, 8, 4096, rope_theta=500000.0),
            # Llama 2 7B at the vocabulary of Chinese-LLaMA-2.
            _preset("7b", 55296, 4096, 11008, 32, 32, 32, 4096, tied=False),
        )
    }
)


def preset(name: str) -> Preset:
    """The preset of this name, in upper or lower case; a name that is none is refused with the nearest one."""
    found = PRESETS.get(name.strip().lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(name.strip().lower(), PRESETS, n=1, cutoff=0.0)[0]
    names = " ".join(PRESETS)
    raise UserError(
        f"model: there is no preset {name!r}; did you mean {near!r}? There are: {names}.",
        f"model：没有名为 {name!r} 的预设；您是否想写 {near!r}？可用的有：{names}。",
    )
