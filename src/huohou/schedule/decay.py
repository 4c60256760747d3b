"""Hold and fall: what follows the first update at the peak.

Each function takes the first update at the peak, ``top``, and T, and gives the knots from ``top`` on. A floor above 0
is used by update T; a floor of 0 has its knot at T + 1, because an update at a rate of 0 would be wasted.
"""

from __future__ import annotations

from fractions import Fraction

from huohou.errors import UserError
from huohou.schedule.arithmetic import SCALAR, logarithm
from huohou.schedule.curve import Knot, hold
from huohou.schedule.shapes import Shape

FALLS = {"cosine": "cosine", "linear": "linear", "1-sqrt": "1-sqrt", "polynomial": "power", "exponential": "geometric"}
"""The decays that reach the floor at T, and the shape of each."""

TIMESCALE = 10_000
"""The inverse square root's timescale where there is neither a warmup nor a stated one (as in Transformers)."""

_ONE = Fraction(1)


def _end(last: int, floor: Fraction) -> int:
    return last if floor > 0 else last + 1


def fall(top: int, start: int, last: int, floor: Fraction, decay: str, power: Fraction | None = None) -> list[Knot]:
    """Hold the peak from ``top`` to ``start``, then fall to the floor at ``last``.

    Raises:
        UserError: An exponential decay to 0.
    """
    if decay == "exponential" and floor == 0:
        raise exponential_to_zero()
    level = [hold(top, 1)] if start > top else []
    if start == last or floor == 1:
        return [hold(top, 1)]
    end = _end(last, floor)
    parameter = power if decay == "polynomial" else None
    return [*level, Knot(start, _ONE, Shape(FALLS[decay], start, end, _ONE, floor, parameter)), hold(end, floor)]


def exponential_to_zero() -> UserError:
    """An exponential never reaches 0."""
    return UserError(
        "decay is exponential and floor is 0, which an exponential never reaches; write a floor such as 1%.",
        "decay 是 exponential 而 floor 是 0，指数衰减永远到不了 0；请写下限，例如 1%。",
    )


def law(top: int, start: int, last: int, floor: Fraction, shape: Shape, crossing: int) -> list[Knot]:
    """Hold the peak to ``start``, follow a law that knows no end, and stop at the floor where the law passes it.

    Args:
        shape: The law, beginning at ``start`` at the peak.
        crossing: The first update at which the law is at or below the floor.
    """
    level = [hold(top, 1)] if start > top else []
    if start >= last:
        return [hold(top, 1)]
    if crossing <= last:
        return [*level, Knot(start, _ONE, shape), hold(crossing, floor)]
    end = Fraction(repr(shape.evaluator(_ONE, SCALAR)(last)))
    return [*level, Knot(start, _ONE, shape), hold(last, end)]


def inverse_sqrt(top: int, start: int, last: int, floor: Fraction, timescale: Fraction) -> list[Knot]:
    """``sqrt(s / (s + k))`` after k updates, until it meets the floor."""
    shape = Shape("inverse_sqrt", start, start, _ONE, _ONE, timescale)
    if floor == 0:
        return law(top, start, last, floor, shape, last + 1)
    meeting = timescale * (1 / floor**2 - 1)
    return law(top, start, last, floor, shape, start + -int(-meeting // 1))


def halving(top: int, start: int, last: int, floor: Fraction, half_life: Fraction) -> list[Knot]:
    """``2 ** (-k / h)`` after k updates, until it meets the floor."""
    if floor == 0:
        raise exponential_to_zero()
    shape = Shape("halving", start, start, _ONE, _ONE, half_life)
    rate = shape.evaluator(_ONE, SCALAR)
    bits: float = -logarithm(float(floor), SCALAR)
    meeting = start + int(float(half_life) * bits)
    while rate(meeting) > float(floor):
        meeting += 1
    return law(top, start, last, floor, shape, max(meeting, start + 1))


def restarts(top: int, last: int, floor: Fraction, cycles: int) -> list[Knot]:
    """So many cosines of equal length (to one update), each from the peak to the floor; between them a jump.

    Raises:
        UserError: The cycles have fewer than two updates each.
    """
    room = last - top + 1
    if cycles < 1 or room < 2 * cycles:
        raise UserError(
            f"cycles is {cycles}, but {room} updates from the peak on hold between 1 and {room // 2} cycles.",
            f"cycles 的值是 {cycles}，而峰值之后的 {room} 个更新步只能容纳 1 到 {room // 2} 个周期。",
        )
    made: list[Knot] = []
    for cycle in range(cycles):
        begin = top + room * cycle // cycles
        end = _end(top + room * (cycle + 1) // cycles - 1, floor)
        made.append(Knot(begin, _ONE, Shape("cosine", begin, end, _ONE, floor)))
        if floor > 0 or cycle == cycles - 1:
            made.append(hold(end, floor))
    return made
