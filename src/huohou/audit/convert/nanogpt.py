"""For nanoGPT: a Python file of settings. It makes one update more than ``max_iters``."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import number, rate
from huohou.audit.convert.wanted import Wanted

name = "nanogpt"
title = "nanoGPT"
suffix = ".py"
comment = "# "


def starts(wanted: Wanted) -> Iterator[Start]:
    """(i + 1) / (W + 1), then a cosine to ``min_lr``; or a constant."""
    if wanted.fall is None and wanted.rise is None:
        yield Start({"warmup": 0, "end": wanted.updates, "floor": 1.0, "decays": False})
    warmup = wanted.lagging if wanted.rise is not None else 0
    for floor in dict.fromkeys((wanted.floor, wanted.last)):
        values = {"warmup": warmup, "end": max(warmup + 1, wanted.foot - 1), "floor": floor, "decays": True}
        yield Start(values, ("warmup", "end"), ("floor",))


def write(values: Values, wanted: Wanted) -> str:
    """The assignments that decide the rates."""
    return (
        f"learning_rate = {number(wanted.peak)}\n"
        f"max_iters = {wanted.updates - 1}\n"
        f"decay_lr = {values['decays']}\n"
        f"warmup_iters = {values['warmup']}\n"
        f"lr_decay_iters = {values['end']}\n"
        f"min_lr = {number(rate(values['floor'], wanted.peak))}\n"
    )
