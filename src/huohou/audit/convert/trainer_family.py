"""The Transformers' schedules as seeds and as arguments, for every framework that ends in its Trainer.

The Trainer makes a scheduler for as many updates as it makes, so a decay cannot end later than the run; a cosine that
is cut short is written with fewer ``num_cycles``, a straight line with the ``lr_end`` at which it stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from huohou.audit.convert.search import Start, Values
from huohou.audit.convert.target import rate
from huohou.audit.convert.wanted import Wanted

_W = ("warmup",)
KWARGS = ("min_lr_rate", "min_lr_ratio", "num_cycles", "power", "lr_end", "timescale", "warmup_lr_rate",
          "num_decay_steps", "num_stable_steps", "decay_type", "warmup_type")  # fmt: skip
"""The scheduler's own arguments that are written here."""


def starts(wanted: Wanted) -> Iterator[Start]:
    """Seeds of every type, those without arguments of their own first."""
    end = wanted.updates
    # i / W stands at 0 in update 1 and at the peak in update W + 1; (i + 1) / W in updates 0 and W.
    lagging, leading = wanted.lagging, wanted.top if wanted.rise else 0
    floor = wanted.floor
    if wanted.fall is None:
        yield Start({"kind": "constant_with_warmup" if wanted.rise else "constant", "warmup": lagging}, _W)
    yield Start({"kind": "linear", "warmup": lagging}, _W)
    yield Start({"kind": "cosine", "warmup": lagging}, _W)
    if wanted.finished < 1:
        yield Start({"kind": "cosine", "warmup": lagging, "num_cycles": 0.5 * wanted.finished}, _W)
    yield from _floored(wanted, lagging, leading, floor)
    if wanted.fall is not None and wanted.fall.shape == "restarts":
        cycles = wanted.fall.parameter
        yield Start({"kind": "cosine_with_restarts", "warmup": lagging, "num_cycles": cycles}, _W)
    scale = wanted.fall.parameter if wanted.fall is not None and wanted.fall.shape == "inverse sqrt" else lagging
    if scale:
        yield Start({"kind": "inverse_sqrt", "warmup": lagging, "timescale": scale}, _W, ("timescale",))
    yield from _held(wanted, end, lagging, floor)


def _floored(wanted: Wanted, lagging: int, leading: int, floor: float) -> Iterator[Start]:
    end = wanted.updates
    cut = 0.5 * wanted.finished
    if wanted.fall is not None:
        # Where a straight line that is not finished stands one past the end, and where a finished one does.
        levels = {min(max(wanted.fall.at(end + 1.0), 0.0), 1.0), floor}
        for level in sorted(levels):
            values = {"kind": "polynomial", "warmup": lagging, "lr_end": level, "power": wanted.power}
            yield Start(values, _W, ("lr_end",) if wanted.power == 1.0 else ("lr_end", "power"))
    for level in dict.fromkeys((floor, wanted.last)):
        values = {"kind": "cosine_with_min_lr", "warmup": lagging, "min_lr_rate": level, "num_cycles": cut}
        yield Start(values, _W, ("min_lr_rate",))
        values = {"kind": "cosine_warmup_with_min_lr", "warmup": leading, "min_lr_rate": level, "num_cycles": cut}
        yield Start(values, _W, ("min_lr_rate",))
        if wanted.rise is not None:
            yield Start({**values, "warmup_lr_rate": wanted.first}, _W, ("min_lr_rate", "warmup_lr_rate"))


def _held(wanted: Wanted, end: int, lagging: int, floor: float) -> Iterator[Start]:
    """Warmup, hold, decay."""
    decay = max(1, min(wanted.foot, end + 1) - wanted.turn) if wanted.fall is not None else 0
    rising = {"cosine": "cosine", "1-sqrt mirrored": "1-sqrt"}.get(wanted.rise.shape if wanted.rise else "", "linear")
    falling = {"cosine": "cosine", "1-sqrt": "1-sqrt"}.get(wanted.fall.shape if wanted.fall else "", "linear")
    for shape in dict.fromkeys((falling, "linear", "cosine", "1-sqrt")):
        values: dict[str, Any] = {
            "kind": "warmup_stable_decay", "warmup": lagging, "num_decay_steps": decay, "decay_type": shape,
            "warmup_type": rising, "min_lr_ratio": floor,
        }  # fmt: skip
        yield Start(values, ("warmup", "num_decay_steps"), ("min_lr_ratio",))
        if wanted.foot <= end:
            held = {**values, "num_stable_steps": max(0, wanted.turn - wanted.top)}
            yield Start(held, ("warmup", "num_decay_steps", "num_stable_steps"), ("min_lr_ratio",))


def kwargs(values: Values, peak: float) -> dict[str, Any]:
    """``lr_scheduler_kwargs``, without those that say what holds anyway."""
    usual: Mapping[str, Any] = {"num_cycles": 0.5, "power": 1.0, "warmup_type": "linear", "decay_type": "linear"}
    found = {key: values[key] for key in KWARGS if key in values and values[key] != usual.get(key)}
    if values["kind"] == "cosine_with_restarts":
        found["num_cycles"] = int(values["num_cycles"])
    if found.get("timescale") == values["warmup"]:
        del found["timescale"]
    if "lr_end" in found:
        found["lr_end"] = rate(found["lr_end"], peak)
    return found
