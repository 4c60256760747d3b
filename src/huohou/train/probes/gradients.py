"""Gradient norms: one fused pass over all tensors gives the global norm and, from the same numbers, every layer's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch


def tensor_norms(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """The Euclidean norm of each tensor, as one vector on the device of the first."""
    norms = torch._foreach_norm(list(gradients))  # pyright: ignore[reportPrivateImportUsage]
    return torch.stack([norm.to(norms[0].device, torch.float32) for norm in norms])


def global_norm(norms: torch.Tensor) -> torch.Tensor:
    """The norm of all tensors together (a scalar), from :func:`tensor_norms`; not finite where any entry is not."""
    return torch.linalg.vector_norm(norms)


def clip(gradients: Sequence[torch.Tensor], norm: float, limit: float | None) -> bool:
    """Scale the gradients in place to the norm ``limit`` where theirs is larger; says whether it did.

    The factor is limit / (norm + 1e-6), as in ``torch.nn.utils.clip_grad_norm_``; what is small enough already is
    not touched at all, which saves a pass over the memory.
    """
    if limit is None or norm <= limit:
        return False
    torch._foreach_mul_(list(gradients), limit / (norm + 1e-6))  # pyright: ignore[reportPrivateImportUsage]
    return True


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to: ``model.layers.3.mlp.up_proj.weight`` is ``layers.3``."""
    parts = [part for part in name.split(".") if part != "model"]
    for i, part in enumerate(parts[:-1]):
        if parts[i + 1].isdigit():
            return f"{part}.{parts[i + 1]}"
    return parts[0]


def layer_norms(names: Iterable[str], norms: torch.Tensor) -> dict[str, float]:
    """The gradient norm of each layer, in the order of ``names``; one transfer from the device."""
    squares: dict[str, float] = {}
    for name, norm in zip(names, norms.tolist(), strict=True):
        layer = layer_of(name)
        squares[layer] = squares.get(layer, 0.0) + norm * norm
    return {layer: math.sqrt(square) for layer, square in squares.items()}
