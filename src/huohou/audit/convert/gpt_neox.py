"""For GPT-NeoX: keys of its YAML. Its first two updates are equal, and its warmup is a share of the decay's length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import rate, yaml_lines
from huohou.audit.convert.wanted import Wanted

name = "gpt-neox"
title = "GPT-NeoX"
suffix = ".yaml"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """Its styles."""
    warmup = wanted.lagging
    end = max(warmup + 1, wanted.foot - 1)
    if wanted.fall is None:
        yield Start({"style": "constant", "warmup": warmup, "end": wanted.updates, "floor": 0.0}, ("warmup",))
    for floor in dict.fromkeys((wanted.floor, wanted.last)):
        for style in ("linear", "cosine"):
            values = {"style": style, "warmup": warmup, "end": end, "floor": floor}
            yield Start(values, ("warmup", "end"), ("floor",))


def write(values: Values, wanted: Wanted) -> str:
    """The keys that decide the rates."""
    keys: dict[str, Any] = {
        "optimizer": {"type": "Adam", "params": {"lr": wanted.peak}},
        "min_lr": rate(values["floor"], wanted.peak),
        "lr_decay_style": values["style"],
        "lr_decay_iters": values["end"],
        "warmup": values["warmup"] / values["end"],
        "train_iters": wanted.updates,
    }
    return yaml_lines(keys)
