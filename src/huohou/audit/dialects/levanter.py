"""Levanter: its YAML. optax's schedules joined: a line to the peak, a hold, the decay; shares are cut off to whole
updates.

A number up to 1 is a share, so that ``warmup: 1`` is the whole run. Cycles are not read. Levanter computes in single
precision; what is shown is the same formula in double.
"""

from __future__ import annotations

from huohou.audit.applied import Applied
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "levanter"
title = "Levanter"

_CYCLES = ("cycle_length", "cycles", "haps", "cooldown", "rewarmup")
_TYPES = ("cosine", "linear", "constant", "inv_sqrt")


def sees(document: Document) -> int:
    """``optimizer.learning_rate`` beside a trainer's section with words of its own."""
    settings = document.settings
    if settings is None or "optimizer.learning_rate" not in settings:
        return 0
    own = (
        "trainer.train_batch_size",
        "trainer.num_train_steps",
        "trainer.mp",
        "trainer.per_device_parallelism",
        "trainer.model_axis_size",
        "optimizer.min_lr_ratio",
        "optimizer.lr_schedule",
    )
    many = sum(key in settings for key in own)
    return 0 if many < 2 else min(95, 75 + 5 * many)


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file."""
    assert document.settings is not None
    return [_read(document.settings, given)]


def _updates(value: float, whole: int) -> int:
    return int(value * whole) if value <= 1 else int(value)


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    section = settings.under("optimizer")
    peak, kind = float(section.number("learning_rate") or 6e-4), section.text("lr_schedule") or "cosine"
    updates = given.updates or settings.whole("trainer.num_train_steps")
    if updates is None:
        updates = 400_000
        reading.assume(
            "no trainer.num_train_steps: Levanter's default 400000.", "没有 trainer.num_train_steps：取默认值 400000。"
        )
    reading.facts |= {"family": "levanter", "framework": name, "scheduler": kind, "peak": peak}
    cycles = [key for key in _CYCLES if section.get(key) not in (None, 0, 0.0)]
    if cycles or kind not in _TYPES:
        what = ", ".join(cycles) or f"lr_schedule {kind}"
        reading.need(f"{what} is not read.", f"不支持 {what}。")
        return reading
    share, tail = section.number("warmup"), section.number("decay")
    if share is None:
        share = 0.01
        reading.assume("no warmup: Levanter's default 0.01.", "没有 warmup：取默认值 0.01。")
    ratio = section.number("min_lr_ratio")
    floor = 0.1 if ratio is None else float(ratio)
    warmup = _updates(float(share), updates)
    decay = updates - warmup if tail is None else _updates(float(tail), updates)
    begin = float(max(warmup, updates - decay))
    if decay <= 0 and kind == "cosine":
        reading.refused = Text(
            "the warmup leaves nothing to decay, and optax refuses a cosine of no updates.",
            "预热之后没有剩余的更新步，optax 拒绝长度为 0 的余弦。",
        )
    rise = (Piece(0, "linear", 0.0, 1.0, float(warmup)),) if warmup > 0 else ()
    hold = (Piece(warmup, "hold", 1.0),) if begin > warmup else ()
    if kind == "inv_sqrt":

        def falls(x: float) -> float:
            # A timescale of 10,000 holds the peak until the warmup and what follows it are as long.
            return max(floor, min(1.0, 1.0 / (max(x + warmup, 1.0) / 10_000.0) ** 0.5))

        fall = (Piece(begin, "formula", 1.0, function=falls),)
    elif kind == "constant":
        fall = (Piece(begin, "hold", 1.0),)
    else:
        fall = (Piece(begin, kind, 1.0, floor, float(max(1, decay))), Piece(begin + decay, "hold", floor))
    reading.facts |= {"warmup_steps": warmup, "floor": floor, "horizon": updates}
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            section.find("warmup"),
            Text(f"{share:g} of {updates} updates: W = {warmup}", f"{updates} 步，{share:g}：W = {warmup}"),
        )
    )
    curve = Applied(peak, updates, (*rise, *hold, *fall))
    reading.roles.append(Role("model", curve, float(warmup), None, settings.text("model.type"), float(updates)))
    return reading
