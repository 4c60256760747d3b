"""For axolotl: keys of its YAML. Its ``warmup_steps: 1`` are 2, which the reading back takes into account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert import trainer_family
from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import yaml_lines
from huohou.audit.convert.wanted import Wanted

name = "axolotl"
title = "axolotl"
suffix = ".yaml"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """Its own schedules, then the Trainer's."""
    lagging, leading = wanted.lagging, wanted.top if wanted.rise else 0
    if wanted.rise is not None and wanted.rise.shape == "rising power":
        yield Start({"kind": "quadratic", "warmup": lagging}, ("warmup",))
    if wanted.fall is not None and wanted.fall.shape == "rex":
        yield Start({"kind": "rex", "warmup": leading, "ratio": wanted.floor}, ("warmup",), ("ratio",))
    yield from trainer_family.starts(wanted)
    if wanted.fall is not None:
        for level in dict.fromkeys((wanted.floor, wanted.last)):
            yield Start({"kind": "floored", "warmup": lagging, "ratio": level}, ("warmup",), ("ratio",))
            yield Start({"kind": "rex", "warmup": leading, "ratio": level}, ("warmup",), ("ratio",))
            if wanted.foot <= wanted.updates:
                held = (wanted.foot - 0.5) / wanted.updates
                values = {"kind": "floored", "warmup": lagging, "ratio": level, "held": held}
                yield Start(values, ("warmup",), ("ratio", "held"))
    yield Start({"kind": "quadratic", "warmup": lagging}, ("warmup",))


def write(values: Values, wanted: Wanted) -> str:
    """The keys that decide the rates, and those by which the file is known as its."""
    kind = values["kind"]
    keys: dict[str, Any] = {"learning_rate": wanted.peak, "lr_scheduler": kind}
    if kind in ("quadratic", "floored"):
        keys["lr_scheduler"] = "cosine"
    if kind == "quadratic":
        keys["lr_quadratic_warmup"] = True
    if values.get("ratio"):
        keys["cosine_min_lr_ratio"] = values["ratio"]
    if "held" in values:
        keys["cosine_constant_lr_ratio"] = values["held"]
    own = trainer_family.kwargs(values, wanted.peak)
    if own:
        keys["lr_scheduler_kwargs"] = own
    keys |= {"warmup_steps": values["warmup"], "max_steps": wanted.updates}
    return yaml_lines({"base_model": "MODEL", "micro_batch_size": 1, "num_epochs": 1, **keys})
