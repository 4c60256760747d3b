"""Cutting, moving, joining and comparing curves; each is exact, because a shape keeps its own span."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from huohou.errors import UserError
from huohou.schedule.curve import Curve, Knot, hold
from huohou.schedule.shapes import Shape


def value_of_rate(curve: Curve, rate: float) -> Fraction:
    """The value whose rate is exactly this float."""
    return Fraction(repr(rate)) / curve.peak


def shape_at(curve: Curve, update: int) -> Shape:
    """The shape that the curve follows from this update to the next one."""
    i = bisect_right([knot.update for knot in curve.knots], update) - 1
    if 0 <= i < len(curve.knots) - 1:
        return curve.knots[i].shape
    return hold(update, curve.knots[max(i, 0)].value).shape


def knot_at(curve: Curve, update: int) -> Knot:
    """A knot that stands on the curve at this update and leaves it as the curve does."""
    return Knot(update, value_of_rate(curve, curve(update)), shape_at(curve, update))


def slice(curve: Curve, first: int, last: int) -> Curve:
    """The curve seen through a window: equal to it, bit for bit, in ``first`` … ``last``, constant outside.

    Example:
        >>> from huohou.schedule.recipes import Schedule, build
        >>> c = build(Schedule(peak="3e-4", warmup="10%"), 100).curve
        >>> slice(c, 20, 40)(33) == c(33)
        True
    """
    if last < first:
        raise UserError(
            f"a slice runs from update {first} to {last}, which is before its start.",
            f"切片从更新步 {first} 到 {last}，终点在起点之前。",
        )
    inside = tuple(knot for knot in curve.knots if first < knot.update < last)
    end = hold(last, value_of_rate(curve, curve(last)))
    begin = (knot_at(curve, first),) if first < last else ()
    return Curve(curve.peak, (*begin, *inside, end), last if last > 0 else None)


def shift(curve: Curve, updates: int) -> Curve:
    """The curve this many updates later: ``shift(c, k)(u + k) == c(u)``, bit for bit."""
    moved = tuple(Knot(knot.update + updates, knot.value, knot.shape.shift(updates)) for knot in curve.knots)
    last = None if curve.updates is None else curve.updates + updates
    return Curve(curve.peak, moved, last if last is not None and last > 0 else None)


def with_peak(curve: Curve, peak: Fraction) -> Curve:
    """The same rates, said as fractions of another peak, which no rate may exceed."""
    factor = curve.peak / peak
    scaled = tuple(Knot(knot.update, knot.value * factor, knot.shape.scale(factor)) for knot in curve.knots)
    return Curve(peak, scaled, curve.updates)


def join(before: Curve, after: Curve, at: int) -> Curve:
    """``before`` up to update ``at - 1`` and ``after`` from update ``at`` on, both bit for bit."""
    peak = max(before.peak, after.peak)
    before, after = with_peak(before, peak), with_peak(after, peak)
    head = [Knot(k.update, k.value, shape_at(before, k.update)) for k in before.knots if k.update < at]
    if not head:
        head = [hold(at - 1, before.knots[0].value)]
    tail = [knot_at(after, at), *(knot for knot in after.knots if knot.update > at)]
    return Curve(peak, (*head, *tail), after.updates)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two curves part.

    Attributes:
        update: The first update with different rates.
        rates: The two rates there.
        largest_at: The update where they lie furthest apart.
        largest: The two rates there.
        count: How many updates differ.
    """

    update: int
    rates: tuple[float, float]
    largest_at: int
    largest: tuple[float, float]
    count: int


def diff(one: Curve, other: Curve, last: int) -> Difference | None:
    """Compare the rates of updates 1 … ``last``; ``None`` where all are equal.

    Stretches where both curves follow the same shape are not evaluated, so that comparing two long plans that differ
    in one place takes no time.
    """
    import numpy as np

    places = sorted({1, last + 1, *(k.update for c in (one, other) for k in c.knots if 1 < k.update <= last)})
    first: int | None = None
    largest_at, distance, count = 0, -1.0, 0
    for begin, end in pairwise(places):
        same = one.peak == other.peak and shape_at(one, begin) == shape_at(other, begin)
        stop = begin if same else end - 1
        at = begin
        for a, b in zip(one.stream(begin, stop), other.stream(begin, stop), strict=True):
            apart = np.abs(a - b)
            different = np.flatnonzero(apart)
            if different.size:
                count += int(different.size)
                first = at + int(different[0]) if first is None else first
                furthest = int(apart.argmax())
                if apart[furthest] > distance:
                    largest_at, distance = at + furthest, float(apart[furthest])
            at += len(a)
    if first is None:
        return None
    return Difference(first, (one(first), other(first)), largest_at, (one(largest_at), other(largest_at)), count)
