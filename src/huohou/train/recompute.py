"""Activation checkpointing (Chen et al. 2016): what a layer computed is thrown away and computed again when needed.

A layer keeps only its inputs for the backward pass. That takes about a third more time, and the memory of all
activations but one layer's. What is computed is the same, dropout included, so gradients are bit for bit those of a
run without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

_MARK = "_huohou_recomputed"


def recompute(model: Any) -> int:
    """Let every layer of ``model`` compute its activations twice instead of keeping them; returns how many layers.

    ``model.layers()`` names the layers. This comes before the model is compiled and before it is wrapped for several
    processes: what gathers a layer's parameters then stands outside, and gathers them once for both computations.
    A layer that is recomputed already is left as it is. Evaluation and generation, which have no backward pass, are
    not touched.
    """
    layers = model.layers()
    for layer in layers:
        if not hasattr(layer, _MARK):
            layer.forward = _twice(layer.forward)
            setattr(layer, _MARK, True)
    return len(layers)


def _twice(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return run
