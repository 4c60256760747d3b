"""The learning rate that a framework applies: pieces of known formulas over positions that need not be whole.

Frameworks count differently: in updates from 0 or from −1, in samples, in micro-batches. An :class:`Applied` curve
keeps a framework's own positions, says how an update comes to one of them, and what happens past the end. Curves may
be multiplied (chained schedulers, damped ones). Values are multiples of the peak, in floating point, by the formulas
of the frameworks themselves, and agree with what they apply to 1e-12 of the peak.

Updates are counted from 1, as everywhere in huohou; a framework's own index of update ``u`` is usually ``u − 1``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from huohou.errors import UserError

Past = Literal["holds", "goes on", "raises", "zero"]
"""What a scheduler does when it is asked beyond its own end: keep its last value, follow its formula (which may
rebound or go below zero), raise an error, or give zero."""

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


@dataclass(frozen=True, slots=True)
class Applied:
    """What a framework uses in each of the updates 1…``updates``.

    Attributes:
        peak: The rate that the multiples refer to.
        updates: The updates that the run makes.
        pieces: In order of their first positions.
        offset, scale: Update u stands at position ``offset + scale · (u − 1)``.
        lowest_position: A position below this counts as this one (DeepSpeed's −1).
        steps: For schedulers that run in leaps (prepared by Accelerate): the position of an update by number, in the
            place of offset and scale.
        end: The scheduler's own last position, where it has one.
        past: What it does beyond it.
        factors: Curves that multiply this one, each with its own positions (their peaks are 1).
        overrides: Rates of single updates that follow no formula (by number).
        held: So many updates in a row stand at one position (a scheduler that is stepped once an epoch or a rollout).
    """

    peak: float
    updates: int
    pieces: tuple[Piece, ...]
    offset: float = 0.0
    scale: float = 1.0
    lowest_position: float | None = None
    end: float | None = None
    past: Past = "goes on"
    factors: tuple[Applied, ...] = ()
    overrides: Mapping[int, float] = field(default_factory=dict[int, float])
    held: int = 1

    def __post_init__(self) -> None:
        if not self.pieces:
            raise ValueError("a curve has at least one piece")
        if any(a.first > b.first for a, b in pairwise(self.pieces)):
            raise ValueError("pieces come in the order of their positions")

    def position(self, update: int) -> float:
        """Where the framework's scheduler stands in an update (from 1)."""
        position = self.offset + self.scale * ((update - 1) // self.held)
        return position if self.lowest_position is None else max(position, self.lowest_position)

    def value(self, update: int) -> float:
        """The multiple of the peak that an update (from 1, past the end too) uses.

        Raises:
            UserError: The framework raises an error there.
        """
        position = self.position(update)
        if self.end is not None and position > self.end:
            if self.past == "raises":
                raise UserError(
                    f"update {update} is past the scheduler's end, where the framework raises an error.",
                    f"更新步 {update} 超出调度器的终点，框架会在此报错。",
                )
            if self.past == "zero":
                return 0.0
            if self.past == "holds":
                position = self.end
        piece = self.pieces[0]
        for other in self.pieces[1:]:
            if position < other.first:
                break
            piece = other
        value = piece.value(position)
        for factor in self.factors:
            value *= factor.value(update)
        return value

    def rate(self, update: int) -> float:
        """The learning rate that an update (from 1) uses."""
        if update in self.overrides:
            return self.overrides[update]
        return self.peak * self.value(update)

    def __call__(self, update: int) -> float:
        return self.rate(update)

    def rates(self, first: int = 1, last: int | None = None) -> Iterator[float]:
        """The rates of the updates first…last (to the end), one after the other."""
        for update in range(first, (self.updates if last is None else last) + 1):
            yield self.rate(update)

    def made_for(self, updates: int) -> Applied:
        """The same scheduler in a run of another number of updates."""
        return replace(self, updates=updates)


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
