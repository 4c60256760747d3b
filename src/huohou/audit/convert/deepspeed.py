"""For DeepSpeed: the ``optimizer`` and ``scheduler`` sections of its JSON, which has no comments.

Its schedulers spend two updates at the least rate, so a warmup of W has the peak in update W + 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import rate
from huohou.audit.convert.wanted import Wanted

name = "deepspeed"
title = "DeepSpeed"
suffix = ".json"
comment = ""


def starts(wanted: Wanted) -> Iterator[Start]:
    """Each of its schedulers, with a linear and with a logarithmic warmup."""
    warmup = max(2, wanted.top - 2)
    logarithmic = wanted.rise is not None and wanted.rise.shape == "logarithmic"
    for way in ("log", "linear") if logarithmic else ("linear", "log"):
        base = {"warmup": warmup, "way": way}
        for least in dict.fromkeys((wanted.start, 0.0)):
            yield Start({"kind": "WarmupLR", **base, "least": least}, ("warmup",), ("least",))
        for least in dict.fromkeys((wanted.floor, wanted.last, 0.0)):
            total = max(warmup + 1, wanted.foot - 2)
            values = {"kind": "WarmupDecayLR", **base, "least": least, "total": total}
            yield Start(values, ("warmup", "total"), ("least",))
        for floor in dict.fromkeys((wanted.floor, wanted.last)):
            total = max(warmup + 1, wanted.foot - 1)
            values = {"kind": "WarmupCosineLR", **base, "least": wanted.start, "floor": floor, "total": total}
            yield Start(values, ("warmup", "total"), ("floor",))


def write(values: Values, wanted: Wanted) -> str:
    """Both sections; the rates of the first two schedulers are absolute, those of the cosine are ratios."""
    kind = values["kind"]
    params: dict[str, Any] = {"warmup_num_steps": values["warmup"], "warmup_type": values["way"]}
    if kind == "WarmupCosineLR":
        params |= {"warmup_min_ratio": values["least"], "cos_min_ratio": values["floor"]}
    else:
        params |= {"warmup_min_lr": rate(values["least"], wanted.peak), "warmup_max_lr": wanted.peak}
    if kind != "WarmupLR":
        params["total_num_steps"] = values["total"]
    sections = {
        "optimizer": {"type": "AdamW", "params": {"lr": wanted.peak}},
        "scheduler": {"type": kind, "params": params},
    }
    return json.dumps(sections, indent=2) + "\n"
