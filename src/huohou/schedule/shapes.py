"""How a curve goes from one knot to the next.

A :class:`Shape` is a name, at most one parameter, and **its own span**: the two updates and the two values between
which it runs. The span stays with the shape when a curve is cut or moved, so that a piece of a cosine is still a piece
of that cosine, to the bit. Inside the span, ``x`` is the share of the way from the lower end to the higher one, and
a shape says how far the value has come from low to high, ``w(x)``:

================  =====================================================  ===========================
name              ``w(x)`` or the law                                     parameter
================  =====================================================  ===========================
``hold``          the first value throughout                             –
``linear``        ``x``, in exact rational arithmetic                    –
``cosine``        ``(1 - cos(pi x)) / 2``                                –
``1-sqrt``        ``1 - sqrt(1 - x)``                                    –
``power``         ``x ** p``                                             ``power`` p > 0
``exponential``   ``(B**x - 1) / (B - 1)``                               ``base`` B > 1
``logarithmic``   ``log(1 + x (B - 1)) / log B``                         ``base`` B > 1
``geometric``     a constant factor an update, ``first`` to ``last``     –
``halving``       ``first * 2 ** (-k / h)``, k updates after the start   ``half_life`` h > 0
``inverse_sqrt``  ``first * sqrt(s / (s + k))``                          ``timescale`` s > 0
================  =====================================================  ===========================

The last two are laws without an end of their own: their span has no last value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from huohou.errors import UserError
from huohou.schedule.arithmetic import SCALAR, Operations, logarithm, power_of_two, rising_cosine

PARAMETERS: dict[str, str | None] = {
    "hold": None,
    "linear": None,
    "cosine": None,
    "1-sqrt": None,
    "power": "power",
    "exponential": "base",
    "logarithmic": "base",
    "geometric": None,
    "halving": "half_life",
    "inverse_sqrt": "timescale",
}
"""Every shape's name, and the name of its parameter."""

LAWS = frozenset({"halving", "inverse_sqrt"})
"""Shapes that follow a law from their start and have no end of their own."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A named way from (``start``, ``first``) to (``end``, ``last``).

    Attributes:
        name: One of :data:`PARAMETERS`.
        start: The update at which the span begins.
        end: The update at which it ends, after ``start``; for a hold or a law, anywhere.
        first: The value at ``start``, as a fraction of the peak.
        last: The value at ``end``; not used by a hold or a law.
        parameter: The shape's parameter, where it has one.
    """

    name: str
    start: int
    end: int
    first: Fraction
    last: Fraction
    parameter: Fraction | None = None

    def __post_init__(self) -> None:
        if self.name not in PARAMETERS:
            known = ", ".join(PARAMETERS)
            raise UserError(
                f"a knot's shape is {self.name!r}, which does not exist; the shapes are {known}.",
                f"节点的形状 {self.name!r} 不存在；可用的形状有 {known}。",
            )
        parameter = PARAMETERS[self.name]
        limit = 1 if parameter == "base" else 0
        if parameter is not None and (self.parameter is None or self.parameter <= limit):
            raise UserError(
                f"the shape {self.name} needs a {parameter} above {limit}, not {self.parameter}.",
                f"形状 {self.name} 需要大于 {limit} 的 {parameter}，而不是 {self.parameter}。",
            )
        if self.name == "geometric" and (self.first <= 0 or self.last <= 0):
            raise UserError(
                f"a geometric shape runs between values above 0, not from {self.first} to {self.last}.",
                f"geometric 形状的两端必须大于 0，而不是从 {self.first} 到 {self.last}。",
            )
        if not self.constant and self.name not in LAWS and self.end <= self.start:
            raise UserError(
                f"the shape {self.name} ends at update {self.end}, which is not after its start {self.start}.",
                f"形状 {self.name} 的终点 {self.end} 不在起点 {self.start} 之后。",
            )

    @property
    def constant(self) -> bool:
        """Whether the shape keeps one value."""
        return self.name == "hold" or (self.name not in LAWS and self.first == self.last)

    def shift(self, updates: int) -> Shape:
        """The same shape, this many updates later."""
        return Shape(self.name, self.start + updates, self.end + updates, self.first, self.last, self.parameter)

    def scale(self, factor: Fraction) -> Shape:
        """The same shape with its values multiplied."""
        return Shape(self.name, self.start, self.end, self.first * factor, self.last * factor, self.parameter)

    def line(self, peak: Fraction) -> tuple[int, int, int] | None:
        """``(a, b, d)`` such that the rate of update u is ``(a + b u) / d`` exactly; ``None`` if it is no line."""
        if self.constant:
            rate = self.first * peak
            return rate.numerator, 0, rate.denominator
        if self.name != "linear":
            return None
        slope = (self.last - self.first) * peak / (self.end - self.start)
        origin = self.first * peak - slope * self.start
        denominator = slope.denominator * origin.denominator
        return int(origin * denominator), int(slope * denominator), denominator

    def evaluator(self, peak: Fraction, ops: Operations) -> Callable[[Any], Any]:
        """A function from an update (or an array of them) to its rate, for shapes that are no lines."""
        start = self.start
        first = float(self.first * peak)
        if self.name in LAWS:
            scale = float(self.parameter or 0)
            if self.name == "inverse_sqrt":
                return lambda u: first * ops.sqrt(scale / (scale + (u - start)))
            return lambda u: first * power_of_two((start - u) / scale, ops)
        last = float(self.last * peak)
        length, end = self.end - start, self.end
        low, high = min(first, last), max(first, last)
        rising = self.last > self.first
        if self.name == "geometric":
            doublings: float = logarithm(high / low, SCALAR)
            if rising:
                return lambda u: ops.minimum(low * power_of_two((u - start) / length * doublings, ops), high)
            return lambda u: ops.minimum(low * power_of_two((end - u) / length * doublings, ops), high)
        way, room = self._way(ops), high - low
        if rising:
            return lambda u: ops.minimum(low + room * way((u - start) / length), high)
        return lambda u: ops.minimum(low + room * way((end - u) / length), high)

    def _way(self, ops: Operations) -> Callable[[Any], Any]:
        """``w(x)`` for x in [0, 1]: never falling, 0 at 0, 1 at 1."""
        match self.name:
            case "cosine":
                return lambda x: rising_cosine(x, ops)
            case "1-sqrt":
                # The usual form 1 - sqrt(1 - x) loses all digits of a small x.
                return lambda x: x / (1.0 + ops.sqrt(1.0 - x))
            case "power":
                return self._power(float(self.parameter or 1), ops)
            case "exponential":
                base = float(self.parameter or 2)
                bits: float = logarithm(base, SCALAR)
                return lambda x: (power_of_two(x * bits, ops) - 1.0) / (base - 1.0)
            case _:
                base = float(self.parameter or 2)
                whole_way: float = logarithm(base, SCALAR)
                return lambda x: logarithm(1.0 + x * (base - 1.0), ops) / whole_way

    @staticmethod
    def _power(power: float, ops: Operations) -> Callable[[Any], Any]:
        if power == 1.0:
            return lambda x: x
        if power == 2.0:
            return lambda x: x * x
        if power == 0.5:
            return ops.sqrt
        # x is a whole number of updates over another: where it is not 0, it is above 1e-16.
        return lambda x: ops.where(x > 0.0, power_of_two(power * logarithm(x + (x <= 0.0), ops), ops), 0.0)
