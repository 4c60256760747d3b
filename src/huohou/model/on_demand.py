"""First weights one tensor at a time, for a model that no process holds as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from huohou.model.config import ModelConfig
from huohou.model.initialise import first_weight
from huohou.model.llama import Llama
from huohou.model.load import fill_model, open_weights


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
    """The weights in a Hugging Face folder, for our own decoder; what the model has in memory already is that."""
    weights = open_weights(folder)
    held = {name: p.detach() for name, p in model.named_parameters() if not p.is_meta}
    return OnDemand(lambda name, shape: held[name] if name in held else weights.get(name), shapes_of(model))


def fill_ends(model: Llama, folder: Path) -> None:
    """Read embedding and head alone, so that a decoder whose layers have no memory can be grown."""
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    inputs.to_empty(device="cpu")
    outputs.to_empty(device="cpu")
    model.tie()
    fill_model(model, folder, [name for name, p in model.named_parameters() if not p.is_meta])
