"""torchtitan: ``[lr_scheduler]`` of its TOML.

The multiplier of update u is the one of u, not of u − 1, and the last update is one step short of the floor; past
``total_steps`` the formulas go on, below zero where nothing holds them.
"""

from __future__ import annotations

from huohou.audit.applied import Applied
from huohou.audit.dialects.tokens import note
from huohou.audit.dialects.tokens import updates as tokens_to_updates
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "torchtitan"
title = "torchtitan"


def sees(document: Document) -> int:
    """Its sections."""
    if document.module is not None:
        return 93 if _configs(document) else 0
    settings = document.settings
    if settings is None:
        return 0
    sections = {key.split(".")[0] for key in settings}
    words = len(
        sections & {"lr_scheduler", "training", "optimizer", "parallelism", "job", "activation_checkpoint", "metrics"}
    )
    return 0 if "training" not in sections or words < 3 else 40 + 8 * words


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file, or those of a registry of ``Trainer.Config(…)`` in Python."""
    if document.module is not None:
        return [_read(settings, given) for settings in _configs(document)]
    assert document.settings is not None
    return [_read(document.settings, given)]


def _configs(document: Document) -> list[Settings]:
    """The calls that hold a length and a schedule, as the newer configurations in Python have it."""
    module = document.module
    if module is None or "torchtitan" not in document.source.text:
        return []
    wanted = ("training.steps", "lr_scheduler.warmup_steps", "optimizer.lr", "lr_scheduler.decay_ratio")
    return [call.settings for call in module.calls if sum(key in call.settings for key in wanted) >= 2]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    peak = settings.number("optimizer.lr")
    peak = 8e-4 if peak is None else float(peak)
    steps = settings.whole("training.steps")
    steps = 10_000 if steps is None else steps
    batch, length = settings.whole("training.global_batch_size"), settings.whole("training.seq_len")
    if (batch is None or batch < 0) and given.gpus is not None:
        batch = (settings.whole("training.local_batch_size", "training.batch_size") or 8) * given.gpus
    per_update = float(batch * length) if batch and batch > 0 and length else None
    note(reading, per_update)
    told = given.updates or tokens_to_updates(given, reading, per_update)
    updates = told or steps
    section = settings.under("lr_scheduler")
    total = section.whole("total_steps")
    horizon = (told if told and total is None else total) or steps
    warmup = section.whole("warmup_steps")
    warmup = 200 if warmup is None else warmup
    ratio = section.number("decay_ratio")
    way = section.text("decay_type") or "linear"
    floor = float(section.number("min_lr_factor", "lr_min") or 0.0)
    reading.facts |= {
        "family": "torchtitan",
        "framework": name,
        "scheduler": way,
        "peak": peak,
        "warmup_steps": warmup,
        "floor": floor,
        "horizon": horizon,
        "decay_ratio": ratio,
    }
    if warmup > horizon:
        reading.facts["clamped_warmup"] = (warmup, horizon)
        warmup = horizon
    decay = round(horizon * float(ratio)) if ratio is not None else horizon - warmup
    if warmup + decay > horizon:
        decay = horizon - warmup
    # The virtual last step keeps the last real one above the floor.
    stable = horizon + 1 - warmup - decay
    pieces: list[Piece] = []
    if warmup > 0:
        pieces.append(Piece(0, "linear", 0.0, 1.0, float(warmup), origin=-1.0))
    pieces.append(Piece(warmup, "hold", 1.0))
    if decay > 0:
        shape = {"sqrt": "1-sqrt", "cosine": "cosine"}.get(way, "linear")
        begin = warmup + stable
        pieces.append(Piece(begin, shape, 1.0, floor, float(decay), origin=begin - 1.0))
    model = settings.text("model.name")
    flavor = settings.text("model.flavor")
    # Where the warmup leaves no decay, an assertion fails one position past the end.
    curve = Applied(
        peak,
        updates,
        tuple(pieces),
        end=None if decay > 0 else float(horizon),
        past="goes on" if decay > 0 else "raises",
    )
    if curve.end is not None and updates > horizon + 1:
        curve = curve.made_for(horizon + 1)
        reading.refused = Text(
            f"torchtitan's schedule asserts a decay after update {horizon + 1}: the run ends there.",
            f"torchtitan 的调度器在第 {horizon + 1} 个更新步之后断言失败（没有衰减段）：训练到此结束。",
        )
    reading.roles.append(
        Role("model", curve, float(warmup), None, f"{model} {flavor}" if model and flavor else model, float(horizon))
    )
    return reading
