"""DeepSpeed's own schedulers from the ``scheduler`` section of its JSON, as of 0.19.

The engine steps them after each update that was applied. They begin at index −1, which is where update 1 finds them:
its rate is the least one; update 2 uses index 0, which is the least one again, so two updates are spent at
``warmup_min_lr``. ``warmup_type`` is logarithmic unless it says linear, and W is at least 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from huohou.audit.applied import Applied, Piece
from huohou.audit.values import Settings, as_number


@dataclass(frozen=True, slots=True)
class Filled:
    """A scheduler of DeepSpeed with every ``auto`` filled in."""

    applied: Applied
    warmup: float
    kind: str


def from_trainer(config: Settings, *, peak: float, warmup: int, horizon: int, updates: int) -> Filled | None:
    """The scheduler of a configuration that the Trainer fills in: ``auto`` takes the Trainer's values."""
    auto = {
        "warmup_max_lr": peak,
        "warmup_num_steps": float(warmup),
        "total_num_steps": float(horizon),
        "warmup_min_lr": 0.0,
    }
    return schedule(config, auto=auto, optimizer_rate=peak, updates=updates)


def schedule(config: Settings, *, auto: dict[str, float], optimizer_rate: float, updates: int) -> Filled | None:
    """The applied curve of the ``scheduler`` section; ``None`` for one that cannot be told."""
    kind = config.text("scheduler.type") or ""
    given = config.under("scheduler.params")

    def number(key: str, default: float | None) -> float | None:
        value = given.get(key)
        if value == "auto":
            return auto.get(key, default)
        read = as_number(value)
        return default if read is None else float(read)

    least = number("warmup_min_lr", 0.0) or 0.0
    raw = number("warmup_num_steps", 1000.0)
    warmup = max(2.0, raw or 0.0)
    linear = (given.text("warmup_type") or "log") == "linear"
    total = number("total_num_steps", None)
    if kind in ("WarmupLR", "WarmupDecayLR"):
        # WarmupLR takes the optimizer's rate where none is written; WarmupDecayLR's own default is 1e-3.
        most = number("warmup_max_lr", optimizer_rate if kind == "WarmupLR" else 1e-3) or 0.0
        if not most:
            return None
        floor = least / most
        rise = _rise(floor, warmup, linear)
        if kind == "WarmupLR":
            return Filled(Applied(most, updates, (*rise, Piece(warmup, "hold", 1.0)), offset=-1), warmup, kind)
        if total is None:
            return None
        fall = Piece(warmup, "linear", 1.0, floor, max(1.0, total - warmup))
        after = Piece(max(warmup, total), "hold", floor)
        return Filled(Applied(most, updates, (*rise, fall, after), offset=-1), warmup, kind)
    if kind == "WarmupCosineLR" and total is not None:
        start = number("warmup_min_ratio", 0.0) or 0.0
        floor = number("cos_min_ratio", 1e-4)
        floor = 1e-4 if floor is None else floor
        # Update 1 stands at index −1, for which the engine has written 0 and not the ratio.
        rise = (Piece(-1, "hold", 0.0), *_rise(start, warmup, linear)[1:])
        fall = Piece(warmup, "cosine", 1.0, floor, max(1.0, total - warmup), origin=warmup - 1)
        after = Piece(total - 1, "hold", floor)
        pieces = (*rise, fall, after) if total - 1 >= warmup else (*rise, Piece(warmup, "hold", floor))
        return Filled(Applied(optimizer_rate, updates, pieces, offset=-1), warmup, kind)
    return None


def _rise(start: float, warmup: float, linear: bool) -> tuple[Piece, Piece]:
    """From the least rate to the peak over W; the update at index −1 uses the least rate."""
    way = (
        Piece(0, "linear", start, 1.0, warmup)
        if linear
        else Piece(0, "logarithmic", start, 1.0, warmup, parameter=warmup)
    )
    return Piece(-1, "hold", start), way
