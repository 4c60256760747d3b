"""Why a rate was not the planned one, in a sentence that names the likely cause and what to do."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import Any, TypeAlias

from torch.amp.grad_scaler import GradScaler
from torch.optim.lr_scheduler import LRScheduler

from huohou.adapters.counting import innermost
from huohou.language import Text

Mark: TypeAlias = tuple[int, int] | None
"""Tells whether a backward pass came between two moments: what holds the first gradient, and its version."""

_ACCELERATE = "accelerate.scheduler"
_NEAR = 2000
"""How far from an update a rate is looked for that belongs to another one."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a scheduler's ``step()``: where it came from, and a mark of the gradients at that time."""

    module: str
    file: str
    line: int
    gradients: Mark = None

    @property
    def place(self) -> str:
        """The file's name and the line."""
        return f"{PurePath(self.file).name}:{self.line}"


def places(calls: Sequence[Call]) -> str:
    """Where the calls came from, each place once."""
    return ", ".join(dict.fromkeys(call.place for call in calls))


ONCE = Text(
    "call it once after each optimizer.step()",
    "每次 optimizer.step() 之后调用一次",
)


def of_the_clock(*, update: int, stands: int, calls: Sequence[Call], gradients: Mark, ever: bool, skipped: int) -> Text:
    """Why the scheduler stands at another update than the one that was made.

    Args:
        update: The update that was made.
        stands: The update at which the scheduler stands.
        calls: The calls of ``step()`` since the update before.
        gradients: The mark of the gradients when the update was made.
        ever: Whether ``step()`` was called at all.
        skipped: Updates skipped since the one before.
    """
    count = len(calls)
    if stands < update and not ever:
        return Text(
            f"scheduler.step() was never called; {ONCE.en}, not once an epoch.",
            f"从未调用 scheduler.step()；应在{ONCE.zh}，而不是每轮一次。",
        )
    if stands < update and count == 0:
        return Text(
            f"scheduler.step() was not called after update {update - 1}, as if it were called once an epoch; "
            f"{ONCE.en}.",
            f"更新步 {update - 1} 之后没有调用 scheduler.step()，可能是每轮才调用一次；应在{ONCE.zh}。",
        )
    if count == 0:
        return Text(
            "the scheduler was moved by hand or by a loaded state; let step() alone move it.",
            "调度器的位置被手动或被加载的状态改动；应只由 step() 推进。",
        )
    at = places(calls)
    if count > 1 and all(call.module == _ACCELERATE for call in calls):
        return Text(
            f"the scheduler was prepared by Accelerate, which steps it {count} times an update, once for each process: "
            "keep it out of accelerator.prepare(), or make it with huohou.adapters.accelerate.",
            f"调度器交给了 Accelerate 的 prepare，它每步调用 {count} 次（每个进程一次）："
            "不要把它放进 accelerator.prepare()，或改用 huohou.adapters.accelerate。",
        )
    if skipped:
        return Text(
            f"scheduler.step() was called ({at}) although an update was skipped (overflow): call it only after an "
            "update that was made, or make the scheduler with follow=True.",
            f"更新因溢出被跳过，却仍调用了 scheduler.step()（{at}）：只应在真正完成更新后调用，"
            "或在创建调度器时写 follow=True。",
        )
    if _backward_between(calls, gradients):
        if any(scaler.is_enabled() for scaler in _alive(_is_scaler)):
            return Text(
                f"scheduler.step() is called (at {at}) after every micro-batch, or although the gradient scaler "
                f"skipped an update: {ONCE.en} that was not skipped, or make the scheduler with follow=True.",
                f"要么每个微批之后都调用了 scheduler.step()（位于 {at}），要么梯度缩放器跳过了更新却仍然调用："
                f"应在{ONCE.zh}，被跳过的不算，或在创建调度器时写 follow=True。",
            )
        return Text(
            f"scheduler.step() is called after every micro-batch (at {at}), not after every update: {ONCE.en}.",
            f"每个微批之后都调用了 scheduler.step()（位于 {at}），而不是每次更新之后：应在{ONCE.zh}。",
        )
    if count == 1:
        return Text(
            f"scheduler.step() was called before optimizer.step() (at {at}): {ONCE.en}.",
            f"scheduler.step() 在 optimizer.step() 之前调用（位于 {at}）：应在{ONCE.zh}。",
        )
    return Text(
        f"scheduler.step() was called {count} times for one update (at {at}): {ONCE.en}.",
        f"一次更新调用了 {count} 次 scheduler.step()（位于 {at}）：应在{ONCE.zh}。",
    )


def _backward_between(calls: Sequence[Call], gradients: Mark) -> bool:
    """Whether gradients were added to between the calls, or between a single call and the update."""
    marks = [call.gradients for call in calls]
    if len(calls) == 1:
        marks.append(gradients)
    return any(later is not None and later != earlier for earlier, later in pairwise(marks))


def of_another_owner(optimizer: Any, own: Any, *, held: float, update: int, planned: Callable[[int], float]) -> Text:
    """Who else wrote the rate, as far as it can be found.

    Args:
        optimizer: The torch optimizer.
        own: huohou's scheduler.
        held: The rate that was found.
        update: The update in which it was used.
        planned: The rate that the plan has for an update.
    """
    owners = other_owners(optimizer, own)
    if owners:
        named = ", ".join(owners)
        return Text(
            f"another scheduler writes the rate of this optimizer too ({named}): remove it.",
            f"还有另一个调度器在写这个优化器的学习率（{named}）：请去掉它。",
        )
    near = range(max(1, update - _NEAR), update + _NEAR)
    other = next((u for u in near if u != update and planned(u) == held), None)
    if other is not None:
        return Text(
            f"it is the plan's rate of update {other}, put there after the scheduler wrote its own, as by a loaded "
            "checkpoint: load the scheduler's state after the optimizer's.",
            f"这是计划中更新步 {other} 的学习率，在调度器写入之后又被放回，例如来自加载的检查点："
            "请在加载优化器状态之后再加载调度器状态。",
        )
    return Text(
        "something else wrote the rate after the scheduler did, such as a callback or the loop itself: let only one "
        "of them write it.",
        "在调度器之后又有别处写了学习率，例如回调或训练循环：学习率只应由一处写。",
    )


def other_owners(optimizer: Any, own: Any) -> list[str]:
    """The kinds of the other schedulers that hold this optimizer; looked for among all objects, so only when needed."""
    found: dict[str, None] = {}
    for one in _alive(_is_scheduler):
        theirs = getattr(one, "optimizer", None)
        if one is not own and theirs is not None and innermost(theirs) is optimizer:
            found[type(one).__name__] = None
    return list(found)


def _is_scheduler(kind: type) -> bool:
    # DeepSpeed's schedulers are no children of torch's.
    return issubclass(kind, LRScheduler) or kind.__module__ == "deepspeed.runtime.lr_schedules"


def _is_scaler(kind: type) -> bool:
    return issubclass(kind, GradScaler)


def _alive(wanted: Callable[[type], bool]) -> list[Any]:
    """The objects of the wanted kinds; each kind is looked at once, for there may be millions of objects."""
    kinds: dict[type, bool] = {}
    found: list[Any] = []
    for one in gc.get_objects():
        kind = type(one)
        if kind not in kinds:
            kinds[kind] = wanted(kind)
        if kinds[kind]:
            found.append(one)
    return found
