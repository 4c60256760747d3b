"""huohou (火候): Chinese LLaMA training with the learning rate under control from the first update.

The small public interface; everything else may change. Planning needs the standard library alone; what needs more is
imported when it is first used.

Example:
    >>> import huohou
    >>> p = huohou.plan(updates=10_000, peak="3e-4", warmup_rate="0.1")
    >>> p.warmup_updates, p.curve(1), p.curve(1000), p.curve(10_000)
    (1000, 3e-07, 0.0003, 3e-05)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from huohou.errors import RunFailed, UserError
from huohou.plan.api import plan
from huohou.plan.result import Plan
from huohou.schedule import Curve, Knot, Schedule, build, close, diff, join, rewarm, shift, slice
from huohou.units import Duration, Level

if TYPE_CHECKING:
    from huohou.config import RunConfig, load_run
    from huohou.launch import train

__all__ = [
    "Curve",
    "Duration",
    "Knot",
    "Level",
    "Plan",
    "RunConfig",
    "RunFailed",
    "Schedule",
    "UserError",
    "build",
    "close",
    "diff",
    "join",
    "load_run",
    "plan",
    "rewarm",
    "shift",
    "slice",
    "train",
]


def __getattr__(name: str) -> object:
    """What needs more than the standard library is imported when it is asked for."""
    if name in ("RunConfig", "load_run"):
        import huohou.config

        return getattr(huohou.config, name)
    if name == "train":
        from huohou.launch import train

        return train
    raise AttributeError(f"module 'huohou' has no attribute {name!r}")
