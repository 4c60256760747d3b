"""What is seen by walking over an applied curve: its ends, its peak, what is lost, and what comes after its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from huohou.audit.applied import Applied
from huohou.errors import UserError

Beyond = Literal["holds", "rebounds", "goes negative", "falls further", "raises"]
"""What a scheduler does after its own end: keeps one value, rises again, gives rates below zero, falls on, or raises an
error."""


def beyond(curve: Applied, horizon: float | None = None) -> Beyond:
    """What a curve does after its end, seen in twice its length.

    Args:
        curve: The curve.
        horizon: The number of updates that the scheduler was made for, where it is not that of the run.
    """
    end = max(1, math.ceil(min(horizon if horizon is not None else curve.updates, 1e15)))
    width = max(20, end)
    places = sorted({end + 1 + width * step // 400 for step in range(401)} | {end + step for step in range(1, 22)})
    small = 1e-9 * abs(curve.peak)
    rates: list[float] = []
    for place in places:
        try:
            rates.append(curve.rate(place))
        except UserError:
            return "raises"
        except ArithmeticError:
            # The formula itself divides by zero there, and so does the framework.
            return "raises"
    if min(rates) < -small:
        return "goes negative"
    lowest = rates[0]
    for rate in rates[1:]:
        if rate > lowest + small:
            return "rebounds"
        lowest = min(lowest, rate)
    # Some come to rest an update or two later: an index behind, or a jump to the least rate.
    late = rates[3:]
    return "holds" if max(late) - min(late) <= small else "falls further"


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be said of an applied curve by looking at every update of it."""

    first: float
    last: float
    peak: float
    """The highest rate that is used."""
    peak_at: int | None
    """The first update that uses the peak of the configuration; ``None`` if none does."""
    zero: int
    """Updates at rate 0: batches for nothing."""
    negative: int
    """Updates at a rate below 0."""
    area: float
    """The sum of all rates."""


_NEAR = 1e-12
_MOST = 200_000
"""Updates that are looked at one by one; of longer runs both ends, the seams of the pieces and an even grid are."""


def look(curve: Applied) -> Seen:
    """Walk over a curve once. Counts and the area of a run of more than 200,000 updates are estimates from a grid."""
    for known, seen in _LOOKED:
        if known is curve:
            return seen
    seen = _look(curve)
    _LOOKED[:] = [*_LOOKED[-7:], (curve, seen)]
    return seen


_LOOKED: list[tuple[Applied, Seen]] = []
"""The last curves that were walked over: many rules ask the same of one."""


def _look(curve: Applied) -> Seen:
    updates = looked_at(curve)
    first = last = 0.0
    highest, at = -math.inf, None
    zero = negative = 0
    area = 0.0
    before = 0
    for update in updates:
        rate = curve.rate(update)
        if update == 1:
            first = rate
        last = rate
        highest = max(highest, rate)
        if at is None and abs(rate - curve.peak) <= _NEAR * abs(curve.peak):
            at = update
        # Each one stands for itself and for those since the one before it.
        many = update - before
        before = update
        zero += many * (rate == 0.0)
        negative += many * (rate < 0.0)
        area += many * rate
    return Seen(first, last, highest, at, zero, negative, area)


def looked_at(curve: Applied) -> Sequence[int]:
    """Every update of a run, or as many of a long one as show what the curve does."""
    end = curve.updates
    if end <= _MOST:
        return range(1, end + 1)
    found = {*range(1, 201), *range(end - 200, end + 1), *(1 + (end - 1) * step // 50_000 for step in range(50_000))}
    for part in (curve, *curve.factors):
        for piece in part.pieces:
            for position in (piece.first, piece.first + piece.span, *([] if part.end is None else [part.end])):
                seam = int((position - part.offset) / part.scale) * part.held + 1 if part.scale else 1
                found.update(range(max(1, seam - 3), min(end, seam + 3) + 1))
    return sorted(found)
