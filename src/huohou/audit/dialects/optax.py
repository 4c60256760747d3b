"""Schedule calls of optax in Python, read from the syntax tree; a count past the end keeps the last value.

``decay_steps`` counts the warmup in. A schedule of no or fewer steps is the constant of its first value, so that
``warmup_constant_schedule(0, peak, 0)`` stays at 0 for ever.
"""

from __future__ import annotations

from huohou.audit.applied import Applied
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Call
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Value, as_number

name = "optax"
title = "optax"

_CALLS = {
    "constant_schedule": ("value",),
    "linear_schedule": ("init_value", "end_value", "transition_steps", "transition_begin"),
    "cosine_decay_schedule": ("init_value", "decay_steps", "alpha", "exponent"),
    "warmup_constant_schedule": ("init_value", "peak_value", "warmup_steps"),
    "warmup_cosine_decay_schedule": (
        "init_value", "peak_value", "warmup_steps", "decay_steps", "end_value", "exponent"
    ),
}  # fmt: skip
_DEFAULTS = {"end_value": 0.0, "transition_begin": 0.0, "alpha": 0.0, "exponent": 1.0}


def _calls(document: Document) -> list[Call]:
    module = document.module
    if module is None:
        return []
    bare = "optax" in document.source.text
    return [call for call in module.calls if bare and call.last_name in _CALLS]


def sees(document: Document) -> int:
    """A call of one of these schedules."""
    return 60 if _calls(document) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """One reading for each call."""
    return [_read(call, given) for call in _calls(document)]


def _read(call: Call, given: Given) -> Reading:
    reading = Reading(name, f"{title} {call.last_name}", call.settings)
    reading.facts |= {"family": "optax", "framework": name, "scheduler": call.last_name}
    arguments: dict[str, Value] = dict(zip(_CALLS[call.last_name], call.positional, strict=False))
    for key, value in arguments.items():
        call.settings.values.setdefault(key, value)
    found: dict[str, float] = {}
    for key in _CALLS[call.last_name]:
        value = call.settings.find(key)
        number = _DEFAULTS.get(key) if value is None else as_number(value.value)
        if number is None:
            written = "" if value is None else f" = {value.written}"
            reading.need(
                f"{key}{written} in line {call.line} cannot be read without running the file.",
                f"第 {call.line} 行的 {key}{written} 不运行文件就无法得知。",
            )
            return reading
        found[key] = float(number)
    pieces, peak, warmup, end = _pieces(call.last_name, found)
    updates = given.updates or int(end or 0)
    if peak <= 0 or found.get("exponent", 1.0) != 1.0:
        reading.need("a peak above 0 and an exponent of 1 are read.", "只支持大于 0 的峰值和指数 1。")
        return reading
    if updates < 1:
        reading.need("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
        return reading
    curve = Applied(peak, updates, pieces)
    reading.facts |= {"peak": peak, "warmup_steps": warmup}
    reading.roles.append(Role("model", curve, warmup, None, None, end))
    return reading


def _pieces(kind: str, found: dict[str, float]) -> tuple[tuple[Piece, ...], float, float, float | None]:
    """(pieces, peak, W, the schedule's own end)."""
    hold = Piece(0, "hold", 1.0)
    if kind == "constant_schedule":
        return (hold,), found["value"], 0.0, None
    if kind == "linear_schedule":
        start, last, steps = found["init_value"], found["end_value"], found["transition_steps"]
        peak, begin = max(start, last), max(0.0, found["transition_begin"])
        if steps <= 0:
            return (Piece(0, "hold", start / peak if peak else 0.0),), peak, 0.0, None
        pieces = (
            Piece(0, "hold", start / peak if peak else 0.0),
            Piece(begin, "linear", start / peak, last / peak, steps),
            Piece(begin + steps, "hold", last / peak),
        )
        return pieces, peak, begin + steps if last > start else 0.0, begin + steps
    if kind == "cosine_decay_schedule":
        steps = found["decay_steps"]
        fall = Piece(0, "cosine", 1.0, found["alpha"], max(1.0, steps))
        return (fall, Piece(steps, "hold", found["alpha"])), found["init_value"], 0.0, steps
    peak, warmup, start = found["peak_value"], found["warmup_steps"], found["init_value"]
    from_zero = start / peak if peak else 0.0
    if kind == "warmup_constant_schedule":
        if warmup <= 0:
            return (Piece(0, "hold", from_zero),), peak, 0.0, None
        return (Piece(0, "linear", from_zero, 1.0, warmup), Piece(warmup, "hold", 1.0)), peak, warmup, None
    end = found["decay_steps"]
    floor = found["end_value"] / peak if peak else 0.0
    rise = (Piece(0, "linear", from_zero, 1.0, warmup),) if warmup > 0 else ()
    fall = Piece(warmup, "cosine", 1.0, floor, max(1.0, end - warmup))
    return (*rise, fall, Piece(max(end, warmup), "hold", floor)), peak, warmup, end
