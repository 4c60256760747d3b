"""Warmup: the rising first part, and rising again.

By default the rate rises in a straight line from 0 at the origin to the peak at update W, so that update 1 already uses
peak/W and no batch is spent on a rate of zero. W = 0 and W = 1 are the same: update 1 uses the peak.
"""

from __future__ import annotations

import math
from fractions import Fraction

from huohou.errors import UserError
from huohou.schedule.curve import Knot, hold
from huohou.schedule.shapes import Shape

SHAPES = ("linear", "cosine", "1-sqrt", "exponential", "logarithmic")
"""How a warmup may rise. Exponential and logarithmic mirror each other: with W updates their base is W + 1, so that
the logarithmic one is at ``log(1 + u) / log(1 + W)`` and the exponential one grows by one factor each update."""

LONGEST_DEFAULT = 2000
SCRATCH_LEAST = 200


def rise(start: int, end: int, low: Fraction, high: Fraction, shape: str = "linear") -> list[Knot]:
    """Knots that leave ``low`` at update ``start`` and reach ``high`` at ``end``; the knot at ``end`` holds.

    Raises:
        UserError: The shape is not one of :data:`SHAPES`.
    """
    if shape not in SHAPES:
        raise UserError(
            f"warmup_shape is {shape!r}; it can be {', '.join(SHAPES)}.",
            f"warmup_shape 的值是 {shape!r}；可以是 {'、'.join(SHAPES)}。",
        )
    base = Fraction(end - start + 1) if shape in ("exponential", "logarithmic") else None
    return [Knot(start, low, Shape(shape, start, end, low, high, base)), hold(end, high)]


def warmup_knots(updates: int, start: Fraction, shape: str = "linear") -> list[Knot]:
    """The knots of a warmup over this many updates, the last of them at the peak.

    Args:
        updates: W; with 0 there is one knot, at the peak, at update 1.
        start: The value at the origin, which no update uses.
        shape: One of :data:`SHAPES`.
    """
    if updates == 0:
        return [hold(1, 1)]
    return rise(0, updates, start, Fraction(1), shape)


def default_warmup(updates: int, *, scratch: bool, beta2: float | None = None, carried: bool = False) -> int:
    """W where nobody asked for one: 5 % of the run, from scratch at least min(200, 25 %), at most 2000 or T - 1.

    A model that exists already takes 5 % too, and with AdamW's ``beta2`` at least min(2 / (1 - beta2), 25 %), because
    its fresh second moment means nothing before (Ma & Yarats 2019). ``carried``: the moments are carried over and the
    peak is not above the rate where they stopped, so that nothing has to rise: 0.

    Published runs warm up for some 500 to 8000 updates whatever their length, and short runs from scratch gained from
    hundreds of updates: the best length looks like a number of updates rather than a share.
    """
    if carried:
        return 0
    length = -(-updates // 20)
    if not scratch and beta2 is not None:
        length = max(length, min(math.ceil(2 / (1 - beta2)), -(-updates // 4)))
    if scratch:
        length = max(length, min(SCRATCH_LEAST, -(-updates // 4)))
    return min(length, LONGEST_DEFAULT, updates - 1)
