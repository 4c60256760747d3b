"""DeepSpeed's own schedulers from the ``scheduler`` section of its JSON: all five, as of 0.19 and as they were.

The engine steps them after each update that was applied. They begin at index −1, which is where update 1 finds them:
its rate is the least one; update 2 uses index 0, which is the least one again, so two updates are spent at
``warmup_min_lr``. ``warmup_type`` is logarithmic unless it says linear, and W is at least 2.

| before | what was different |
|---|---|
| 0.15.3 | the three with warmup left the optimizer's own rate alone until their first step: update 1 runs at it |
| 0.17.2 | WarmupLR without ``warmup_max_lr`` takes 0.001, and not the optimizer's rate |
| 0.19.3 | WarmupCosineLR goes on past its end, and rises |
| 0.19.4 | the stairs of OneCycle are not made |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from huohou.audit.applied import Applied
from huohou.audit.pieces import Piece
from huohou.audit.values import Settings, as_number

TYPES = ("WarmupLR", "WarmupDecayLR", "WarmupCosineLR", "OneCycle", "LRRangeTest")

Version = tuple[int, ...]
Number = Callable[[str, float | None], float | None]


@dataclass(frozen=True, slots=True)
class Filled:
    """A scheduler of DeepSpeed with every ``auto`` filled in."""

    applied: Applied
    warmup: float
    kind: str


def schedule(
    config: Settings,
    *,
    auto: dict[str, float],
    optimizer_rate: float,
    updates: int,
    version: Version | None = None,
) -> Filled | None:
    """The applied curve of the ``scheduler`` section; ``None`` for one that cannot be told.

    Args:
        config: The whole configuration.
        auto: What ``auto`` stands for, by parameter.
        optimizer_rate: The rate that the optimizer was made with.
        updates: Those that the run makes.
        version: DeepSpeed's, where it is known; else the newest.
    """
    kind = config.text("scheduler.type") or ""
    given = config.under("scheduler.params")

    def number(key: str, default: float | None) -> float | None:
        value = given.get(key)
        if isinstance(value, list) and value:
            # One value for each group of parameters; the first group is shown.
            value = value[0]  # pyright: ignore[reportUnknownVariableType]
        if value == "auto":
            return auto.get(key, default)
        read = as_number(value)
        return default if read is None else float(read)

    if kind == "OneCycle":
        return _one_cycle(number, updates, version)
    if kind == "LRRangeTest":
        return _range_test(number, given.flag("lr_range_test_staircase") or False, updates)
    raw = number("warmup_num_steps", 1000.0)
    warmup = max(2.0, raw or 0.0)
    linear = (given.text("warmup_type") or "log") == "linear"
    if kind in ("WarmupLR", "WarmupDecayLR"):
        filled = _warmup(number, kind, warmup, linear, optimizer_rate, updates, version)
    elif kind == "WarmupCosineLR":
        filled = _warmup_cosine(number, warmup, linear, optimizer_rate, updates, version)
    else:
        return None
    if filled is not None and _before(version, 0, 15, 3):
        # The rate of the optimizer stands until the scheduler's first step.
        first = Applied(
            filled.applied.peak,
            updates,
            filled.applied.pieces,
            offset=filled.applied.offset,
            overrides={1: optimizer_rate},
        )
        return Filled(first, filled.warmup, kind)
    return filled


def _before(version: Version | None, *first: int) -> bool:
    """Whether the version is known and older."""
    return version is not None and (*version, 0, 0, 0)[: len(first)] < first


def _warmup(
    number: Number,
    kind: str,
    warmup: float,
    linear: bool,
    optimizer_rate: float,
    updates: int,
    version: Version | None,
) -> Filled | None:
    # WarmupLR takes the optimizer's rate where none is written; WarmupDecayLR's own default is 1e-3.
    own = 1e-3 if kind == "WarmupDecayLR" or _before(version, 0, 17, 2) else optimizer_rate
    most = number("warmup_max_lr", own) or 0.0
    least = number("warmup_min_lr", 0.0) or 0.0
    if not most:
        return None
    floor = least / most
    rise = _rise(floor, warmup, linear)
    if kind == "WarmupLR":
        return Filled(Applied(most, updates, (*rise, Piece(warmup, "hold", 1.0)), offset=-1), warmup, kind)
    total = number("total_num_steps", None)
    if total is None:
        return None
    length = max(1.0, total - warmup)
    # The line is drawn back from the end, so that a run shorter than its warmup is at the floor behind it.
    fall = Piece(warmup, "linear", 1.0, floor, length, origin=total - length)
    after = Piece(max(warmup, total), "hold", floor)
    return Filled(Applied(most, updates, (*rise, fall, after), offset=-1), warmup, kind)


def _warmup_cosine(
    number: Number, warmup: float, linear: bool, optimizer_rate: float, updates: int, version: Version | None
) -> Filled | None:
    total = number("total_num_steps", None)
    if total is None or not optimizer_rate:
        return None
    start = number("warmup_min_ratio", 0.0) or 0.0
    floor = number("cos_min_ratio", 1e-4)
    floor = 1e-4 if floor is None else floor
    # Update 1 stands at index −1, for which the engine has written 0 and not the ratio.
    rise = (Piece(-1, "hold", 0.0), *_rise(start, warmup, linear)[1:])
    length = max(1.0, total - warmup)
    fall = Piece(warmup, "cosine", 1.0, floor, length, origin=warmup - 1)
    pieces: tuple[Piece, ...] = (*rise, fall)
    if not _before(version, 0, 19, 3):
        end = warmup - 1 + length
        pieces = (*rise, fall, Piece(end, "hold", floor)) if end >= warmup else (*rise, Piece(warmup, "hold", floor))
    return Filled(Applied(optimizer_rate, updates, pieces, offset=-1), warmup, "WarmupCosineLR")


def _rise(start: float, warmup: float, linear: bool) -> tuple[Piece, Piece]:
    """From the least rate to the peak over W; the update at index −1 uses the least rate."""
    way = (
        Piece(0, "linear", start, 1.0, warmup)
        if linear
        else Piece(0, "logarithmic", start, 1.0, warmup, parameter=warmup)
    )
    return Piece(-1, "hold", start), way


def _one_cycle(number: Number, updates: int, version: Version | None) -> Filled | None:
    """``OneCycle``: up and down once, then below the least rate by a hyperbola, where a decay is written."""
    least, most = number("cycle_min_lr", None), number("cycle_max_lr", None)
    if least is None or not most:
        return None
    up = number("cycle_first_step_size", 2000.0) or 0.0
    second = number("cycle_second_step_size", None)
    down = up if second is None else second
    if up <= 0 or down < 0:
        return None
    total, floor = up + down, least / most
    stairs_up = number("cycle_first_stair_count", 0.0) or 0.0
    stairs_down = number("cycle_second_stair_count", None)
    stairs_down = stairs_up if stairs_down is None else stairs_down
    if _before(version, 0, 19, 4):
        stairs_up = stairs_down = 0.0
    cycle = Piece(
        -1, "cycle", floor, 1.0, total, origin=-1.0, parameter=up / total, more=(stairs_up, stairs_down, 1.0, 1.0)
    )
    size, rate = number("decay_step_size", 0.0) or 0.0, number("decay_lr_rate", 0.0) or 0.0
    after = (
        Piece(total, "hyperbolic", floor, span=size, origin=total - 1, parameter=rate)
        if size and rate
        else Piece(total, "hold", floor)
    )
    return Filled(Applied(most, updates, (cycle, after), offset=-1), up, "OneCycle")


def _range_test(number: Number, staircase: bool, updates: int) -> Filled | None:
    """``LRRangeTest``: upwards for ever; what it calls a peak is the rate of the run's last update."""
    least = number("lr_range_test_min_lr", 1e-3)
    size = number("lr_range_test_step_size", 2000.0) or 0.0
    rate = number("lr_range_test_step_rate", 1.0)
    if not least or size <= 0 or rate is None:
        return None
    shape = "staircase" if staircase else "linear"
    way = Piece(-1, shape, 1.0, 1.0 + rate, size, origin=-1.0)
    last = way.value(updates - 2.0)
    peak = least * max(1.0, last)
    start = least / peak
    curve = Applied(peak, updates, (Piece(-1, shape, start, start * (1.0 + rate), size, origin=-1.0),), offset=-1)
    return Filled(curve, 0.0, "LRRangeTest")
