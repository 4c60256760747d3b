"""``len(train_dataloader)`` in a training loop: what it is where the run's length or its samples are known.

A loader that Accelerate has prepared holds the share of one process; before that it holds everything. The examples of
Accelerate and Transformers make their scheduler before they prepare it, so that its length counts each process, as the
steps of the prepared scheduler do.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from huohou.audit.dialects.calls import number
from huohou.audit.python import Call, Module
from huohou.audit.reading import Given
from huohou.audit.values import Value

_EPOCHS = ("args.num_train_epochs", "args.num_epochs", "args.epochs", "args.max_epochs", "args.num_epoch",
           "num_train_epochs", "num_epochs", "epochs", "EPOCHS", "NUM_EPOCHS", "config.num_epochs", "config.epochs",
           "max_epochs")  # fmt: skip
_ACCUMULATION = ("args.gradient_accumulation_steps", "gradient_accumulation_steps", "accumulation_steps",
                 "args.accumulation_steps", "grad_accum_steps", "config.gradient_accumulation_steps")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Length:
    """What the loaders of a file hold.

    Attributes:
        known: The value of each ``len(…)`` by its text.
        updates: The updates that the run makes.
    """

    known: dict[str, float]
    updates: int


def lengths(call: Call, module: Module, given: Given) -> Length | None:
    """The loaders' lengths for a scheduler call; ``None`` where neither updates nor samples are given."""
    most = _given_steps(module)
    if given.updates is None and most is not None:
        given = replace(given, updates=most)
    if given.updates is None and given.samples is None:
        return None
    gpus = given.gpus or 1
    epochs = _named(module, _EPOCHS)
    accumulation = given.accumulation or max(1, int(_named(module, _ACCUMULATION)))
    found: dict[str, float] = {}
    updates = given.updates or 0
    whole_of_all = False
    measured = (each.positional[0].written for each in module.calls if each.name == "len" and each.positional)
    for loader in dict.fromkeys(measured):
        if not re.search(r"loader|_dl\b|\bdl\b", loader, re.IGNORECASE) or re.search(r"val|eval|test", loader):
            continue
        share = _share(loader, module, given, gpus, epochs, accumulation)
        if share is None:
            continue
        if given.updates is None:
            updates = int(epochs * math.ceil(share / accumulation))
        prepared = [
            each.line
            for each in module.calls
            if each.last_name == "prepare" and any(value.written == loader for value in each.positional)
        ]
        whole = bool(prepared) and min(prepared) > call.line
        whole_of_all = whole_of_all or whole
        found[f"len({loader})"] = share * gpus if whole else share
    if given.updates is not None and not any(number(module.names.get(key), module) for key in _EPOCHS):
        found = _fitted(call, module, found, given.updates * (gpus if whole_of_all else 1))
    return Length(found, updates) if found and updates > 0 else None


def _given_steps(module: Module) -> int | None:
    """``--max_train_steps``, which goes before epochs and samples."""
    found = number(module.names.get("args.max_train_steps"), module)
    return int(found) if found is not None and found > 0 else None


def _fitted(call: Call, module: Module, found: dict[str, float], wanted: float) -> dict[str, float]:
    """Where nothing says how many epochs there are, the lengths that make the scheduler's own the given one."""
    for key in ("num_training_steps", "total_steps", "T_max"):
        own = number(call.settings.values.get(key), module, found)
        if own is not None and own > 0:
            return {text: length * wanted / own for text, length in found.items()}
    return found


def _named(module: Module, keys: tuple[str, ...]) -> float:
    """The number above 0 under the first of these names; 1 where there is none."""
    for key in keys:
        found = number(module.names.get(key), module)
        if found is not None and found > 0:
            return found
    return 1.0


def _share(loader: str, module: Module, given: Given, gpus: int, epochs: float, accumulation: int) -> int | None:
    """Micro-batches of an epoch in one process."""
    if given.updates is not None:
        return accumulation * math.ceil(given.updates / epochs)
    if given.samples is None:
        return None
    made = [call for call in module.calls if call.target == loader and "batch_size" in call.settings]
    size: Value | None = made[-1].settings.values.get("batch_size") if made else module.names.get("batch_size")
    batch = number(size, module)
    return None if not batch else math.ceil(math.ceil(given.samples / batch) / gpus)
