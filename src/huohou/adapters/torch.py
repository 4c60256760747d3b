"""Plain PyTorch and torchtitan: huohou's curve as an object that goes wherever torch's schedulers go.

    from huohou.adapters import torch as huohou_torch
    scheduler = huohou_torch.scheduler(optimizer, "run.yaml")
    ...  # optimizer.step(); scheduler.step()

This is the one module of the adapters that writes a learning rate.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from huohou.adapters.causes import Call
from huohou.adapters.counting import Updates, innermost
from huohou.adapters.guard import Guard
from huohou.adapters.saying import Mode, length_trouble
from huohou.adapters.source import Groups, Planned, Source, length_differs, read, refuse_lost_ratios
from huohou.errors import UserError
from huohou.schedule.curve import Curve


def scheduler(
    optimizer: Any,
    source: Source,
    *,
    groups: Groups | None = None,
    updates: int | None = None,
    guard: Mode = "warn",
    horizon: Mode = "raise",
    follow: bool = False,
) -> CurveScheduler:
    """A scheduler that gives every update of an optimizer its planned rate.

    Args:
        optimizer: A torch optimizer, bare or wrapped.
        source: A run file, a plan.json, a run folder, a plan or a curve.
        groups: What parameter groups follow, by index or ``name``: a curve, the name of one of the plan's curves, or
            a multiple of the main curve.
        updates: How many updates the loop makes, where it knows: it must be the plan's T.
        guard: ``warn`` says it once when a rate is not the planned one, ``raise`` stops, ``off`` does not look.
        horizon: The same for ``updates`` that are not the plan's.
        follow: The rate follows the updates that the optimizer made, however often ``step()`` is called; otherwise it
            moves with each ``step()``, as torch's schedulers do.

    Raises:
        UserError: The source says no plan, or it does not fit the optimizer or the loop.
    """
    planned = read(source, groups)
    length_trouble(length_differs(planned, updates, "the training loop"), horizon)
    return CurveScheduler(optimizer, planned, guard=guard, follow=follow)


def schedulers(optimizers: Iterable[Any], source: Source, **how: Any) -> CurveSchedulers:
    """One scheduler over several optimizers, as torchtitan's trainer has them; the words are :func:`scheduler`'s."""
    return CurveSchedulers(list(optimizers), source, **how)


def put_rate(group: dict[str, Any], rate: float, *, shared: bool = False) -> float:
    """Write a rate into a parameter group, and return what the group holds then.

    A tensor, as capturable and compiled optimizers have it, stays the same tensor; but one that is ``shared`` with
    another group, as torch makes it from an optimizer's default, is replaced by the group's own.
    """
    held: Any = group["lr"]
    if isinstance(held, torch.Tensor):
        held = held.clone() if shared else held
        held.fill_(rate)
    else:
        held = rate
    group["lr"] = held
    return held_rate(group)


def held_rate(group: Mapping[str, Any]) -> float:
    """The rate that a parameter group holds."""
    return float(group["lr"])


def as_held(group: Mapping[str, Any], rate: float) -> float:
    """What a group can hold of a rate: one in a tensor of float32 is rounded to it."""
    held = group["lr"]
    return float(torch.tensor(rate, dtype=held.dtype)) if isinstance(held, torch.Tensor) else rate


class CurveScheduler(LRScheduler):
    """The curves of a plan over the parameter groups of an optimizer.

    As with torch's schedulers, ``last_epoch`` is how far it has moved: the groups hold the rate of update
    ``last_epoch`` + 1. Its state is whole numbers and text, and loading it puts the rates into all groups at once.

    Attributes:
        optimizer: The torch optimizer, without wrappers.
        last_epoch: How far it has moved.
        guard: What compares the rates that are used with the plan.
    """

    def __init__(
        self,
        optimizer: Any,
        planned: Planned,
        *,
        guard: Mode = "warn",
        follow: bool = False,
        called_once: bool = True,
        announce: bool = True,
        first_group: int = 0,
    ) -> None:
        # torch's own __init__ is left out: it would count calls by replacing optimizer.step and keep the rate of the
        # moment as the base of all later ones.
        self.optimizer = innermost(optimizer)
        if not isinstance(self.optimizer, Optimizer):
            raise UserError(
                f"{type(self.optimizer).__name__} is no torch optimizer.",
                f"{type(self.optimizer).__name__} 不是 torch 优化器。",
            )
        self.planned = planned
        self.last_epoch = 0
        self._step_count = 1
        self._follow = follow
        self._first_group = first_group
        self._curves: list[tuple[str, Curve]] = []
        self._known: list[dict[str, Any]] = []
        self._written: list[float] = []
        refuse_lost_ratios(self.optimizer.param_groups, planned, first_group)
        self.guard = Guard(
            self,
            updates=planned.updates,
            mode=guard,
            follow=follow,
            called_once=called_once,
            announce=announce,
        )
        self._updates = Updates(self.optimizer, self.guard)
        self._write()

    # What torch's schedulers can do.

    @property
    def base_lrs(self) -> list[float]:
        """The peak of every group's curve."""
        return [float(self.curve(index)[1].peak) for index in range(len(self.optimizer.param_groups))]

    def get_lr(self) -> list[float]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The planned rate of every group in the coming update."""
        return [self.meant(index, self.last_epoch + 1) for index in range(len(self.optimizer.param_groups))]

    def get_last_lr(self) -> list[float]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The rates that were written last."""
        return list(self._written)

    def step(self, epoch: int | None = None) -> None:
        """Move to the next update: call it once after each ``optimizer.step()``.

        ``epoch`` moves to a given place instead, as torch's schedulers do.
        """
        self._step_count += 1
        caller = sys._getframe(1)
        self.guard.stepped(Call(str(caller.f_globals.get("__name__", "")), caller.f_code.co_filename, caller.f_lineno))
        if self._follow:
            self.last_epoch = self.guard.done or self.guard.unseen()
        else:
            self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._write()

    def state_dict(self) -> dict[str, int | str]:
        """Whole numbers and text: how far it has moved, what was applied, and which curves these are."""
        return {"last_epoch": self.last_epoch, **self.guard.state(), "fingerprint": self.planned.fingerprint}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state; the rates are in all groups when it returns.

        The state of another scheduler of torch's is taken as well: of it only ``last_epoch`` counts.

        Raises:
            UserError: There is no ``last_epoch`` in it.
        """
        last = state_dict.get("last_epoch")
        if last is None:
            keys = ", ".join(map(str, state_dict)) or "{}"
            raise UserError(
                f"this is no scheduler's state: it has no last_epoch, only {keys}.",
                f"这不是调度器的状态：缺少 last_epoch，只有 {keys}。",
            )
        self.last_epoch = int(last)
        self.guard.load(state_dict, self.last_epoch, self.planned.fingerprint)
        if self._follow:
            self.last_epoch = self.guard.done
        self._step_count = self.last_epoch + 1
        self._write()

    # What the guard asks.

    def curve(self, index: int) -> tuple[str, Curve]:
        """The name and the curve of a group."""
        groups = self.optimizer.param_groups
        while len(self._curves) < len(groups):
            place = len(self._curves)
            self._curves.append(self.planned.follow(self._first_group + place, groups[place]))
        return self._curves[index]

    def meant(self, index: int, update: int) -> float:
        """The planned rate of a group in an update, as the group can hold it."""
        return as_held(self._known_group(index), self.curve(index)[1](update))

    def place(self, group: dict[str, Any]) -> int | None:
        """The index of a group of the optimizer; ``None`` for one that is not known."""
        return next((i for i, known in enumerate(self._known) if known is group), None)

    def written(self, index: int) -> float:
        """What was written into a group last."""
        return self._written[index]

    def adopt(self) -> None:
        """Give groups that were added since the last writing their rate."""
        groups = self.optimizer.param_groups
        if len(groups) > len(self._known):
            for index in range(len(self._known), len(groups)):
                self._known.append(groups[index])
                self._written.append(put_rate(groups[index], self.curve(index)[1](self.last_epoch + 1)))
            self._updates.know(self._known)

    def made(self) -> int:
        """Updates that the optimizer made in this process."""
        return self._updates.made

    # Writing.

    def rewrite(self) -> None:
        """Put the rates of the coming update back, where a state of the optimizer brought others."""
        self._write()

    def _known_group(self, index: int) -> dict[str, Any]:
        return self._known[index] if index < len(self._known) else self.optimizer.param_groups[index]

    def _write(self) -> None:
        """The only place of the adapters from which rates reach an optimizer, :meth:`adopt` aside."""
        groups = self.optimizer.param_groups
        if len(groups) < len(self._known):
            # In the middle of a step ZeRO shows one group at a time.
            return
        self._known = list(groups)
        self._written = []
        tensors: set[int] = set()
        for index, group in enumerate(groups):
            shared = id(group["lr"]) in tensors
            self._written.append(put_rate(group, self.curve(index)[1](self.last_epoch + 1), shared=shared))
            if isinstance(group["lr"], torch.Tensor):
                tensors.add(id(group["lr"]))
        self._updates.know(self._known)


class CurveSchedulers:
    """Several optimizers under one plan; torchtitan calls ``step()``, and saves and loads its state.

    Attributes:
        schedulers: One for each optimizer.
    """

    def __init__(self, optimizers: list[Any], source: Source, *, groups: Groups | None = None,
                 updates: int | None = None, guard: Mode = "warn", horizon: Mode = "raise",
                 follow: bool = False) -> None:  # fmt: skip
        planned = read(source, groups)
        length_trouble(length_differs(planned, updates, "the training loop"), horizon)
        refuse_lost_ratios([group for one in optimizers for group in innermost(one).param_groups], planned)
        self.schedulers: list[CurveScheduler] = []
        first = 0
        for optimizer in optimizers:
            made = CurveScheduler(
                optimizer, planned, guard=guard, follow=follow, announce=not self.schedulers, first_group=first
            )
            self.schedulers.append(made)
            first += len(made.optimizer.param_groups)

    @property
    def guard(self) -> Guard:
        """The first optimizer's guard; each scheduler has its own."""
        return self.schedulers[0].guard

    def __iter__(self) -> Iterator[CurveScheduler]:
        return iter(self.schedulers)

    def __len__(self) -> int:
        return len(self.schedulers)

    def step(self) -> None:
        """Move all of them to the next update."""
        for one in self.schedulers:
            one.step()

    def get_last_lr(self) -> list[float]:
        """The rates that were written last, of all groups."""
        return [rate for one in self.schedulers for rate in one.get_last_lr()]

    def state_dict(self) -> dict[str, int | str]:
        """The first one's state: all have moved as far, and there may be another number of them when it is loaded."""
        return self.schedulers[0].state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """All go on from there."""
        for one in self.schedulers:
            one.load_state_dict(state_dict)
