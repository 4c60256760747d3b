"""For plain PyTorch: its schedulers one after another in a ``SequentialLR``.

``LinearLR`` takes no factor of 0, so a rise from 0 begins at 1e-15 of the peak.
"""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import number, rate
from huohou.audit.convert.wanted import Wanted

name = "torch"
title = "PyTorch"
suffix = ".py"
comment = "# "

_LEAST = 1e-15


def starts(wanted: Wanted) -> Iterator[Start]:
    """A rise, if there is one, a hold, if there is one, and each way to fall."""
    warmup = wanted.lagging if wanted.rise is not None else 0
    firsts = dict.fromkeys((max(_LEAST, wanted.start), max(_LEAST, wanted.first))) if warmup else {1.0: None}
    real = ("first",) if warmup else ()
    whole = ("warmup",) if warmup else ()
    held = max(0, min(wanted.turn, wanted.updates + 1) - wanted.top)
    length = max(1, wanted.foot - wanted.turn)
    for first in firsts:
        base = {"warmup": warmup, "first": first, "held": 0}
        if wanted.fall is None:
            yield Start({**base, "way": "constant"}, whole, real)
            continue
        for hold in dict.fromkeys((held, 0)):
            varied = (*whole, "held") if hold else whole
            span = length if hold or not held else length + held
            for floor in dict.fromkeys((wanted.floor, wanted.last)):
                for way in ("linear", "cosine"):
                    values = {**base, "held": hold, "way": way, "length": span, "floor": floor}
                    yield Start(values, (*varied, "length"), ("floor", *real))
            values = {**base, "held": hold, "way": "polynomial", "length": span, "power": wanted.power}
            yield Start(values, (*varied, "length"), ("power", *real))
        if wanted.last > 0:
            gamma = wanted.last ** (1 / max(1, wanted.updates - wanted.turn))
            yield Start({**base, "way": "exponential", "gamma": gamma}, whole, ("gamma", *real))


def write(values: Values, wanted: Wanted) -> str:
    """An optimizer at the peak, and the scheduler over it; ``scheduler.step()`` belongs after each update."""
    parts: list[tuple[str, str]] = []
    milestones: list[int] = []
    if values["warmup"]:
        first = number(float(values["first"]))
        parts.append(
            ("warmup", f"LinearLR(optimizer, start_factor={first}, end_factor=1.0, total_iters={values['warmup']})")
        )
        milestones.append(values["warmup"])
    if values["held"]:
        parts.append(("hold", "ConstantLR(optimizer, factor=1.0, total_iters=1)"))
        milestones.append(values["warmup"] + values["held"])
    parts.append(("decay", _last(values, wanted)))
    lines = [
        "import torch",
        "from torch.optim.lr_scheduler import (",
        "    ConstantLR, CosineAnnealingLR, ExponentialLR, LinearLR, PolynomialLR, SequentialLR,",
        ")",
        "",
        f"optimizer = torch.optim.AdamW(model.parameters(), lr={number(wanted.peak)})",
    ]
    if len(parts) == 1:
        lines.append(f"scheduler = {parts[0][1]}")
    else:
        lines += [f"{target} = {call}" for target, call in parts]
        names = ", ".join(target for target, _ in parts)
        lines.append(f"scheduler = SequentialLR(optimizer, schedulers=[{names}], milestones={milestones})")
    return "\n".join(lines) + "\n"


def _last(values: Values, wanted: Wanted) -> str:
    match values["way"]:
        case "cosine":
            floor = number(rate(values["floor"], wanted.peak))
            return f"CosineAnnealingLR(optimizer, T_max={values['length']}, eta_min={floor})"
        case "linear":
            floor = number(float(values["floor"]))
            return f"LinearLR(optimizer, start_factor=1.0, end_factor={floor}, total_iters={values['length']})"
        case "polynomial":
            return f"PolynomialLR(optimizer, total_iters={values['length']}, power={number(float(values['power']))})"
        case "exponential":
            return f"ExponentialLR(optimizer, gamma={number(float(values['gamma']))})"
        case _:
            return "ConstantLR(optimizer, factor=1.0, total_iters=1)"
