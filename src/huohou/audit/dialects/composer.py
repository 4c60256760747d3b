"""Composer and LLM Foundry: YAML, and calls of Composer's schedulers with warmup in Python.

Lengths carry their unit: ``100ba`` (updates), ``10ep``, ``2e9tok``, ``0.1dur`` (a share of ``max_duration``, in its
unit, cut off to a whole number); epochs become updates. The warmup is in the unit of the end. Update u uses the time
at which u − 1 updates are made, and what follows the end is the floor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from huohou.audit.applied import Applied
from huohou.audit.dialects.calls import arguments, number
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.python import Call, Module
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings, Value
from huohou.language import Text

name = "composer"
title = "Composer"

_NAMES = {
    "cosine_with_warmup": "cosine",
    "linear_decay_with_warmup": "linear",
    "constant_with_warmup": "constant",
}
_CALLS = {
    "CosineAnnealingWithWarmupScheduler": ("cosine", ("t_warmup", "t_max", "alpha_f")),
    "LinearWithWarmupScheduler": ("linear", ("t_warmup", "alpha_i", "alpha_f", "t_max")),
    "ConstantWithWarmupScheduler": ("constant", ("t_warmup", "alpha", "t_max")),
}
_TIME = re.compile(r"\s*([\d.]+(?:e[+-]?\d+)?)\s*(ep|ba|tok|sp|dur)\s*", re.IGNORECASE)


def _calls(document: Document) -> list[Call]:
    module = document.module
    return [] if module is None else [call for call in module.calls if call.last_name in _CALLS]


def sees(document: Document) -> int:
    """A scheduler of its names with ``t_warmup``, or a call of one."""
    settings = document.settings
    if settings is not None:
        # OLMo has the same names, and lengths without a unit.
        named = settings.text("scheduler.name") in _NAMES and _time(settings.text("scheduler.t_warmup")) is not None
        return 94 if named and "max_duration" in settings else 0
    return 80 if _calls(document) else 0


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file, or one for each call."""
    if document.module is not None:
        return [_called(call, document.module, given) for call in _calls(document)]
    assert document.settings is not None
    return [_written(document.settings, given)]


@dataclass(frozen=True, slots=True)
class _Clock:
    """How long the run is: in updates, and in the unit of ``max_duration`` (epochs as updates)."""

    updates: int
    unit: str
    length: float
    per_update: float
    epoch: float


def _time(text: str | None) -> tuple[float, str] | None:
    match = _TIME.fullmatch(text or "")
    return None if match is None else (float(match.group(1)), match.group(2).lower())


