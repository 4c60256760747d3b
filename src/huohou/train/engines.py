"""Which engine a run uses, and making it."""

from __future__ import annotations

from typing import Any

import torch

from huohou.errors import UserError
from huohou.train.distributed import World
from huohou.train.engine import Engine, MakeOptimizer
from huohou.train.state import Readable


def engine_name(wish: str, world: World) -> str:
    """The engine that ``train.engine`` means for so many processes: ``single``, ``ddp``, ``fsdp2``, ``deepspeed``."""
    if wish == "deepspeed":
        return wish
    if world.alone:
        return "single"
    return "ddp" if wish == "auto" else wish


def make_engine(
    wish: str,
    model: torch.nn.Module,
    make_optimizer: MakeOptimizer,
    *,
    device: str,
    dtype: str,
    world: World,
    zero_stage: int = 2,
    offload: bool = False,
    weights: Readable | None = None,
) -> Engine:
    """The engine of a run over its model; every rank makes it at the same time.

    ``weights``: where those of a model on the meta device come from (FSDP2 alone; each rank reads its part).
    """
    common: dict[str, Any] = {"device": device, "dtype": dtype, "world": world}
    name = engine_name(wish, world)
    if offload and name not in ("fsdp2", "deepspeed"):
        raise UserError(
            f"train.offload needs an engine that shares out the state, this run's is {name}: write train.engine: fsdp2 "
            f"or deepspeed, or offload: off.",
            f"train.offload 需要能分摊状态的引擎，而本次训练的引擎是 {name}：请写 train.engine: fsdp2 或 deepspeed，"
            f"或 offload: off。",
        )
    if name == "deepspeed":
        from huohou.train.engine_deepspeed import DeepSpeedEngine

        return DeepSpeedEngine(model, make_optimizer, **common, zero_stage=zero_stage, offload=offload)
    if name == "fsdp2":
        from huohou.train.engine_fsdp2 import FSDP2Engine

        return FSDP2Engine(model, make_optimizer, **common, offload=offload, weights=weights)
    if name == "ddp":
        from huohou.train.engine_ddp import DDPEngine

        return DDPEngine(model, make_optimizer, **common)
    return Engine(model, make_optimizer, **common)
