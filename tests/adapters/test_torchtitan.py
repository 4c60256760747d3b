"""torchtitan's way: a container of optimizers, its schedulers, and their state through a distributed checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.stateful import Stateful

import huohou
from huohou.adapters import torch as huohou_torch

PLAN = huohou.plan(updates=12, peak="1e-3", warmup="4 steps", floor="10%")

pytestmark = pytest.mark.filterwarnings("ignore")


class Container:
    """As torchtitan's OptimizersContainer: one optimizer for each part of the model."""

    def __init__(self, parts: list[torch.nn.Module]) -> None:
        self.optimizers = [torch.optim.AdamW(part.parameters(), lr=8e-4) for part in parts]

    def __iter__(self) -> Any:
        return iter(self.optimizers)

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()


def titans_own(parts: list[torch.nn.Module]) -> Any:
    pytest.importorskip("torchtitan")
    from torchtitan.components.optimizer.optimizer import (  # pyright: ignore[reportMissingImports]
        OptimizersContainer,
        ParamGroupConfig,
    )

    group = ParamGroupConfig(pattern=".*", optimizer_name="AdamW", optimizer_kwargs={"lr": 8e-4})
    config = OptimizersContainer.Config(param_groups=[group], implementation="foreach")
    return OptimizersContainer(config, model_parts=parts)


@pytest.mark.parametrize("container", [Container, titans_own], ids=["alike", "torchtitan"])
def test_a_run_goes_on_from_a_distributed_checkpoint(container: Any, tmp_path: Path) -> None:
    def begin() -> tuple[list[torch.nn.Module], Any, Any]:
        torch.manual_seed(0)
        parts: list[torch.nn.Module] = [torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)]
        optimizers = container(parts)
        return parts, optimizers, huohou_torch.schedulers(optimizers, PLAN, guard="raise", updates=12)

    def train(made: Any, updates: int) -> list[float]:
        parts, optimizers, schedulers = made
        rates: list[float] = []
        for _ in range(updates):
            optimizers.zero_grad()
            for _ in range(2):
                parts[1](parts[0](torch.ones(1, 4))).square().mean().backward()
            rates += {group["lr"] for optimizer in optimizers for group in optimizer.param_groups}
            optimizers.step()
            schedulers.step()
        return rates

    made = begin()
    assert isinstance(made[2], Stateful)
    rates = train(made, 5)
    save({"lr_scheduler": made[2]}, checkpoint_id=tmp_path / "step-5")
    made = begin()
    load({"lr_scheduler": made[2]}, checkpoint_id=tmp_path / "step-5")
    assert {group["lr"] for optimizer in made[1] for group in optimizer.param_groups} == {PLAN.curve(6)}
    rates += train(made, 7)
    assert rates == [PLAN.curve(u) for u in range(1, 13)]
    assert [str(one.guard.proof) for one in made[2]] == ["planned == applied: 12 of 12 updates"] * 2
