"""MMEngine's parameter schedulers (``mmengine.optim.scheduler``) as one applied curve: each changes what it finds.

A scheduler works in its half-open range ``begin ≤ position < end`` and leaves the rate as it is outside. It multiplies
what stands in the optimizer, so one that begins later goes on from where the one before it stopped: a ``LinearLR`` over
N positions reaches its end factor at the last of them, N − 1, and of a single one never. A cosine ends one position
short of its floor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from huohou.audit.pieces import Piece


@dataclass(frozen=True, slots=True)
class Part:
    """One scheduler of the list.

    Attributes:
        kind: ``LinearLR``, ``CosineAnnealingLR``, ``ConstantLR``, ``PolyLR``, ``ExponentialLR`` or ``StepLR``.
        begin, end: Its range.
        start, last: The factors of a ``LinearLR``; ``start`` is the factor of a constant too.
        least: The floor as a multiple of the base rate.
        length: ``T_max``, or the size of a step.
        power: The exponent, or gamma.
    """

    kind: str
    begin: float
    end: float
    start: float = 1.0
    last: float = 1.0
    least: float = 0.0
    length: float = 0.0
    power: float = 1.0


KINDS = ("LinearLR", "CosineAnnealingLR", "ConstantLR", "PolyLR", "ExponentialLR", "StepLR")


def pieces(parts: Sequence[Part]) -> tuple[Piece, ...]:
    """The pieces of schedulers whose ranges do not meet, over positions from 0."""
    found: list[Piece] = []
    value = 1.0
    for part in sorted(parts, key=lambda each: each.begin):
        if not found and part.begin > 0:
            found.append(Piece(0, "hold", value))
        made, after = _made(part, value, part.end - part.begin)
        found.append(made)
        if math.isfinite(part.end):
            # A constant takes its factor back at the last position of its range, the others keep what they came to.
            back = part.kind == "ConstantLR" and part.end - part.begin > 1
            found.append(Piece(part.end - 1 if back else part.end, "hold", after))
        value = after
    return tuple(found) or (Piece(0, "hold", 1.0),)


def _made(part: Part, value: float, length: float) -> tuple[Piece, float]:
    """The piece of a scheduler that finds ``value``, and what it leaves behind."""
    match part.kind:
        case "LinearLR":
            if length <= 1:
                return Piece(part.begin, "hold", value * part.start), value * part.start
            first, last = value * part.start, value * part.last
            return Piece(part.begin, "linear", first, last, length - 1), last
        case "CosineAnnealingLR":
            whole = part.length or length
            piece = Piece(part.begin, "cosine", value, part.least, whole)
        case "ConstantLR":
            return Piece(part.begin, "hold", value * part.start), value if length > 1 else value * part.start
        case "PolyLR":
            piece = Piece(part.begin, "power", value, part.least, max(length - 1, 1e-300), parameter=part.power)
        case "ExponentialLR":
            piece = Piece(part.begin, "geometric", value, parameter=part.power)
        case _:
            piece = Piece(part.begin, "stairs", value, span=max(part.length, 1.0), parameter=part.power)
    return piece, piece.value(part.end - 1) if math.isfinite(part.end) else value
