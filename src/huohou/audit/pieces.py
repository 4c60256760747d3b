"""The pieces that curves are made of: one stretch each, of a known formula, over positions that need not be whole.

Values are multiples of the peak, in floating point, by the formulas of the frameworks themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Shape = Callable[[float, float], float]
"""From (x, parameter) to the share of the way from a piece's start to its end: 0 at x = 0 and 1 at x = 1."""


def _cosine(x: float, cycles: float) -> float:
    # The Transformers' form: num_cycles counts whole waves, so half a wave is 0.5.
    return 1.0 - 0.5 * (1.0 + math.cos(2.0 * math.pi * cycles * x))


def _log(x: float, length: float) -> float:
    # DeepSpeed: ln(k + 1) / ln(W), where k = x · W. ``length`` is W.
    return math.log(x * length + 1.0) / math.log(length)


def _power(x: float, exponent: float) -> float:
    return 1.0 - (1.0 - x) ** exponent if x <= 1.0 else 1.0


def _rising_power(x: float, exponent: float) -> float:
    return x**exponent


def _one_minus_root(x: float, _: float) -> float:
    return math.sqrt(max(x, 0.0))


def _root_mirrored(x: float, _: float) -> float:
    return 1.0 - math.sqrt(max(1.0 - x, 0.0))


def _exponential(x: float, base: float) -> float:
    # Megatron's "exponential": 2 · 0.5^x − 1, which is 1 at 0 and 0 at 1.
    return 1.0 - (2.0 * base**x - 1.0)


def _restarts(x: float, cycles: float) -> float:
    # The Transformers' hard restarts: zero from the end on.
    return 1.0 if x >= 1.0 else 1.0 - 0.5 * (1.0 + math.cos(math.pi * ((cycles * x) % 1.0)))


def _rex(x: float, _: float) -> float:
    # axolotl's reflected exponential: z / (0.1 + 0.9 z) of what is left, z = 1 − x.
    return 1.0 - (1.0 - x) / (0.1 + 0.9 * (1.0 - x))


SHAPES: Mapping[str, Shape] = {
    "hold": lambda x, _: 0.0,
    "staircase": lambda x, _: math.floor(x),
    "linear": lambda x, _: x,
    "cosine": _cosine,
    "restarts": _restarts,
    "logarithmic": _log,
    "power": _power,
    "rising power": _rising_power,
    "1-sqrt": _one_minus_root,
    "1-sqrt mirrored": _root_mirrored,
    "exponential": _exponential,
    "rex": _rex,
}
"""How a piece goes from its first value to its last; the others are told by :class:`Piece`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One stretch of a curve.

    Attributes:
        first: The position at which it takes over from the piece before it.
        shape: A name of :data:`SHAPES`, or ``inverse sqrt``: ``start · √(parameter / (parameter + p − first))``, or
            ``geometric``: ``start · parameter^(p − first)``, or ``stairs``: the same, a step every ``span`` positions,
            or ``hyperbolic``: ``start / (1 + parameter · (p − first) / span)``, or ``cycle``: up and down again and
            again, see :func:`_cycle`, or ``warm restarts``: see :func:`_warm_restarts`.
        start: The value (a multiple of the peak) at position ``origin``.
        end: The value after ``span`` positions.
        span: Over how many positions the shape goes from start to end.
        origin: Where the shape begins, if not at ``first``.
        parameter: What the shape needs besides: cycles, an exponent, a length.
        lowest: The value is not allowed below this.
        more: What a shape needs besides its parameter.
        function: The value itself by the position, for what is written as a function in the file; it goes before the
            shape.
    """

    first: float
    shape: str
    start: float
    end: float = 0.0
    span: float = 1.0
    origin: float | None = None
    parameter: float = 0.5
    lowest: float | None = None
    more: tuple[float, ...] = ()
    function: Callable[[float], float] | None = None

    def value(self, position: float) -> float:
        """The multiple of the peak at a position."""
        x = position - (self.first if self.origin is None else self.origin)
        if self.function is not None:
            value = self.start * self.function(x)
        elif self.shape == "cycle":
            value = _cycle(x, self)
        elif self.shape == "warm restarts":
            value = _warm_restarts(x, self)
        elif self.shape == "hyperbolic":
            value = self.start / (1.0 + self.parameter * x / self.span)
        elif self.shape == "inverse sqrt":
            value = self.start * math.sqrt(self.parameter / (self.parameter + x))
        elif self.shape == "geometric":
            value = self.start * self.parameter**x
        elif self.shape == "stairs":
            value = self.start * self.parameter ** (x // self.span)
        elif self.shape == "hold":
            value = self.start
        else:
            share = SHAPES[self.shape](x / self.span, self.parameter)
            # One of the two forms loses nothing where an end is zero.
            value = (
                self.start + (self.end - self.start) * share
                if self.start < self.end
                else (self.end + (self.start - self.end) * _left(self, x, share))
            )
        return value if self.lowest is None else max(self.lowest, value)


def _left(piece: Piece, x: float, share: float) -> float:
    """What is left of a fall. Near its end the complement of the share would cost the digits that a log shows."""
    match piece.shape:
        case "linear":
            return (piece.span - x) / piece.span
        case "cosine":
            return 0.5 * (1.0 + math.cos(2.0 * math.pi * piece.parameter * (x / piece.span)))
        case "power" if x <= piece.span:
            return (1.0 - x / piece.span) ** piece.parameter
        case _:
            return 1.0 - share


def _cycle(x: float, piece: Piece) -> float:
    """Up over ``parameter · span`` positions, down over the rest of ``span``, and again.

    ``more`` is (stairs up, stairs down, by which every cycle is lower, by which every position is lower); stairs of 0
    are a straight line.
    """
    up, down, lower, decay = piece.more or (0.0, 0.0, 1.0, 1.0)
    through = 1.0 + x / piece.span
    cycle = math.floor(through)
    share = through - cycle
    rising = share <= piece.parameter
    scale = share / piece.parameter if rising else (share - 1.0) / (piece.parameter - 1.0)
    stairs = up if rising else down
    if stairs > 0:
        # Counted from whole positions: a share just below a stair would lose a whole one.
        inside, length = x % piece.span, piece.parameter * piece.span
        length = round(length) if abs(length - round(length)) < 1e-9 else length
        place = inside / length if inside <= length else (piece.span - inside) / (piece.span - length)
        stairs = up if inside <= length else down
        scale = math.floor(place * stairs + 1e-9) / stairs
    return piece.start + (piece.end - piece.start) * scale * lower ** (cycle - 1) * decay**x


def _warm_restarts(x: float, piece: Piece) -> float:
    """Cosines from start to end over ``span`` positions, each ``parameter`` times as long as the one before it."""
    inside, length = x, piece.span
    if piece.parameter <= 1.0:
        inside = x % length
    else:
        while inside >= length:
            inside -= length
            length *= piece.parameter
    return piece.end + (piece.start - piece.end) * (1.0 + math.cos(math.pi * inside / length)) / 2.0
