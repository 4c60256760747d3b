"""Loops with Accelerate: a scheduler that may be given to ``accelerator.prepare()`` or kept out of it.

    from huohou.adapters import accelerate as huohou_accelerate
    scheduler = huohou_accelerate.scheduler(optimizer, "run.yaml")
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

Accelerate steps a scheduler that it prepared once for each process, and one that it did not prepare is called in
every micro-batch. Neither matters here: the rate follows the optimizer's own updates.
"""

from __future__ import annotations

from typing import Any

from huohou.adapters.saying import Mode, length_trouble
from huohou.adapters.source import Groups, Source, length_differs, read
from huohou.adapters.torch import CurveScheduler


def scheduler(
    optimizer: Any,
    source: Source,
    *,
    groups: Groups | None = None,
    updates: int | None = None,
    guard: Mode = "warn",
    horizon: Mode = "raise",
) -> CurveScheduler:
    """A scheduler for a loop with Accelerate, with gradient accumulation, mixed precision and DeepSpeed as well.

    Args:
        optimizer: The optimizer, prepared or not.
        source, groups, updates, guard, horizon: As for :func:`huohou.adapters.torch.scheduler`.

    Raises:
        UserError: The source says no plan, or it does not fit the optimizer or the loop.
    """
    planned = read(source, groups)
    length_trouble(length_differs(planned, updates, "the training loop"), horizon)
    return CurveScheduler(optimizer, planned, guard=guard, follow=True, called_once=False)
