"""Counting the updates that an optimizer makes, whoever calls it and whatever it is wrapped in.

The hooks are torch's global ones and look at the parameter groups, for two reasons: wrappers (Accelerate, DeepSpeed,
Lightning) end in a torch optimizer that holds the same groups, and some put another optimizer over them. ZeRO steps
an optimizer once for each group or part of a group; those calls together are one update.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

_ALLOCATING = frozenset({"_init_optim_state", "initialize_optimizer_states"})
"""Functions of torch's distributed checkpoints and of DeepSpeed that step an optimizer for it to allocate its state."""

_DEEPEST_FRAME = 16


class Listener(Protocol):
    """What is told of updates."""

    def before_update(self, optimizer: Optimizer) -> None:
        """The optimizer is about to step."""
        ...

    def used(self, update: int, groups: list[dict[str, Any]]) -> None:
        """These groups were stepped as part of the update with this number, counted from 1 in this process."""
        ...

    def skipped(self) -> None:
        """The optimizer was called, but left the weights alone because of gradients that are not finite."""
        ...

    def optimizer_loaded(self, optimizer: Optimizer) -> None:
        """The optimizer took a state."""
        ...


def innermost(optimizer: Any) -> Optimizer:
    """The torch optimizer under the wrappers of Accelerate, DeepSpeed or Lightning."""
    for _ in range(8):
        inner = getattr(optimizer, "optimizer", None)
        if inner is None or inner is optimizer:
            break
        optimizer = inner
    return optimizer


def _allocating() -> bool:
    frame = sys._getframe(3)
    for _ in range(_DEEPEST_FRAME):
        if frame.f_code.co_name in _ALLOCATING:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


class Updates:
    """The updates of one optimizer in this process.

    Attributes:
        made: Updates so far.
    """

    def __init__(self, optimizer: Optimizer, listener: Listener) -> None:
        self.made = 0
        self._optimizer = weakref.ref(optimizer)
        self._listener: Callable[[], Listener | None] = weakref.ref(listener)
        self._groups: list[Any] = list(optimizer.param_groups)
        self._seen: set[int] = set()
        self._idle = False
        earlier = _COUNTING.get(optimizer)
        if earlier is not None:
            # A second adapter over the same optimizer takes the first one's place, as when a trainer trains again.
            earlier.stop()
        _COUNTING[optimizer] = self
        _ACTIVE.add(self)
        optimizer.register_load_state_dict_post_hook(_weakly(weakref.WeakMethod(self._took_a_state)))
        _listen()

    def stop(self) -> None:
        """Count no more."""
        _ACTIVE.discard(self)
        self._listener = _nobody

    def know(self, groups: list[Any]) -> None:
        """The groups as they are now: loading a state replaces them."""
        self._groups = list(groups)

    def _took_a_state(self, optimizer: Any) -> None:
        listener = self._listener()
        if listener is not None:
            listener.optimizer_loaded(optimizer)

    def _mine(self, optimizer: Any) -> bool:
        if optimizer is self._optimizer():
            return True
        return any(group is known for group in optimizer.param_groups for known in self._groups)

    def before(self, optimizer: Any) -> None:
        """An optimizer is about to step."""
        listener = self._listener()
        if listener is None or not self._mine(optimizer):
            return
        self._idle = (self.made == 0 or not optimizer.state) and _allocating()
        if not self._idle:
            listener.before_update(optimizer)

    def after(self, optimizer: Any) -> None:
        """An optimizer has stepped."""
        listener = self._listener()
        if listener is None or self._idle or not self._mine(optimizer):
            return
        found = getattr(optimizer, "found_inf", None)
        if found is not None and float(found) > 0:
            listener.skipped()
            return
        groups = [group for group in optimizer.param_groups if group["params"]]
        first = id(groups[0]["params"][0]) if groups else 0
        if first in self._seen or not self._seen:
            self.made += 1
            self._seen.clear()
        self._seen.add(first)
        listener.used(self.made, groups)


_COUNTING: weakref.WeakKeyDictionary[Optimizer, Updates] = weakref.WeakKeyDictionary()
_ACTIVE: weakref.WeakSet[Updates] = weakref.WeakSet()
_listening: list[Any] = []


def _listen() -> None:
    """Register torch's global hooks, once; they are never removed, since torch cannot bear that while it calls them."""
    if not _listening:
        _listening.append(register_optimizer_step_pre_hook(_before))
        _listening.append(register_optimizer_step_post_hook(_after))


def _before(optimizer: Any, *_: Any) -> None:
    if torch.compiler.is_compiling():
        return
    for one in list(_ACTIVE):
        one.before(optimizer)


def _after(optimizer: Any, *_: Any) -> None:
    # While a graph is recorded nothing can be read back from the device.
    if torch.compiler.is_compiling() or (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()):
        return
    for one in list(_ACTIVE):
        one.after(optimizer)


def _nobody() -> None:
    return None


def _weakly(method: weakref.WeakMethod[Callable[[Any], None]]) -> Callable[..., None]:
    def hook(optimizer: Any, *_: Any) -> None:
        call = method()
        if call is not None:
            call(optimizer)

    return hook
