"""For OpenRLHF: flags of its SFT program, whose warmup is a ratio that is rounded up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import command
from huohou.audit.convert.wanted import Wanted

name = "openrlhf"
title = "OpenRLHF"
suffix = ".sh"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """Its default, a cosine to a share of the peak, and the Transformers' that need no arguments."""
    warmup = wanted.lagging
    for kind in ("constant_with_warmup", "linear", "cosine", "inverse_sqrt"):
        yield Start({"kind": kind, "warmup": warmup, "floor": 0.0}, ("warmup",))
    for floor in dict.fromkeys((wanted.floor, wanted.last)):
        yield Start({"kind": "cosine_with_min_lr", "warmup": warmup, "floor": floor}, ("warmup",), ("floor",))


def write(values: Values, wanted: Wanted) -> str:
    """The flags that decide the rates; how many updates it makes follows from its data."""
    # Half an update less than W, so that rounding up gives W whatever the last digit does.
    ratio = max(0.0, values["warmup"] - 0.5) / wanted.updates
    flags: dict[str, Any] = {
        "--learning_rate": wanted.peak,
        "--lr_scheduler": values["kind"],
        "--lr_warmup_ratio": float(f"{ratio:.9g}"),
        "--min_lr_ratio": float(values["floor"]),
    }
    return command("deepspeed --module openrlhf.cli.train_sft", flags)
