"""For Megatron-LM: flags of its command line, in iterations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import command, rate
from huohou.audit.convert.wanted import Wanted

name = "megatron"
title = "Megatron-LM"
suffix = ".sh"
comment = "# "

_STYLES = {"linear": "linear", "cosine": "cosine", "1-sqrt": "minus_sqrt", "exponential": "exponential"}


def starts(wanted: Wanted) -> Iterator[Start]:
    """Each style; the warmup rises from update 1, so one that rises from before it begins above 0."""
    warmup = wanted.lagging
    decay = max(warmup + 1, wanted.foot - 1)
    tail = max(1, wanted.foot - wanted.turn)
    rises = dict.fromkeys((wanted.start, wanted.first)) if wanted.rise is not None else {0.0: None}
    real = ("init",) if wanted.rise is not None else ()
    for init in rises:
        base = {"warmup": warmup, "init": init}
        if wanted.fall is None:
            yield Start({"style": "constant", **base, "decay": wanted.updates + 1, "floor": 0.0}, ("warmup",), real)
        for floor in dict.fromkeys((wanted.floor, wanted.last)):
            for style in ("linear", "cosine"):
                values = {"style": style, **base, "decay": decay, "floor": floor}
                yield Start(values, ("warmup", "decay"), ("floor", *real))
            for shape in _STYLES.values():
                values = {"style": "WSD", **base, "decay": decay, "floor": floor, "tail": tail, "shape": shape}
                yield Start(values, ("warmup", "decay", "tail"), ("floor", *real))
        values = {"style": "inverse-square-root", **base, "decay": wanted.updates + 1, "floor": 0.0}
        yield Start(values, ("warmup",), real)


def write(values: Values, wanted: Wanted) -> str:
    """The flags that decide the rates."""
    flags: dict[str, Any] = {
        "--lr": wanted.peak,
        "--min-lr": rate(values["floor"], wanted.peak),
        "--lr-decay-style": values["style"],
        "--lr-decay-iters": values["decay"],
        "--lr-warmup-iters": values["warmup"],
    }
    if values["init"]:
        flags["--lr-warmup-init"] = rate(values["init"], wanted.peak)
    if values["style"] == "WSD":
        flags |= {"--lr-wsd-decay-iters": values["tail"], "--lr-wsd-decay-style": values["shape"]}
    flags["--train-iters"] = wanted.updates
    return command("torchrun pretrain_gpt.py", flags)
