"""A schedule is data: a curve is a list of knots.

The clock: updates are counted from 1 and ``curve(u)`` is the rate that update ``u`` uses; 0 is the origin, before
anything has been made. A knot says the value at its update, as a fraction of the peak, and how the curve leaves it.
Outside its knots a curve is constant, so it can never go negative or rise again.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from huohou.errors import UserError
from huohou.schedule.arithmetic import SCALAR, array_operations
from huohou.schedule.shapes import LAWS, PARAMETERS, Shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 10**15
"""The largest update a curve can speak of: up to here a float holds every update, and neighbours stay apart."""

_EXACT_IN_FLOAT = 2**53
_CHUNK = 8192
"""Updates evaluated at a time: two arrays of this size fit the first-level caches, and memory stays constant."""


@dataclass(frozen=True, slots=True)
class Knot:
    """A point of a curve.

    Attributes:
        update: Where it stands; 0 is the origin, before update 1.
        value: The value there, as a fraction of the peak, between 0 and 1.
        shape: How the curve leaves it.
    """

    update: int
    value: Fraction
    shape: Shape


def hold(update: int, value: Fraction | int) -> Knot:
    """A knot that the curve leaves level."""
    value = Fraction(value)
    return Knot(update, value, Shape("hold", update, update, value, value))


def knots(
    points: Sequence[tuple[int, Fraction | int | float | str, str | tuple[str, Fraction | int]]],
) -> tuple[Knot, ...]:
    """Knots from ``(update, value, shape)`` where each shape spans exactly the way to the next knot.

    Args:
        points: In rising order of updates. A shape is a name, or a name and its parameter; the last one's is ignored.
            Floats are taken as the decimals they print as.

    Example:
        >>> Curve(Fraction("3e-4"), knots([(0, 0, "linear"), (100, 1, "cosine"), (1000, "0.1", "hold")]))(1)
        3e-06
    """
    values = [Fraction(str(value)) for _, value, _ in points]
    made: list[Knot] = []
    for i, (update, _, shape) in enumerate(points):
        name, parameter = (shape, None) if isinstance(shape, str) else (shape[0], Fraction(shape[1]))
        if i + 1 == len(points) or name == "hold":
            made.append(hold(update, values[i]))
        else:
            following = hold(points[i + 1][0], values[i + 1])
            made.append(Knot(update, values[i], natural_shape(name, update, values[i], following, parameter)))
    return tuple(made)


def natural_shape(name: str, update: int, value: Fraction, following: Knot | None, parameter: Fraction | None) -> Shape:
    """The shape of this name that spans the way from its knot to the next one: what a knot means without a span."""
    if following is None or name == "hold" or name in LAWS:
        return Shape(name, update, update, value, value, parameter)
    return Shape(name, update, following.update, value, following.value, parameter)


@dataclass(frozen=True, slots=True)
class Curve:
    """The rate of every update.

    Attributes:
        peak: The rate that a value of 1 stands for.
        knots: In strictly rising order of updates.
        updates: T, the last update that the curve was made for; ``None`` where the end is open. Evaluation does not
            depend on it: it is the window of :attr:`fingerprint`.
    """

    peak: Fraction
    knots: tuple[Knot, ...]
    updates: int | None = None
    _segments: tuple[list[int], list[float], list[Callable[[Any], Any]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A rate is a float in the end, and so is the peak: its decimal is what stands in every file.
        object.__setattr__(self, "peak", Fraction(repr(float(self.peak))))
        if self.peak <= 0:
            raise UserError(
                f"the peak of a curve is {float(self.peak)}, but it must be above 0.",
                f"曲线的峰值是 {float(self.peak)}，应大于 0。",
            )
        if not self.knots:
            raise UserError("a curve needs at least one knot.", "曲线至少需要一个节点。")
        previous: int | None = None
        for knot in self.knots:
            if abs(knot.update) > LONGEST or (previous is not None and knot.update <= previous):
                raise UserError(
                    f"the knot at update {knot.update} follows the one at {previous}: updates must rise and stay "
                    f"below {LONGEST}.",
                    f"节点 {knot.update} 排在 {previous} 之后：更新步必须递增，且不超过 {LONGEST}。",
                )
            if not 0 <= knot.value <= 1:
                raise UserError(
                    f"the knot at update {knot.update} has the value {float(knot.value)}, which is not between 0 and "
                    "the peak (1).",
                    f"节点 {knot.update} 的值是 {float(knot.value)}，不在 0 与峰值 (1) 之间。",
                )
            previous = knot.update
        object.__setattr__(
            self,
            "_segments",
            (
                [knot.update for knot in self.knots],
                [float(self.peak * knot.value) for knot in self.knots],
                [_scalar_evaluator(knot.shape, self.peak) for knot in self.knots],
            ),
        )

    def __call__(self, update: int) -> float:
        """The rate that this update uses; constant before the first knot and after the last."""
        updates, rates, evaluators = self._segments
        i = bisect_right(updates, update) - 1
        if i < 0:
            return rates[0]
        if i == len(updates) - 1 or updates[i] == update:
            return rates[i]
        return evaluators[i](update)

    def stream(self, first: int, last: int, chunk: int = _CHUNK) -> Iterator[NDArray[np.float64]]:
        """The rates of ``first`` … ``last`` (both included) in arrays of at most ``chunk``, in constant memory."""
        import numpy as np

        ops = array_operations()
        updates, rates, _ = self._segments
        vectors: dict[int, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {}
        for begin in range(first, last + 1, chunk):
            end = min(begin + chunk - 1, last)
            out = np.empty(end - begin + 1)
            i = bisect_right(updates, begin) - 1
            at = begin
            while at <= end:
                stop = end if i == len(updates) - 1 else min(end, updates[i + 1] - 1)
                part = out[at - begin : stop - begin + 1]
                if i < 0 or i == len(updates) - 1:
                    part[:] = rates[max(i, 0)]
                else:
                    if i not in vectors:
                        vectors = {i: _vector_evaluator(self.knots[i].shape, self.peak, ops, updates[i + 1])}
                    part[:] = vectors[i](np.arange(at, stop + 1, dtype=np.float64))
                    if at == updates[i]:
                        part[0] = rates[i]
                at, i = stop + 1, i + 1
            yield out

    def vector(self, first: int, last: int) -> NDArray[np.float64]:
        """The rates of ``first`` … ``last``, both included, as one float64 array."""
        import numpy as np

        return np.concatenate([np.empty(0), *self.stream(first, last)])

    def total(self, first: int, last: int) -> float:
        """The sum of the rates of ``first`` … ``last``: the area under the curve."""
        return math.fsum(float(part.sum()) for part in self.stream(first, last))

    @property
    def fingerprint(self) -> str:
        """A hash of the canonical knots: equal for curves that use the same rates in updates 1 … T."""
        last = self.updates if self.updates is not None else max(1, self.knots[-1].update)
        return hashlib.sha256(json.dumps(_canonical(self, last)).encode()).hexdigest()[:16]

    def to_plain(self) -> dict[str, Any]:
        """Plain data that JSON can hold and :meth:`from_plain` reads back to an equal curve."""
        return {
            "peak": float(self.peak),
            "updates": self.updates,
            "knots": [
                self._plain_knot(knot, self.knots[i + 1] if i + 1 < len(self.knots) else None)
                for i, knot in enumerate(self.knots)
            ],
        }

    def _plain_knot(self, knot: Knot, following: Knot | None) -> dict[str, Any]:
        shape = knot.shape
        plain: dict[str, Any] = {
            "update": knot.update,
            "value": float(knot.value),
            "rate": float(self.peak * knot.value),
            "shape": shape.name,
        }
        if Fraction(repr(plain["value"])) != knot.value:
            plain["exact_value"] = str(knot.value)
        parameter = PARAMETERS[shape.name]
        if parameter is not None:
            plain[parameter] = _plain_number(shape.parameter or Fraction(0))
        if shape != natural_shape(shape.name, knot.update, knot.value, following, shape.parameter):
            plain["span"] = {
                "start": shape.start,
                "end": shape.end,
                "first": _plain_number(shape.first),
                "last": _plain_number(shape.last),
            }
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Curve:
        """The curve that :meth:`to_plain` wrote.

        Raises:
            UserError: The data is no curve.
        """
        try:
            rows = list(plain["knots"])
            points = [(int(row["update"]), Fraction(str(row.get("exact_value", row["value"])))) for row in rows]
            made: list[Knot] = []
            for i, row in enumerate(rows):
                following = Knot(*points[i + 1], hold(0, 0).shape) if i + 1 < len(rows) else None
                name = str(row.get("shape", "hold"))
                parameter = PARAMETERS.get(name)
                size = None if parameter is None else Fraction(str(row[parameter]))
                span = row.get("span")
                if span is None:
                    shape = natural_shape(name, *points[i], following, size)
                else:
                    ends = (Fraction(str(span["first"])), Fraction(str(span["last"])))
                    shape = Shape(name, int(span["start"]), int(span["end"]), *ends, size)
                made.append(Knot(*points[i], shape))
            updates = plain.get("updates")
            return cls(Fraction(str(plain["peak"])), tuple(made), None if updates is None else int(updates))
        except (KeyError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
            raise UserError(
                f"this is no curve: {type(error).__name__} {error}; a curve has peak, updates and knots.",
                f"这不是曲线：{type(error).__name__} {error}；曲线应有 peak、updates 和 knots。",
            ) from error


def _plain_number(number: Fraction) -> int | float | str:
    if number.denominator == 1:
        return int(number)
    return float(number) if Fraction(repr(float(number))) == number else str(number)


def _scalar_evaluator(shape: Shape, peak: Fraction) -> Callable[[Any], Any]:
    line = shape.line(peak)
    if line is None:
        return shape.evaluator(peak, SCALAR)
    a, b, d = line
    # Python divides whole numbers with one correct rounding, so a straight line is exact to the last bit.
    return lambda u: (a + b * u) / d


def _vector_evaluator(shape: Shape, peak: Fraction, ops: Any, last: int) -> Callable[[Any], Any]:
    import numpy as np

    line = shape.line(peak)
    if line is None:
        return shape.evaluator(peak, ops)
    a, b, d = line
    if max(abs(a), abs(b) * max(last, abs(shape.start)), d) * 2 < _EXACT_IN_FLOAT:
        return lambda u: (a + b * u) / d
    # The whole numbers do not fit a float: the exact quotient is then taken one by one, which is slower.
    return lambda u: np.array([(a + b * int(x)) / d for x in u], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Way:
    """What happens strictly between two knots: a description that equal ways share, the rate there, and how far."""

    description: tuple[Any, ...]
    rate: Callable[[int], float]
    first: float
    last: float

    def passes(self, curve: Curve, update: int) -> bool:
        """Whether this way gives the curve's rate at an update."""
        return self.first <= update <= self.last and self.rate(update) == curve(update)


