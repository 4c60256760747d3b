"""How long nanochat pretrains and in which batches, where its command leaves both to it (``scripts/base_train.py``).

Tokens are ``target_param_data_ratio`` times the parameters of the matrices and the head; the batch is 2¹⁹ tokens
times the ratio of these tokens to those of a model of twelve layers, to the power of 0.383, as the nearest power of
two.
"""

from __future__ import annotations

import math

VOCABULARY = 32_768
"""Its tokenizer's, unless it was trained otherwise."""
REFERENCE = 2**19


def width(depth: float, aspect: float, head: float) -> float:
    """The model's dimension: depth · aspect ratio, up to whole heads."""
    return math.ceil(depth * aspect / head) * head if head > 0 else depth * aspect


def parameters(depth: int, aspect: float, head: float) -> int:
    """Those that its scaling law counts: the blocks and the head."""
    dimension = int(width(depth, aspect, head))
    heads = dimension // max(1, int(head))
    # Every second block, the last one included, has a gate of twelve channels for its value embedding.
    gates = (depth + 1) // 2 * 12 * heads
    return depth * 12 * dimension**2 + gates + VOCABULARY * dimension


def length(depth: int, aspect: float, head: float, ratio: float, batch: float) -> tuple[int, int]:
    """(tokens of a batch, updates); a batch of 0 or less is chosen."""
    tokens = int(ratio * parameters(depth, aspect, head))
    if batch <= 0:
        share = tokens / (ratio * parameters(12, aspect, head))
        batch = 2 ** round(math.log2(REFERENCE * share**0.383))
    return int(batch), tokens // int(batch)
