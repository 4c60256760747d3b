"""nanotron: its YAML. i / W up to and with W, a hold to ``lr_decay_starting_step``, the decay, then ``min_decay_lr``.

Without ``lr_decay_steps`` the decay is as long as the run less the warmup **and** less the starting step, so that
with a starting step it ends too early by the warmup. Formula: ``lr_scheduler_builder`` in ``helpers.py``.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "nanotron"
title = "nanotron"

_SECTION = "optimizer.learning_rate_scheduler"


def sees(document: Document) -> int:
    """Its scheduler's section beside ``tokens.train_steps``."""
    settings = document.settings
    if settings is None or f"{_SECTION}.learning_rate" not in settings:
        return 0
    return 96 if "tokens.train_steps" in settings else 80


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file."""
    assert document.settings is not None
    return [_read(document.settings, given)]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    peak = settings.number(f"{_SECTION}.learning_rate")
    warmup = settings.whole(f"{_SECTION}.lr_warmup_steps") or 0
    style = settings.text(f"{_SECTION}.lr_decay_style") or "linear"
    rising = settings.text(f"{_SECTION}.lr_warmup_style") or "linear"
    written = settings.whole("tokens.train_steps")
    updates = given.updates or written
    reading.facts |= {"family": "nanotron", "framework": name, "scheduler": style, "warmup_steps": warmup}
    if not peak or style not in ("linear", "cosine", "1-sqrt"):
        reading.need(
            "learning_rate is not a number, or lr_decay_style is none of linear, cosine and 1-sqrt.",
            "learning_rate 不是数字，或 lr_decay_style 不是 linear、cosine、1-sqrt。",
        )
        return reading
    if not updates:
        reading.need("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
        return reading
    peak, horizon = float(peak), updates if given.updates is not None else written or updates
    least = settings.number(f"{_SECTION}.min_decay_lr")
    floor = 1.0 if least is None else float(least) / peak
    if least is None:
        reading.assume("no min_decay_lr: nothing decays.", "没有 min_decay_lr：学习率不衰减。")
    start = settings.whole(f"{_SECTION}.lr_decay_starting_step")
    decay = settings.whole(f"{_SECTION}.lr_decay_steps")
    if decay is None:
        decay = horizon - warmup - (start or 0)
    begin = float(warmup if start is None else start)
    up = Piece(0, "linear", 0.0, 1.0, float(max(1, warmup))) if rising == "linear" else Piece(0, "hold", 1.0)
    # The warmup's formula holds up to and with its last position.
    first = max(math.nextafter(float(warmup), math.inf), begin)
    pieces = [up, Piece(math.nextafter(float(warmup), math.inf), "hold", 1.0)]
    if decay > 0:
        pieces.append(Piece(first, style, 1.0, floor, float(decay), origin=begin))
    pieces.append(Piece(max(first, begin + decay), "hold", floor))
    reading.facts |= {"peak": peak, "floor": floor, "decay_steps": decay, "horizon": horizon, "updates": updates}
    reading.steps.append(
        Resolved(
            Text("decay", "衰减"),
            settings.find(f"{_SECTION}.lr_decay_steps"),
            Text(
                f"{decay} updates from position {begin:g} of {horizon}",
                f"自第 {begin:g} 步起 {decay} 步，共 {horizon} 步",
            ),
        )
    )
    model = settings.text("model.init_method.path", "general.run")
    horizon_ends = float(max(horizon, begin + decay))
    curve = Applied(peak, updates, tuple(pieces))
    reading.roles.append(Role("model", curve, float(warmup if rising == "linear" else 0), None, model, horizon_ends))
    return reading
