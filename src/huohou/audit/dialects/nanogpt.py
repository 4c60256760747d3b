"""nanoGPT: a Python file of plain assignments that its ``train.py`` executes.

The rate is (i + 1) / (W + 1) of the peak in the warmup, then a cosine to ``min_lr`` at ``lr_decay_iters``, and it runs
one update more than ``max_iters``: 0…max_iters.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied
from huohou.audit.dialects.tokens import note
from huohou.audit.dialects.tokens import updates as tokens_to_updates
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "nanogpt"
title = "nanoGPT"

_OWN = ("max_iters", "lr_decay_iters", "warmup_iters", "decay_lr", "eval_iters", "eval_interval", "block_size",
        "always_save_checkpoint", "init_from", "out_dir", "n_layer", "n_head", "n_embd")  # fmt: skip


def _settings(document: Document) -> Settings | None:
    if document.module is None:
        return None
    return Settings(dict(document.module.names), document.source.name, 1)


def sees(document: Document) -> int:
    """``max_iters`` and several more of its names, set at the top of a Python file."""
    settings = _settings(document)
    if settings is None or "max_iters" not in settings:
        return 0
    own = sum(key in settings for key in _OWN)
    return 0 if own < 4 else min(80, 40 + 5 * own)


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file."""
    settings = _settings(document)
    assert settings is not None
    reading = Reading(name, title, settings)

    def number(key: str, default: float) -> float:
        value = settings.number(key)
        if value is not None:
            return float(value)
        reading.assume(f"{key}: its default {default:g}.", f"{key}：取默认值 {default:g}。")
        return default

    peak, least = number("learning_rate", 6e-4), number("min_lr", 6e-5)
    iterations, warmup = int(number("max_iters", 600_000)), int(number("warmup_iters", 2000))
    end = int(number("lr_decay_iters", 600_000))
    batch, length = settings.whole("batch_size"), settings.whole("block_size")
    accumulation = given.accumulation or settings.whole("gradient_accumulation_steps")
    # Its accumulation is that of all processes together.
    per_update = float(batch * length * accumulation) if batch and length and accumulation else None
    note(reading, per_update)
    updates = given.updates or tokens_to_updates(given, reading, per_update) or iterations + 1
    reading.facts |= {
        "family": "nanogpt",
        "framework": name,
        "scheduler": "cosine",
        "peak": peak,
        "warmup_steps": warmup,
    }
    if settings.flag("decay_lr") is False:
        reading.roles.append(Role("model", Applied(peak, updates, (Piece(0, "hold", 1.0),)), 0.0))
        return [reading]
    floor = least / peak
    rise = (Piece(0, "linear", 0.0, 1.0, warmup + 1.0, origin=-1.0),) if warmup > 0 else ()
    fall = Piece(warmup, "cosine", 1.0, floor, float(max(1, end - warmup)))
    after = Piece(max(float(warmup), math.nextafter(end, math.inf)), "hold", floor)
    curve = Applied(peak, updates, (*rise, fall, after))
    reading.roles.append(Role("model", curve, float(warmup), None, None, float(end)))
    return [reading]