def _clock(
    reading: Reading, given: Given, duration: str | None, batch: float | None, length: float | None
) -> _Clock | None:
    """``batch`` are samples of an update, ``length`` the tokens of one."""
    time = _time(duration)
    per_epoch = None if given.samples is None or not batch else given.samples // int(batch)
    if time is None:
        if given.updates is None:
            reading.need("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
            return None
        return _Clock(given.updates, "ba", given.updates, 1.0, given.updates)
    amount, unit = time
    each = {"tok": (batch or 0.0) * (length or 0.0), "sp": batch or 0.0}.get(unit, 1.0)
    updates = given.updates
    if unit == "ba":
        updates = updates or int(amount)
        return _Clock(updates, unit, amount if given.updates is None else updates, 1.0, per_epoch or updates)
    if unit == "ep":
        if updates is None and per_epoch is not None:
            updates = int(amount * per_epoch)
        if updates is not None:
            return _Clock(updates, "ba", updates, 1.0, per_epoch or updates / amount)
    elif each > 0:
        updates = updates or int(-(-amount // each))
        return _Clock(updates, unit, amount, each, per_epoch or updates)
    elif updates is not None:
        return _Clock(updates, unit, amount, amount / updates, per_epoch or updates)
    reading.need(
        f"how many updates: max_duration is {duration}; give --updates, or --samples.",
        f"更新步数未知：max_duration 为 {duration}；请给出 --updates 或 --samples。",
    )
    return None


def _position(text: str | None, clock: _Clock) -> tuple[float, str] | None:
    """A length in its own unit, shares of the run and epochs turned into whole numbers."""
    time = _time(text)
    if time is None:
        return None
    amount, unit = time
    if unit == "dur":
        return float(int(amount * clock.length)), clock.unit
    return (float(int(amount * clock.epoch)), "ba") if unit == "ep" else (float(int(amount)), unit)


def _written(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, "LLM Foundry", settings)
    section = settings.under("scheduler")
    batch = settings.number("global_train_batch_size", "variables.global_train_batch_size")
    length = settings.number("max_seq_len", "variables.max_seq_len")
    peak = settings.number("optimizer.lr", "optimizer.learning_rate")
    duration = settings.text("max_duration", "variables.max_duration")
    clock = _clock(
        reading, given, duration, None if batch is None else float(batch), None if length is None else float(length)
    )
    last = section.number("alpha_f")
    kind = _NAMES[section.text("name") or "cosine_with_warmup"]
    return _finish(
        reading,
        clock,
        None if peak is None else float(peak),
        kind,
        (section.text("t_warmup"), section.text("t_max") or "1dur"),
        (1.0, float(last or 0.0)),
    )


def _called(call: Call, module: Module, given: Given) -> Reading:
    kind, names = _CALLS[call.last_name]
    found = arguments(call, names)
    reading = Reading(name, f"{title} {call.last_name}", Settings(found, call.name, call.line))
    trainer = next((each for each in module.calls if each.last_name == "Trainer"), None)
    duration = None if trainer is None else trainer.settings.text("max_duration")
    clock = _clock(reading, given, duration, None, None)
    peak = next(
        (
            rate
            for each in module.calls
            if each.last_name not in _CALLS and (rate := number(each.settings.values.get("lr"), module)) is not None
        ),
        None,
    )

    def text(value: Value | None, default: str | None) -> str | None:
        return str(value.value) if value is not None and value.known else default

    first = number(found.get("alpha_i") or found.get("alpha"), module)
    last = number(found.get("alpha_f"), module)
    return _finish(
        reading,
        clock,
        peak,
        kind,
        (text(found.get("t_warmup"), None), text(found.get("t_max"), "1dur")),
        (1.0 if first is None else first, last or 0.0),
    )


def _finish(
    reading: Reading,
    clock: _Clock | None,
    peak: float | None,
    kind: str,
    times: tuple[str | None, str | None],
    factors: tuple[float, float],
) -> Reading:
    reading.facts |= {"family": "composer", "framework": name, "scheduler": kind, "peak": peak}
    if clock is None:
        return reading
    warmup, end = _position(times[0], clock), _position(times[1], clock)
    if not peak or warmup is None or end is None:
        reading.need(
            "the rate, t_warmup or t_max cannot be read from the file.", "无法从文件读出学习率、t_warmup 或 t_max。"
        )
        return reading
    if warmup[1] != end[1]:
        reading.refused = Text(
            f"t_warmup ({times[0]}) and t_max ({times[1]}) have different units, which Composer refuses.",
            f"t_warmup（{times[0]}）与 t_max（{times[1]}）单位不同，Composer 会拒绝。",
        )
        return reading
    each = clock.per_update if warmup[1] == clock.unit else 1.0
    first, last = factors
    # A constant keeps its factor.
    last = first if kind == "constant" else last
    rise = (Piece(0, "linear", 0.0, first, warmup[0]),) if warmup[0] > 0 else ()
    shape = "hold" if kind == "constant" else kind
    fall = Piece(warmup[0], shape, first, last, max(end[0] - warmup[0], 1e-300))
    curve = Applied(peak, clock.updates, (*rise, fall, Piece(max(end[0], warmup[0]), "hold", last)), scale=each)
    reading.facts |= {"warmup_steps": warmup[0] / each, "floor": last, "horizon": end[0] / each}
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            reading.settings.find("scheduler.t_warmup", "t_warmup"),
            Text(f"{times[0]}: W = {warmup[0] / each:g}", f"{times[0]}：W = {warmup[0] / each:g}"),
        )
    )
    reading.roles.append(Role("model", curve, warmup[0] / each, None, None, end[0] / each))
    return reading
