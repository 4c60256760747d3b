"""The optimizer, and the only place in huohou that writes a learning rate into one.

Whoever wants to know which rate an update used reads it back from here: what is logged, hashed and compared with
the plan is what the optimizer held, not what somebody meant it to hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from huohou.errors import RunFailed
from huohou.train import optim_8bit

MAIN = "all"
"""The name of the parameter group of a plan that has one curve for everything."""


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """AdamW (Loshchilov and Hutter 2019) as the plan states it; ``name`` as in ``optimizer.name``."""

    name: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    decay_embeddings: bool = True
    fused: bool = False


def freeze(model: torch.nn.Module, curve_of: Mapping[str, str | None]) -> None:
    """Take the parameters that follow no curve (``None``) out of training, before an engine takes the model."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and curve_of[name] is None:
            parameter.requires_grad_(False)


def parameter_groups(
    model: torch.nn.Module, settings: OptimizerSettings, curve_of: Mapping[str, str | None] | None = None
) -> list[dict[str, object]]:
    """Parameters that decay and parameters that do not, for each curve: norms and biases (no matrices) never decay.

    ``curve_of`` names for every parameter the plan's curve that it follows (default: all of them the main one).
    Embeddings are matrices and decay unless ``decay_embeddings`` is false.
    """
    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    groups: dict[tuple[str, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        curve = MAIN if curve_of is None else curve_of[name]
        if parameter.requires_grad and curve is not None:
            decays = parameter.dim() >= 2 and (settings.decay_embeddings or id(parameter) not in embeddings)
            groups.setdefault((curve, not decays), []).append(parameter)
    return [
        {"params": groups[curve, free], "weight_decay": 0.0 if free else settings.weight_decay, "curve": curve}
        for curve, free in sorted(groups)
    ]


def make_optimizer(
    model: torch.nn.Module, settings: OptimizerSettings, groups: list[dict[str, object]] | None = None
) -> torch.optim.Optimizer:
    """AdamW over ``groups`` (default: all of the model's parameters). Its rate is 0 until one is written."""
    if groups is None:
        groups = parameter_groups(model, settings)
    if settings.name in optim_8bit.NAMES:
        return optim_8bit.make_8bit(groups, settings, paged=settings.name.startswith("paged"))
    return torch.optim.AdamW(
        groups,  # pyright: ignore[reportArgumentType]
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
