"""The optimizer, and the only place in huohou that writes a learning rate into one.

Whoever wants to know which rate an update used reads it back from here: what is logged, hashed and compared with
the plan is what the optimizer held, not what somebody meant it to hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from huohou.errors import RunFailed

MAIN = "all"
"""The name of the parameter group of a plan that has one curve for everything."""


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """AdamW (Loshchilov and Hutter 2019) as the plan states it."""

    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    decay_embeddings: bool = True
    fused: bool = False


def parameter_groups(model: torch.nn.Module, settings: OptimizerSettings, curve: str = MAIN) -> list[dict[str, object]]:
    """Parameters that decay and parameters that do not: norms and biases (all that is not a matrix) never do.

    ``curve`` is the name of the plan's group whose curve these parameters follow. Embeddings are matrices and decay
    unless ``decay_embeddings`` is false.
    """
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    decayed: list[torch.nn.Parameter] = []
    free: list[torch.nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            decays = parameter.dim() >= 2 and (settings.decay_embeddings or id(parameter) not in embeddings)
            (decayed if decays else free).append(parameter)
    groups = ((decayed, settings.weight_decay), (free, 0.0))
    return [{"params": parameters, "weight_decay": decay, "curve": curve} for parameters, decay in groups if parameters]


def make_optimizer(
    model: torch.nn.Module, settings: OptimizerSettings, groups: list[dict[str, object]] | None = None
) -> torch.optim.Optimizer:
    """AdamW over ``groups`` (default: all of the model's parameters). Its rate is 0 until one is written."""
    return torch.optim.AdamW(
        groups if groups is not None else parameter_groups(model, settings),  # pyright: ignore[reportArgumentType]
        lr=0.0,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=settings.fused,
        foreach=None if settings.fused else True,
    )


def set_rates(optimizer: torch.optim.Optimizer, rates: Mapping[str, float]) -> dict[str, float]:
    """Write the rate of each curve into the parameter groups that follow it, and return what they hold then."""
    for group in optimizer.param_groups:
        group["lr"] = rates[group["curve"]]
    return rates_of(optimizer)


def rates_of(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The rate that the optimizer holds for each curve; parts of one curve that differ are a failure."""
    rates: dict[str, float] = {}
    for group in optimizer.param_groups:
        name, rate = group["curve"], float(group["lr"])
        if rates.setdefault(name, rate) != rate:
            raise RunFailed(
                f"parameters that follow the curve {name} hold different learning rates: {rates[name]} and {rate}.",
                f"遵循曲线 {name} 的参数持有不同的学习率：{rates[name]} 与 {rate}。",
            )
    return rates
