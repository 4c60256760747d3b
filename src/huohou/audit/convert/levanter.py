"""For Levanter: keys of its YAML. A number up to 1 is a share there, so a warmup of one update is written as one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import yaml_lines
from huohou.audit.convert.wanted import Wanted

name = "levanter"
title = "Levanter"
suffix = ".yaml"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """Its schedules, with and without a hold."""
    warmup = wanted.lagging
    tail = max(1, wanted.updates + 1 - wanted.turn)
    if wanted.fall is None:
        yield Start({"kind": "constant", "warmup": warmup, "floor": 0.0}, ("warmup",))
    for floor in dict.fromkeys((wanted.floor, wanted.last)):
        for kind in ("linear", "cosine"):
            yield Start({"kind": kind, "warmup": warmup, "floor": floor}, ("warmup",), ("floor",))
            values = {"kind": kind, "warmup": warmup, "floor": floor, "decay": tail}
            yield Start(values, ("warmup", "decay"), ("floor",))


def write(values: Values, wanted: Wanted) -> str:
    """The keys that decide the rates."""

    def length(updates: int) -> float | int:
        # Half an update more than 1, so that cutting off gives 1 whatever the last digit does.
        return updates if updates != 1 else 1.5 / wanted.updates

    optimizer: dict[str, Any] = {
        "learning_rate": wanted.peak, "lr_schedule": values["kind"], "warmup": length(values["warmup"]),
        "min_lr_ratio": float(values["floor"]),
    }  # fmt: skip
    if "decay" in values:
        optimizer["decay"] = length(values["decay"])
    return yaml_lines({"optimizer": optimizer, "trainer": {"num_train_steps": wanted.updates}})
