"""The schedules of ``transformers.optimization`` as applied curves: index i = u − 1, formulas of version 5.24.

A lambda is evaluated at the number of steps made before, so update 1 uses λ(0). None of them is clamped past T except
where it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huohou.audit.applied import Applied
from huohou.audit.pieces import Piece
from huohou.audit.values import as_number

TYPES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
    "greedy",
)
"""``lr_scheduler_type``; reduce_lr_on_plateau and greedy follow measurements, so nobody knows their curve before."""

UNPLANNED = ("reduce_lr_on_plateau", "greedy")
WITHOUT_WARMUP = ("constant", *UNPLANNED)


def taken(kind: str, kwargs: Mapping[str, Any], era: str) -> dict[str, Any]:
    """The ``lr_scheduler_kwargs`` that an era hands to the scheduler: before 5.0 none reached inverse_sqrt."""
    return {} if kind == "inverse_sqrt" and era in ("<=4.51", "4.52-4.57") else dict(kwargs)


def applied(
    kind: str, peak: float, warmup: float, horizon: int, updates: int, kwargs: Mapping[str, Any] | None = None
) -> Applied:
    """The curve of a scheduler type.

    Args:
        kind: ``lr_scheduler_type``.
        peak: ``learning_rate``.
        warmup: ``num_warmup_steps`` as handed to the scheduler.
        horizon: ``num_training_steps`` as handed to it.
        updates: Those that the run makes.
        kwargs: ``lr_scheduler_kwargs``.
    """
    given = dict(kwargs or {})

    def number(key: str, default: float | None = None) -> float | None:
        value = as_number(given.get(key))
        return default if value is None else float(value)

    rest = max(1.0, horizon - warmup)
    if kind == "constant":
        return Applied(peak, updates, (Piece(0, "hold", 1.0),))
    rise = (Piece(0, "linear", 0.0, 1.0, max(1.0, warmup)),) if warmup > 0 else ()
    match kind:
        case "constant_with_warmup":
            fall = Piece(warmup, "hold", 1.0)
        case "linear":
            fall = Piece(warmup, "linear", 1.0, 0.0, rest, origin=horizon - rest, lowest=0.0)
        case "cosine":
            fall = Piece(warmup, "cosine", 1.0, 0.0, rest, parameter=number("num_cycles", 0.5) or 0.0, lowest=0.0)
        case "cosine_with_restarts":
            cycles = number("num_cycles", 1.0) or 0.0
            fall = Piece(warmup, "restarts", 1.0, 0.0, rest, parameter=cycles, lowest=0.0)
        case "polynomial":
            end = (number("lr_end", 1e-7) or 0.0) / peak
            power = number("power", 1.0) or 0.0
            fall = Piece(warmup, "power", 1.0, end, horizon - warmup, parameter=power)
            if horizon <= warmup:
                fall = Piece(warmup, "hold", end)
        case "inverse_sqrt":
            scale = number("timescale") or warmup or 10_000.0
            fall = Piece(warmup, "inverse sqrt", 1.0, parameter=scale)
        case "cosine_with_min_lr":
            floor = _floor(given, peak)
            fall = Piece(warmup, "cosine", 1.0, floor, rest, parameter=number("num_cycles", 0.5) or 0.0, lowest=0.0)
        case "cosine_warmup_with_min_lr":
            floor, start = _floor(given, peak), number("warmup_lr_rate")
            if warmup > 0:
                rise = (
                    Piece(0, "linear", 0.0, 1.0, max(1.0, warmup), origin=-1.0)
                    if start is None
                    else Piece(0, "linear", start, 1.0, max(1.0, warmup - 1)),
                )
            cycles = number("num_cycles", 0.5) or 0.0
            fall = Piece(warmup, "cosine", 1.0, floor, rest, origin=warmup - 1, parameter=cycles, lowest=0.0)
        case "warmup_stable_decay":
            return _stable(given, peak, warmup, horizon, updates)
        case _:
            raise ValueError(kind)
    return Applied(peak, updates, (*rise, fall))


def _floor(given: Mapping[str, Any], peak: float) -> float:
    rate, floor = as_number(given.get("min_lr_rate")), as_number(given.get("min_lr"))
    return float(rate) if rate is not None else (float(floor) / peak if floor is not None else 0.0)


_STABLE = {"linear": "linear", "cosine": "cosine", "1-sqrt": "1-sqrt"}


def _stable(given: Mapping[str, Any], peak: float, warmup: float, horizon: int, updates: int) -> Applied:
    decay = as_number(given.get("num_decay_steps")) or 0
    stable = as_number(given.get("num_stable_steps"))
    stable = horizon - warmup - decay if stable is None else stable
    least = float(as_number(given.get("min_lr_ratio")) or 0.0)
    cycles = as_number(given.get("num_cycles"))
    cycles = 0.5 if cycles is None else float(cycles)
    pieces: list[Piece] = []
    if warmup > 0:
        way = str(given.get("warmup_type", "linear"))
        shape = {"linear": "linear", "cosine": "cosine", "1-sqrt": "1-sqrt mirrored"}.get(way, "linear")
        pieces.append(Piece(0, shape, least, 1.0, max(1.0, warmup)))
    pieces.append(Piece(warmup, "hold", 1.0))
    # What does not fit leaves the hold out and meets the decay on its way.
    begin = warmup + stable
    first = max(warmup, begin)
    if decay > 0:
        shape = _STABLE.get(str(given.get("decay_type", "cosine")), "cosine")
        pieces.append(Piece(first, shape, 1.0, least, max(1, decay), origin=begin, parameter=cycles, lowest=0.0))
    pieces.append(Piece(max(first, begin + decay), "hold", least))
    return Applied(peak, updates, tuple(pieces))
