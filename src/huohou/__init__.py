"""huohou (火候): Chinese LLaMA training with the learning rate under control from the first update.

The small public interface; everything else may change. Planning needs the standard library alone.

Example:
    >>> import huohou
    >>> p = huohou.plan(updates=10_000, peak="3e-4", warmup_rate="0.1")
    >>> p.warmup_updates, p.curve(1), p.curve(1000), p.curve(10_000)
    (1000, 3e-07, 0.0003, 3e-05)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from huohou.errors import RunFailed, UserError
from huohou.plan.api import plan

if TYPE_CHECKING:
    from huohou.config import RunConfig, load_run
    from huohou.launch import train
    from huohou.plan.result import Plan
    from huohou.schedule import Curve, Knot, Schedule, build, close, diff, join, rewarm, shift, slice
    from huohou.units import Duration, Level

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


_PLACES = {
    "huohou.config": ("RunConfig", "load_run"),
    "huohou.launch": ("train",),
    "huohou.plan.result": ("Plan",),
    "huohou.schedule": ("Curve", "Knot", "Schedule", "build", "close", "diff", "join", "rewarm", "shift", "slice"),
    "huohou.units": ("Duration", "Level"),
}


def __getattr__(name: str) -> object:
    """A name is imported when it is first used, so that a verb that plans nothing starts at once."""
    for place, names in _PLACES.items():
        if name in names:
            # Kept, because a package of the same name (huohou.train) takes the name's place as it is imported.
            value = globals()[name] = getattr(importlib.import_module(place), name)
            return value
    raise AttributeError(f"module 'huohou' has no attribute {name!r}")
