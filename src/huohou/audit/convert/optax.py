"""For optax: a call of one of its schedules. ``decay_steps`` counts the warmup in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import number, rate
from huohou.audit.convert.wanted import Wanted

name = "optax"
title = "optax"
suffix = ".py"
comment = "# "

_LEVELS = ("init_value", "peak_value", "end_value", "value")


def starts(wanted: Wanted) -> Iterator[Start]:
    """Its schedules that this audit reads."""
    warmup = wanted.lagging if wanted.rise is not None else 0
    firsts = dict.fromkeys((wanted.start, wanted.first)) if warmup else {0.0: None}
    end = max(warmup + 1, wanted.foot - 1)
    if wanted.fall is None and not warmup:
        yield Start({"kind": "constant_schedule", "value": 1.0})
    for first in firsts:
        rising: dict[str, Any] = {"init_value": first, "peak_value": 1.0, "warmup_steps": warmup}
        if warmup:
            yield Start({"kind": "warmup_constant_schedule", **rising}, ("warmup_steps",), ("init_value",))
        for floor in dict.fromkeys((wanted.floor, wanted.last)):
            if warmup:
                values = {"kind": "warmup_cosine_decay_schedule", **rising, "decay_steps": end, "end_value": floor}
                yield Start(values, ("warmup_steps", "decay_steps"), ("end_value", "init_value"))
            else:
                values = {"kind": "cosine_decay_schedule", "init_value": 1.0, "decay_steps": end, "alpha": floor}
                yield Start(values, ("decay_steps",), ("alpha",))
                values = {
                    "kind": "linear_schedule", "init_value": 1.0, "end_value": floor,
                    "transition_steps": max(1, wanted.foot - wanted.turn), "transition_begin": wanted.turn - 1,
                }  # fmt: skip
                yield Start(values, ("transition_steps", "transition_begin"), ("end_value",))


def write(values: Values, wanted: Wanted) -> str:
    """The call; ``optax.adamw(learning_rate=schedule)`` takes it."""
    lines = ["import optax", "", f"schedule = optax.{values['kind']}("]
    for key, value in values.items():
        if key in _LEVELS:
            lines.append(f"    {key}={number(rate(value, wanted.peak))},")
        elif key != "kind":
            lines.append(f"    {key}={number(value)},")
    return "\n".join([*lines, ")", ""])
