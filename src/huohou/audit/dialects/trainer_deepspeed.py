"""The Trainer over a DeepSpeed configuration: where it is, what the Trainer fills in, and what it refuses."""

from __future__ import annotations

from huohou.audit.dialects.deepspeed_scheduler import Filled, Version, schedule
from huohou.audit.document import Document
from huohou.audit.reading import Reading
from huohou.audit.source import Source
from huohou.audit.structured import NotThis, read_json
from huohou.audit.values import Settings


def config_of(settings: Settings, document: Document, reading: Reading) -> Settings | None:
    """The DeepSpeed configuration that the arguments name or hold."""
    inner = settings.under("deepspeed")
    if inner.values:
        return inner
    name = settings.text("deepspeed", "deepspeed_config")
    if name is None:
        return None
    if name.lstrip().startswith("{"):
        try:
            return read_json(Source(f"{settings.name}:deepspeed", name))
        except NotThis:
            return None
    found = document.other(name)
    if found is None:
        reading.assume(
            f"{name} was not found; it is taken to have no scheduler of its own.",
            f"未找到 {name}；假定其中没有调度器。",
        )
        return None
    return found.settings


def filled_in(
    config: Settings, *, peak: float, warmup: int, horizon: int, updates: int, version: Version | None = None
) -> Filled | None:
    """The scheduler of a configuration that the Trainer fills in: ``auto`` takes the Trainer's values."""
    auto = {
        "warmup_max_lr": peak,
        "warmup_num_steps": float(max(1, warmup)),
        "total_num_steps": float(horizon),
        "warmup_min_lr": 0.0,
    }
    return schedule(config, auto=auto, optimizer_rate=peak, updates=updates, version=version)


def mismatches(
    config: Settings, *, peak: float, warmup: int, horizon: int
) -> list[tuple[str, float | int, float | int]]:
    """Values of the configuration that the Trainer compares with its own, and refuses where they are others."""
    wanted: dict[str, float | int] = {
        "optimizer.params.lr": peak,
        "scheduler.params.warmup_max_lr": peak,
        "scheduler.params.total_num_steps": horizon,
        "scheduler.params.warmup_num_steps": max(1, warmup),
    }
    found: list[tuple[str, float | int, float | int]] = []
    for key, ours in wanted.items():
        theirs = config.number(key)
        if theirs is not None and theirs != ours:
            found.append((key, theirs, ours))
    return found
