"""Skipped updates that a log does not count: an update that overflowed left the curve where it was.

Where every update is logged a skip is a rate that stands twice. Where only some are, the logged rates themselves tell:
on a cosine or a line each of them belongs to one position, and positions are whole numbers for the right length only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from huohou.audit.logs.fit import digits, shortest
from huohou.audit.logs.log import Point

_MOST = 400
"""Skipped updates at most that are looked for."""
_WHOLE = 2e-4
"""How far from a whole number a position may be: what is left of 1e-12 over 1e5 updates, and some more."""


def guesses(points: Sequence[Point]) -> Iterator[list[int]]:
    """Counts of skipped updates at each point that would make the positions whole."""
    if len(points) < 4:
        return
    for zeros in (False, True):
        repeated = _repeated(points, zeros=zeros)
        if repeated is not None:
            yield repeated
    top = max(point.rate for point in points)
    peaks = list(dict.fromkeys((top, *(shortest(top, top * (1 + 10.0**-n)) for n in (4, 3, 2)))))
    for share in (_cosine, _line):
        for peak in sorted(peaks, key=digits):
            for floor in (0.0, 0.1):
                found = _whole_positions(points, peak, floor * peak, share)
                if found is not None:
                    yield found


def _repeated(points: Sequence[Point], *, zeros: bool) -> list[int] | None:
    """Rates that stand twice in a row below the top, where every update is logged; zeros too or not."""
    top = max(point.rate for point in points)
    if any(b.update - a.update != 1 for a, b in pairwise(points)):
        return None
    skipped, counts = 0, [0]
    for before, point in pairwise(points):
        skipped += before.rate == point.rate and point.rate < top and (zeros or point.rate > 0)
        counts.append(skipped)
    return counts if skipped else None


def _cosine(level: float) -> float:
    return math.acos(min(1.0, max(-1.0, 2.0 * level - 1.0))) / math.pi


def _line(level: float) -> float:
    return 1.0 - level


def _whole_positions(
    points: Sequence[Point], peak: float, floor: float, share: Callable[[float], float]
) -> list[int] | None:
    """The skips of a curve that rises in a line (or not) and falls by a shape to a floor, if its length can be told."""
    if peak <= floor:
        return None
    top = max(range(len(points)), key=lambda place: (points[place].rate, place))
    falling = [point for point in points[top:] if point.rate < peak * (1 - 1e-9) and point.rate > floor]
    # A shape is too flat at its ends to place a rate there.
    clear = [point for point in falling if 0.02 < (point.rate - floor) / (peak - floor) < 0.98]
    if len(clear) < 3:
        return None
    places = [share((point.rate - floor) / (peak - floor)) for point in clear]
    first, last = clear[0], clear[-1]
    apart = places[-1] - places[0]
    if apart <= 0:
        return None
    every = max(1, len(clear) // 12)
    for made in range(last.update - first.update, max(0, last.update - first.update - _MOST), -1):
        length = made / apart
        if abs(length - round(length)) > _WHOLE:
            continue
        length = round(length)
        inside = ((place - places[0]) * length for place in places[::every])
        if any(abs(position - round(position)) > _WHOLE for position in inside):
            continue
        found = _counts(points, top, peak, floor, share, length)
        if found is not None:
            return found
    return None


def _counts(
    points: Sequence[Point], top: int, peak: float, floor: float, share: Callable[[float], float], length: int
) -> list[int] | None:
    rising = [point for point in points[:top] if 0 < point.rate < peak * (1 - 1e-9)]
    at_peak = sum(point.rate >= peak * (1 - 1e-14) for point in points)
    for warmup in _warmups(rising, peak):
        counts: list[int] = []
        skipped = 0
        for place, point in enumerate(points):
            level = (point.rate - floor) / (peak - floor)
            made: float | None = None
            if place < top and point.rate < peak * (1 - 1e-14):
                made = point.rate / peak * warmup
            elif 0 < level < 1 - 1e-14:
                made = warmup + share(level) * length
            elif level >= 1 - 1e-14 and (at_peak == 1 or not warmup):
                made = float(warmup)
            if made is not None and abs(made - round(made)) < 0.01:
                count = point.update - round(made)
                if count < skipped:
                    break
                skipped = count
            elif made is not None and 1e-3 < level < 1 - 1e-3:
                break
            # At the very ends of a shape a position may be uncertain by more than one; there the count stays.
            counts.append(skipped)
        else:
            first = next((c for c in counts if c), 0)
            return counts if first <= _MOST else None
    return None


def _warmups(rising: Sequence[Point], peak: float) -> Iterator[int]:
    """Lengths of a rise at which its rates stand at whole positions, no later than they were logged."""
    if not rising:
        yield 0
        return
    longest = min(int(point.update * peak / point.rate + 1e-6) for point in rising)
    for warmup in range(longest, max(0, longest - _MOST), -1):
        positions = [point.rate / peak * warmup for point in rising]
        if all(abs(position - round(position)) < _WHOLE * 10 for position in positions):
            yield warmup
