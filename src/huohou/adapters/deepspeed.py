"""DeepSpeed's own interface: a client scheduler for ``deepspeed.initialize``.

    from huohou.adapters import deepspeed as huohou_deepspeed
    engine, *_ = deepspeed.initialize(model=model, config=config, lr_scheduler=huohou_deepspeed.scheduler("run.yaml"))

The engine steps it after each update, and not after one that overflowed; the rate follows the optimizer's updates, so
that calling it again changes nothing.
"""

from __future__ import annotations

from typing import Any

from huohou.adapters.guard import Guard
from huohou.adapters.saying import Mode, check_mode, length_trouble
from huohou.adapters.source import Groups, Source, length_differs, read
from huohou.adapters.torch import CurveScheduler
from huohou.errors import UserError


def scheduler(
    source: Source,
    *,
    groups: Groups | None = None,
    updates: int | None = None,
    guard: Mode = "warn",
    horizon: Mode = "raise",
) -> ClientScheduler:
    """What ``deepspeed.initialize(lr_scheduler=…)`` takes: it makes the scheduler when the optimizer is there.

    Args:
        source, groups, updates, guard, horizon: As for :func:`huohou.adapters.torch.scheduler`.

    Raises:
        UserError: The source says no plan, or it does not fit the loop.
    """
    check_mode(guard, "guard")
    return ClientScheduler(source, groups, updates, guard, horizon)


class ClientScheduler:
    """Makes the scheduler over the optimizer that DeepSpeed hands to it.

    Attributes:
        scheduler: The scheduler, once ``deepspeed.initialize`` has returned; ``engine.lr_scheduler`` is the same.
    """

    def __init__(self, source: Source, groups: Groups | None, updates: int | None, mode: Mode, horizon: Mode) -> None:
        self.scheduler: CurveScheduler | None = None
        self._planned = read(source, groups)
        self._mode: Mode = mode
        length_trouble(length_differs(self._planned, updates, "the training loop"), horizon)

    def __call__(self, optimizer: Any) -> CurveScheduler:
        self.scheduler = CurveScheduler(optimizer, self._planned, guard=self._mode, follow=True)
        return self.scheduler

    @property
    def guard(self) -> Guard:
        """What compares the rates that are used with the plan.

        Raises:
            UserError: ``deepspeed.initialize`` was not called.
        """
        if self.scheduler is None:
            raise UserError(
                "there is no guard yet: deepspeed.initialize makes the scheduler.",
                "守卫还不存在：调度器由 deepspeed.initialize 创建。",
            )
        return self.scheduler.guard
