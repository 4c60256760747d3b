"""The size of a LLaMA decoder from its dimensions alone: how many parameters, how many operations a token.

``dims`` is any mapping with Hugging Face's names (``hidden_size``, ``intermediate_size``, ``num_hidden_layers``,
``num_attention_heads``, and optionally ``num_key_value_heads``, ``head_dim``, ``tie_word_embeddings``); other keys
are left alone, so that a preset, the run file's model section and a ``config.json`` can all be counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def matrices(dims: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """The seven matrices of a layer under Hugging Face's names: inputs and outputs of each."""
    hidden, inner = int(dims["hidden_size"]), int(dims["intermediate_size"])
    heads = int(dims["num_attention_heads"])
    key_value_heads = int(dims.get("num_key_value_heads") or heads)
    head = int(dims.get("head_dim") or hidden // heads)
    return {
        "q_proj": (hidden, heads * head),
        "k_proj": (hidden, key_value_heads * head),
        "v_proj": (hidden, key_value_heads * head),
        "o_proj": (heads * head, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


def count_adapters(dims: Mapping[str, Any], targets: Sequence[str], rank: int) -> tuple[int, int]:
    """Parameters of low-rank adapters: those of all matrices A (rank × inputs) and those of all B (outputs × rank).

    ``targets``: ``all``, or names of matrices; others count nothing.
    """
    known = matrices(dims)
    chosen = list(known.values()) if "all" in targets else [known[name] for name in targets if name in known]
    layers = int(dims["num_hidden_layers"])
    return layers * rank * sum(i for i, _ in chosen), layers * rank * sum(o for _, o in chosen)


def flops_per_token(
    dims: Mapping[str, Any],
    vocab_size: int,
    sequence_length: int,
    *,
    body: bool = True,
    head: bool = True,
    adapters: int = 0,
    recompute: bool = False,
) -> int:
    """Floating-point operations of one training step (forward and backward) for each input position.

    Six for every parameter that is multiplied: all matrices of the body and the head, tied or not; a lookup in the
    embedding costs none. Attention over a causal sequence of T positions adds 6·T·width a layer, the mean over its
    positions (each sees half of them). After Kaplan et al. 2020, appendix B, and PaLM, appendix B, with the causal
    half that PaLM's formula leaves in; norms and activations are left out, which is below 1 % from a width of 256.

    Args:
        dims: The shape.
        vocab_size: Rows of the head.
        sequence_length: Input positions of a sequence.
        body: Whether the body's matrices learn; where they do not, the two operations of their own gradient fall away.
        head: The same for the head.
        adapters: Parameters of adapters, six operations each.
        recompute: Whether the forward pass of the layers is made twice.
    """
    shape = _matrices(dims)
    layers, rows = shape.layers * shape.layer, vocab_size * shape.hidden
    attention = shape.layers * sequence_length * shape.attention_width
    total = (6 if body else 4) * layers + (6 if head else 4) * rows + 6 * attention + 6 * adapters
    return total + (2 * layers + 2 * attention + 2 * adapters if recompute else 0)
