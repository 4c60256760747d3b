"""First weights one tensor at a time, for a model that no process holds as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from huohou.model.config import ModelConfig
from huohou.model.initialise import first_weight
from huohou.model.load import open_weights


class OnDemand:
    """Tensors by name, each made or read when a part of it is asked for, and forgotten again."""

    def __init__(self, get: Callable[[str, tuple[int, ...]], Tensor], shapes: dict[str, tuple[int, ...]]) -> None:
        self._get, self._shapes = get, shapes

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the whole tensor."""
        return self._shapes[name]

    def read(self, name: str, start: int, count: int) -> Tensor:
        """``count`` numbers of a tensor from number ``start`` on, flat; in fp32 on the CPU."""
        return self._get(name, self._shapes[name]).flatten()[start : start + count].float()


def shapes_of(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter; a tied one is there once."""
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def drawn(model: torch.nn.Module, config: ModelConfig, seed: int, *, depth_scaled: bool) -> OnDemand:
    """The weights that :func:`huohou.model.build` would give."""
    return OnDemand(
        lambda name, shape: first_weight(config, name, torch.Size(shape), seed, depth_scaled=depth_scaled),
        shapes_of(model),
    )


def stored(model: torch.nn.Module, folder: Path) -> OnDemand:
    """The weights in a Hugging Face folder, for our own decoder before it grows."""
    weights = open_weights(folder)
    return OnDemand(lambda name, shape: weights.get(name), shapes_of(model))
