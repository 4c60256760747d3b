"""For torchtitan: the sections of its TOML that decide the rates."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import number
from huohou.audit.convert.wanted import Wanted

name = "torchtitan"
title = "torchtitan"
suffix = ".toml"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """Its three ways to fall, for a run's length and for a longer one; it never ends a decay before the run."""
    warmup = wanted.top if wanted.rise is not None else 0
    ends = dict.fromkeys((wanted.updates, max(wanted.updates, wanted.foot - 1)))
    if wanted.fall is None:
        yield Start({"warmup": warmup, "total": wanted.updates, "decay": 0, "way": "linear", "floor": 0.0}, ("warmup",))
    for total in ends:
        decay = max(0, min(total, total + 1 - wanted.turn))
        for way in ("linear", "cosine", "sqrt"):
            for floor in dict.fromkeys((wanted.floor, wanted.last)):
                values = {"warmup": warmup, "total": total, "decay": decay, "way": way, "floor": floor}
                yield Start(values, ("warmup", "decay"), ("floor",))


def write(values: Values, wanted: Wanted) -> str:
    """``decay_ratio`` is the share whose rounding gives the wanted updates."""
    total = values["total"]
    lines = [
        "[optimizer]",
        f"lr = {number(wanted.peak)}",
        "",
        "[lr_scheduler]",
        f"warmup_steps = {values['warmup']}",
        f"decay_ratio = {number(values['decay'] / total)}",
        f'decay_type = "{values["way"]}"',
        f"min_lr_factor = {number(float(values['floor']))}",
    ]
    if total != wanted.updates:
        lines.append(f"total_steps = {total}")
    return "\n".join([*lines, "", "[training]", f"steps = {wanted.updates}", ""])
