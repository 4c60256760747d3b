"""torchtitan: ``[lr_scheduler]`` of its TOML.

The multiplier of update u is the one of u, not of u − 1, and the last update is one step short of the floor; past
``total_steps`` the formulas go on, below zero where nothing holds them.
"""

from __future__ import annotations

from huohou.audit.applied import Applied, Piece
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading, Role
from huohou.audit.values import Settings

name = "torchtitan"
title = "torchtitan"


def sees(document: Document) -> int:
    """Its sections."""
    settings = document.settings
    if settings is None:
        return 0
    sections = {key.split(".")[0] for key in settings}
    words = len(
        sections & {"lr_scheduler", "training", "optimizer", "parallelism", "job", "activation_checkpoint", "metrics"}
    )
    return 0 if "training" not in sections or words < 3 else 40 + 8 * words


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file."""
    assert document.settings is not None
    return [_read(document.settings, given)]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    peak = settings.number("optimizer.lr")
    peak = 8e-4 if peak is None else float(peak)
    steps = settings.whole("training.steps")
    steps = 10_000 if steps is None else steps
    updates = given.updates or steps
    section = settings.under("lr_scheduler")
    total = section.whole("total_steps")
    horizon = (given.updates if given.updates and total is None else total) or steps
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
    curve = Applied(peak, updates, tuple(pieces))
    reading.roles.append(
        Role("model", curve, float(warmup), None, f"{model} {flavor}" if model and flavor else model, float(horizon))
    )
    return reading
