"""Which part of a model a parameter belongs to: the parts that a plan may give their own rates."""

from __future__ import annotations

import re

from torch import nn

from huohou.model.rows import NEW

NEW_ROWS, OLD_ROWS, BODY, ADAPTERS, ADAPTERS_B = "new_rows", "old_rows", "body", "adapters", "adapters_b"
PARTS = (NEW_ROWS, OLD_ROWS, BODY, ADAPTERS, ADAPTERS_B)
"""New rows of embedding and head; the rows they had before (all of them in a model that was not grown); the layers
and the norms; what PEFT adds, where the matrices that begin at zero (B) may have a rate of their own (LoRA+)."""

# PEFT's names: lora_A.default.weight, lora_embedding_B.default, lora_magnitude_vector.default.weight, …
_ADAPTER = re.compile(r"(?:^|\.)(?:lora_(?:embedding_)?[A-Z]|lora_magnitude_vector|lora_bias)(?:\.|$)")
_ADAPTER_B = re.compile(r"(?:^|\.)lora_(?:embedding_)?B(?:\.|$)")
_ADDED_ROWS = re.compile(r"(?:^|\.)trainable_tokens_delta(?:\.|$)")
# Wrappers (of compiling, recomputing, distributing) put these between a parameter and its own name.
_WRAPPERS = re.compile(r"(?:^module\.|_orig_mod\.|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.)")


def part_of(model: nn.Module) -> dict[str, str]:
    """The part of every parameter, by its name in ``model.named_parameters()``.

    ``model`` is ours, one of transformers, or either with PEFT's adapters in it. Embedding and head are what the model
    calls its input and output embeddings, with whatever PEFT put around them.
    """
    rows = {
        id(parameter)
        for find in ("get_input_embeddings", "get_output_embeddings")
        for module in [_called(model, find)]
        if module is not None
        for parameter in module.parameters()
    }
    return {name: _part(_WRAPPERS.sub("", name), id(parameter) in rows) for name, parameter in model.named_parameters()}


def _part(name: str, in_rows: bool) -> str:
    if _ADAPTER_B.search(name):
        return ADAPTERS_B
    if _ADAPTER.search(name):
        return ADAPTERS
    if name.rsplit(".", 1)[-1] == NEW or _ADDED_ROWS.search(name):
        return NEW_ROWS
    return OLD_ROWS if in_rows else BODY


def _called(model: nn.Module, method: str) -> nn.Module | None:
    """What the model's method gives; wrappers pass the question on or hold the model as ``module``."""
    while not hasattr(model, method) and isinstance(getattr(model, "module", None), nn.Module):
        model = model.module  # pyright: ignore[reportAssignmentType]
    found = getattr(model, method, None)
    return found() if found is not None else None
