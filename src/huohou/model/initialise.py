"""First weights: normal, with a seed for every parameter's name."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from huohou.model.config import ModelConfig
from huohou.model.llama import Llama

_INTO_RESIDUAL = ("o_proj.weight", "down_proj.weight")


def build(
    config: ModelConfig,
    seed: int,
    *,
    depth_scaled: bool = False,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Llama:
    """A decoder with the first weights of :func:`initialise`."""
    model = empty(config, device, dtype)
    initialise(model, seed, depth_scaled=depth_scaled)
    return model


def empty(config: ModelConfig, device: torch.device | str, dtype: torch.dtype) -> Llama:
    """A decoder whose weights are whatever the memory holds: to be filled at once."""
    with torch.device("meta"):
        model = Llama(config).to(dtype)
    model.to_empty(device=device)
    model.tie()
    return model


@torch.no_grad()
def initialise(model: Llama, seed: int, *, depth_scaled: bool = False) -> None:
    """Fill a decoder in place: norms with 1, biases with 0, matrices from normal(0, ``initializer_range``).

    With ``depth_scaled`` the matrices that write into the residual stream are smaller by √(2 × layers), so that the
    stream does not grow with depth (GPT-2, Radford et al. 2019). Every parameter has its own generator, seeded by
    ``seed`` and its name, and is drawn on the CPU in fp32: the same seed gives the same weights whatever the device,
    the type, or the order in which modules were made.
    """
    for name, parameter in model.named_parameters():
        parameter.copy_(first_weight(model.config, name, parameter.shape, seed, depth_scaled=depth_scaled))


def first_weight(config: ModelConfig, name: str, shape: torch.Size, seed: int, *, depth_scaled: bool) -> Tensor:
    """What :func:`initialise` puts into one parameter: fp32 on the CPU."""
    if len(shape) == 1:
        return torch.full(shape, 0.0 if name.endswith("bias") else 1.0)
    shrink = math.sqrt(2 * config.num_hidden_layers) if depth_scaled else 1.0
    return draw(name, shape, seed, config.initializer_range / (shrink if name.endswith(_INTO_RESIDUAL) else 1))


def draw(name: str, shape: torch.Size, seed: int, spread: float) -> Tensor:
    """Normal numbers of standard deviation ``spread``, in fp32 on the CPU, the same for the same name and seed."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    return torch.empty(shape).normal_(0.0, spread, generator=generator)
