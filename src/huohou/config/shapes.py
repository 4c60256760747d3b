"""The size of a LLaMA decoder from its dimensions alone: how many parameters, how many operations a token.

``dims`` is any mapping with Hugging Face's names (``hidden_size``, ``intermediate_size``, ``num_hidden_layers``,
``num_attention_heads``, and optionally ``num_key_value_heads``, ``head_dim``, ``tie_word_embeddings``); other keys
are left alone, so that a preset, the run file's model section and a ``config.json`` can all be counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many numbers a model has; ``head`` is 0 where the output layer is the embedding itself."""

    total: int
    embedding: int
    body: int
    head: int


@dataclass(frozen=True, slots=True)
class _Matrices:
    """What the two counts below share."""

    hidden: int
    layers: int
    attention_width: int
    layer: int


def _matrices(dims: Mapping[str, Any]) -> _Matrices:
    hidden = int(dims["hidden_size"])
    heads = int(dims["num_attention_heads"])
    key_value_heads = int(dims.get("num_key_value_heads") or heads)
    head = int(dims.get("head_dim") or hidden // heads)
    # Queries and the output projection, keys and values, and the three matrices of SwiGLU.
    layer = (
        2 * hidden * heads * head + 2 * hidden * key_value_heads * head + 3 * hidden * int(dims["intermediate_size"])
    )
    return _Matrices(hidden, int(dims["num_hidden_layers"]), heads * head, layer)


def count_parameters(dims: Mapping[str, Any], vocab_size: int) -> Parameters:
    """Parameters by part: the embedding, the body (all layers and the final norm), and a head of its own if untied.

    ``tie_word_embeddings`` that is absent means untied, as in Hugging Face's ``LlamaConfig``.
    """
    matrices = _matrices(dims)
    embedding = vocab_size * matrices.hidden
    # Each layer has two norms, and one more follows the last layer.
    body = matrices.layers * (matrices.layer + 2 * matrices.hidden) + matrices.hidden
    head = 0 if dims.get("tie_word_embeddings", False) else embedding
    return Parameters(embedding + body + head, embedding, body, head)


def flops_per_token(dims: Mapping[str, Any], vocab_size: int, sequence_length: int) -> int:
    """Floating-point operations of one training step (forward and backward) for each input position.

    Six for every parameter that is multiplied: all matrices of the body and the head, tied or not; a lookup in the
    embedding costs none. Attention over a causal sequence of T positions adds 6·T·width a layer, the mean over its
    positions (each sees half of them). After Kaplan et al. 2020, appendix B, and PaLM, appendix B, with the causal
    half that PaLM's formula leaves in; norms and activations are left out, which is below 1 % from a width of 256.
    """
    matrices = _matrices(dims)
    multiplied = matrices.layers * matrices.layer + vocab_size * matrices.hidden
    return 6 * multiplied + 6 * matrices.layers * sequence_length * matrices.attention_width
