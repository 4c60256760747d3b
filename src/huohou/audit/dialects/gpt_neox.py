"""GPT-NeoX: its YAML (or JSON). ``AnnealingLR``: max(1, i) / W up to and with W, so that the first two updates are
equal.

W is ``warmup`` · T, not rounded; T is ``lr_decay_iters``, a fraction, or ``train_iters``. Every decay is held at
``min_lr`` from below, and a cosine rises again behind its end.
"""

from __future__ import annotations

import math

from huohou.audit.applied import Applied
from huohou.audit.document import Document
from huohou.audit.pieces import Piece
from huohou.audit.reading import Given, Reading, Resolved, Role
from huohou.audit.values import Settings
from huohou.language import Text

name = "gpt-neox"
title = "GPT-NeoX"

_OWN = ("train_iters", "warmup", "lr_decay_style", "pipe_parallel_size", "model_parallel_size", "min_lr", "pos_emb",
        "no_weight_tying", "attention_config", "gpt_j_residual", "checkpoint_factor", "lr_decay_iters")  # fmt: skip


def _settings(document: Document) -> Settings | None:
    """Its keys, which are written with dashes or underscores."""
    found = document.settings
    if found is None:
        return None
    return Settings({key.replace("-", "_"): value for key, value in found.values.items()}, found.name, found.line)


def sees(document: Document) -> int:
    """Its optimizer's section and several of its words."""
    settings = _settings(document)
    if settings is None or "optimizer.params.lr" not in settings or "train_iters" not in settings:
        return 0
    own = sum(key in settings for key in _OWN)
    return 0 if own < 3 else min(96, 70 + 5 * own)


def read(document: Document, given: Given) -> list[Reading]:
    """The run of the file."""
    settings = _settings(document)
    assert settings is not None
    return [_read(settings, given)]


def _read(settings: Settings, given: Given) -> Reading:
    reading = Reading(name, title, settings)
    peak = settings.number("optimizer.params.lr")
    style = settings.text("lr_decay_style") or "linear"
    updates = given.updates or settings.whole("train_iters")
    reading.facts |= {"family": "gpt-neox", "framework": name, "scheduler": style}
    if not peak:
        reading.need("optimizer.params.lr is not written as a number.", "optimizer.params.lr 没有写成数字。")
        return reading
    if not updates:
        reading.need("how many updates: give --updates.", "更新步数未知：请给出 --updates。")
        return reading
    peak = float(peak)
    fraction, written = settings.number("lr_decay_fraction"), settings.whole("lr_decay_iters")
    horizon = written or (math.floor(updates * float(fraction)) if fraction is not None else updates)
    horizon = max(1, horizon)
    share = settings.number("warmup")
    if share is None:
        share = 0.01
        reading.assume("no warmup: GPT-NeoX's default 0.01.", "没有 warmup：取 GPT-NeoX 的默认值 0.01。")
    warmup, floor = float(share) * horizon, float(settings.number("min_lr") or 0.0) / peak
    pieces: list[Piece] = []
    if warmup > 0:
        # Updates 1 and 2 are both at 1/W.
        pieces += [Piece(0, "hold", 1.0 / warmup), Piece(1, "linear", 0.0, 1.0, warmup, origin=0.0)]
    first = math.nextafter(warmup, math.inf) if warmup > 0 else 0.0
    if warmup < 1 and warmup > 0:
        pieces = [Piece(0, "hold", 1.0 / warmup)]
    rest = max(horizon - warmup, 1e-300)
    match style:
        case "linear":
            fall = Piece(first, "linear", 1.0, 0.0, rest, origin=warmup, lowest=floor)
        case "cosine":
            fall = Piece(first, "cosine", 1.0, floor, rest, origin=warmup, lowest=floor)
        case "exponential":
            base = math.exp(-0.693 / rest)
            fall = Piece(first, "geometric", 1.0, origin=warmup, parameter=base, lowest=floor)
        case _:
            fall = Piece(first, "hold", 1.0)
    pieces.append(fall)
    reading.facts |= {"peak": peak, "floor": floor, "warmup_steps": warmup, "horizon": horizon, "updates": updates}
    reading.steps.append(
        Resolved(
            Text("warmup", "预热"),
            settings.find("warmup"),
            Text(f"{share:g} of {horizon} updates: W = {warmup:g}", f"{horizon} 步的 {share:g}：W = {warmup:g}"),
        )
    )
    reading.roles.append(Role("model", Applied(peak, updates, tuple(pieces)), warmup, None, None, float(horizon)))
    return reading
