"""For Composer and LLM Foundry: keys of the YAML, in updates (``ba``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import yaml_lines
from huohou.audit.convert.wanted import Wanted

name = "composer"
title = "Composer"
suffix = ".yaml"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """Its schedulers with warmup; the decay ends at ``t_max``, which may lie before or behind the run's end."""
    warmup = wanted.lagging
    end = max(warmup + 1, wanted.foot - 1)
    if wanted.fall is None:
        values = {"kind": "constant_with_warmup", "warmup": warmup, "floor": 1.0, "end": wanted.updates}
        yield Start(values, ("warmup",))
    for floor in dict.fromkeys((wanted.floor, wanted.last)):
        for kind in ("linear_decay_with_warmup", "cosine_with_warmup"):
            values = {"kind": kind, "warmup": warmup, "floor": floor, "end": end}
            yield Start(values, ("warmup", "end"), ("floor",))


def write(values: Values, wanted: Wanted) -> str:
    """The keys that decide the rates."""
    scheduler: dict[str, Any] = {"name": values["kind"], "t_warmup": f"{values['warmup']}ba"}
    if values["kind"] != "constant_with_warmup":
        scheduler["alpha_f"] = float(values["floor"])
        if values["end"] != wanted.updates:
            scheduler["t_max"] = f"{values['end']}ba"
    optimizer = {"name": "decoupled_adamw", "lr": wanted.peak}
    return yaml_lines({"scheduler": scheduler, "optimizer": optimizer, "max_duration": f"{wanted.updates}ba"})