def _way(shape: Shape, peak: Fraction) -> _Way:
    evaluate = _scalar_evaluator(shape, peak)
    line = shape.line(peak)
    if line is not None:
        a, b, d = line
        return _Way(("line", str(Fraction(a, d)), str(Fraction(b, d))), evaluate, -math.inf, math.inf)
    parameter = None if shape.parameter is None else str(shape.parameter)
    first = float(shape.first * peak).hex()
    if shape.name in LAWS:
        return _Way((shape.name, shape.start, first, parameter), evaluate, shape.start, math.inf)
    ends = (shape.start, shape.end, first, float(shape.last * peak).hex())
    return _Way((shape.name, *ends, parameter), evaluate, shape.start, shape.end)


def _canonical(curve: Curve, last: int) -> list[Any]:
    """The knots that matter in 1 … ``last``, in one spelling.

    A knot is left out where the way before it, running on, passes through it and goes the same way as the one after
    it. A step of one update has no inside, so it counts as part of the way after it where that passes through both of
    its ends, else of the way before it.
    """
    updates = [knot.update for knot in curve.knots]
    places = [1, *(u for u in updates if 1 < u < last)] + ([last] if last > 1 else [])
    ways: list[_Way | None] = [None] * len(places)
    for i in reversed(range(len(places) - 1)):
        if places[i + 1] - places[i] > 1:
            k = bisect_right(updates, places[i]) - 1
            outside = k < 0 or k == len(updates) - 1
            shape = hold(places[i], curve.knots[max(k, 0)].value).shape if outside else curve.knots[k].shape
            ways[i] = _way(shape, curve.peak)
        else:
            after = ways[i + 1]
            ways[i] = after if after is not None and after.passes(curve, places[i]) else None
    kept: list[tuple[int, _Way | None]] = []
    for place, way in zip(places[:-1], ways[:-1], strict=True):
        before = kept[-1][1] if kept else None
        same = before is not None and (way is None or way.description == before.description)
        if not (same and before is not None and before.passes(curve, place)):
            kept.append((place, way))
    kept.append((places[-1], None))
    return [[place, curve(place).hex(), way and way.description] for place, way in kept]
