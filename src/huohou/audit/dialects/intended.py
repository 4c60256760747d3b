"""What people mean by the words: the curve and the warmup that a framework's own counting then misses by a little."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from huohou.audit.applied import Applied
from huohou.audit.pieces import Piece
from huohou.audit.values import as_number


def intended(kind: str, peak: float, warmup: int, updates: int, kwargs: Mapping[str, Any]) -> Applied | None:
    """What people mean by the words: no update at zero, the peak in update W, the floor in update T."""
    if kind not in (
        "linear",
        "cosine",
        "cosine_with_min_lr",
        "cosine_warmup_with_min_lr",
        "constant",
        "constant_with_warmup",
    ):
        return None
    rise = (Piece(0, "linear", 0.0, 1.0, max(1, warmup), origin=-1.0),) if warmup > 0 else ()
    if kind.startswith("constant"):
        return Applied(peak, updates, (*rise, Piece(warmup, "hold", 1.0)))
    rate, floor = as_number(kwargs.get("min_lr_rate")), as_number(kwargs.get("min_lr"))
    least = float(rate) if rate is not None else (float(floor) / peak if floor is not None and peak else 0.0)
    shape = "linear" if kind == "linear" else "cosine"
    fall = Piece(warmup, shape, 1.0, least, max(1, updates - warmup), origin=warmup - 1.0)
    return Applied(peak, updates, (*rise, fall))


def meant_updates(steps: float, ratio: float, horizon: int, word: str) -> int:
    """The updates of warmup that the words mean: a share rounded up exactly, or the number itself."""
    if word == "ratio":
        share = Fraction(repr(ratio if ratio > 0 else steps))
        return math.ceil(share * horizon)
    return int(steps)
