"""What a conversion aims at: a curve, and the places and levels in it from which a search can begin.

Every framework counts differently, so all places are said in updates: the start of a rise may lie at update 0, at 1 or
between two updates. They are only where the search begins; what decides is the curve itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from huohou.audit.applied import Applied
from huohou.audit.looking import look, looked_at
from huohou.audit.pieces import Piece
from huohou.errors import UserError

_ALL = 300
"""Updates that a search looks at one by one; of longer runs both ends, the seams and an even grid are."""


@dataclass(frozen=True, slots=True)
class Way:
    """One piece of a curve, in updates.

    Attributes:
        shape: As :class:`huohou.audit.pieces.Piece` names it.
        start_at, end_at: The updates (not always whole) at which it begins and ends.
        start, end: Its values there, as multiples of the peak.
        parameter: Its parameter; a length is one in updates.
    """

    shape: str
    start_at: float
    end_at: float
    start: float
    end: float
    parameter: float

    def at(self, update: float) -> float:
        """The value on the straight line through both ends."""
        return self.start + (self.end - self.start) * (update - self.start_at) / ((self.end_at - self.start_at) or 1.0)


_LAWS = ("inverse sqrt", "geometric", "stairs")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The curve to be reached.

    Attributes:
        curve: What is applied (or meant) in each update.
        versions: Of frameworks, as the flags say them: the conversion is read back with them.
        sample: The updates that the search compares.
        rates: The curve's rates there.
        rise, fall: The way up to the peak and the last way down, where there are such.
        highest: The highest rate that is used.
    """

    curve: Applied
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    sample: Sequence[int] = ()
    rates: Sequence[float] = ()
    rise: Way | None = None
    fall: Way | None = None
    highest: float = 0.0

    @classmethod
    def of(cls, curve: Applied, versions: Mapping[str, str] | None = None) -> Wanted:
        """Look a curve over.

        Raises:
            UserError: No update of it uses a rate above 0.
        """
        seen = look(curve)
        if not curve.peak > 0 or not seen.peak > 0 or not math.isfinite(seen.peak):
            raise UserError(
                "no update uses a rate above 0, so there is no curve to convert.",
                "没有任何更新步的学习率大于 0，无法转换。",
            )
        sample = _sample(curve)
        ways = [_way(curve, piece) for piece in curve.pieces]
        rise, fall = _rise(ways), _fall(ways)
        if curve.factors or (rise is None and curve.value(1) < 0.999 * seen.peak / curve.peak):
            rise = _seen_rise(curve, sample)
        if curve.factors or (fall is None and curve.value(curve.updates) < 0.999 * seen.peak / curve.peak):
            fall = _seen_fall(curve, sample)
        return cls(curve, dict(versions or {}), sample, [curve.rate(u) for u in sample], rise, fall, seen.peak)

    @property
    def updates(self) -> int:
        """T."""
        return self.curve.updates

    @property
    def lagging(self) -> int:
        """The warmup, in updates, of a framework that first uses its peak in update W + 1."""
        return max(0, self.top - 1)

    @property
    def peak(self) -> float:
        """The configured peak."""
        return self.curve.peak

    @property
    def top(self) -> int:
        """The update at which the peak is reached, about; 1 where nothing rises."""
        return max(1, round(self.rise.end_at)) if self.rise else 1

    @property
    def first(self) -> float:
        """The value of update 1."""
        return min(max(self.curve.value(1), 0.0), 1.0)

    @property
    def last(self) -> float:
        """The value of the last update, not below 0."""
        return min(max(self.curve.value(self.updates), 0.0), 1.0)

    @property
    def start(self) -> float:
        """The value at which the rise begins."""
        return max(0.0, self.rise.start) if self.rise else 0.0

    @property
    def turn(self) -> int:
        """The update from which the curve falls, about; past the end where it does not."""
        return max(self.top, round(self.fall.start_at)) if self.fall else self.updates + 1

    @property
    def foot(self) -> int:
        """The update at which the fall ends, about; one past the end where nothing says."""
        if self.fall is None or self.fall.shape in _LAWS or not self.fall.end_at < 1e12:
            return self.updates + 1
        return max(self.turn + 1, round(self.fall.end_at))

    @property
    def floor(self) -> float:
        """The value at which the fall ends."""
        if self.fall is None:
            return 1.0
        return self.last if self.fall.shape in _LAWS else min(max(self.fall.end, 0.0), 1.0)

    @property
    def power(self) -> float:
        """The exponent of a polynomial fall; 1 where it is none."""
        return self.fall.parameter if self.fall is not None and self.fall.shape == "power" else 1.0

    @property
    def finished(self) -> float:
        """Which part of the fall the run makes: 1 for all of it."""
        if self.fall is None or self.foot <= self.updates + 1:
            return 1.0
        return max(0.0, (self.updates + 1 - self.turn) / max(1, self.foot - self.turn))


def _way(curve: Applied, piece: Piece) -> Way:
    scale = (curve.scale or 1.0) / curve.held

    def update(position: float) -> float:
        return 1.0 + (position - curve.offset) / scale

    origin = piece.first if piece.origin is None else piece.origin
    parameter = piece.parameter
    if piece.shape == "inverse sqrt":
        parameter /= scale
    elif piece.shape == "geometric":
        parameter **= scale
    span = piece.span
    if piece.shape == "cosine" and parameter > 0:
        # So many waves over the span are half a wave over a shorter or longer one.
        span, parameter = span * 0.5 / parameter, 0.5
    end = piece.start if piece.shape in ("hold", *_LAWS) else piece.end
    return Way(piece.shape, update(origin), update(origin + span), piece.start, end, parameter)


def _rise(ways: list[Way]) -> Way | None:
    return next((way for way in ways if way.end > way.start and way.shape != "hold"), None)


def _fall(ways: list[Way]) -> Way | None:
    falling = [way for way in ways if way.end < way.start or way.shape in _LAWS]
    return falling[-1] if falling else None


def _seen_rise(curve: Applied, sample: Sequence[int]) -> Way | None:
    top = max(sample, key=curve.rate)
    return Way("linear", 0.0, float(top), 0.0, 1.0, 0.5) if top > 1 else None


def _seen_fall(curve: Applied, sample: Sequence[int]) -> Way | None:
    highest = max(curve.rate(u) for u in sample)
    turn = max(u for u in sample if curve.rate(u) >= highest * (1 - 1e-9))
    last = curve.value(curve.updates)
    if last >= highest / curve.peak:
        return None
    foot = next(u for u in sample if u > turn and abs(curve.value(u) - last) <= 1e-9)
    return Way("cosine", float(turn), float(foot), 1.0, max(0.0, last), 0.5)


def _sample(curve: Applied) -> list[int]:
    end = curve.updates
    if end <= _ALL:
        return list(range(1, end + 1))
    # The seams are among the places that the audit looks at; of those an even share is enough for a search.
    found = {*range(1, 21), *range(end - 20, end + 1), *(1 + (end - 1) * step // 200 for step in range(201))}
    found.update(list(curve.overrides)[:_ALL])
    for part in (curve, *curve.factors):
        for piece in part.pieces:
            origin = piece.first if piece.origin is None else piece.origin
            for position in (piece.first, origin + piece.span):
                if part.scale and abs(position) < 1e15:
                    seam = int((position - part.offset) / part.scale) + 1
                    found.update(range(max(1, seam - 2), min(end, seam + 2) + 1))
    return sorted(update for update in found if 1 <= update <= end)


@dataclass(frozen=True, slots=True)
class Apart:
    """The largest difference of two curves, as a share of the peak, and the first update that has it."""

    share: float
    update: int

    @property
    def same(self) -> bool:
        """Whether the two are the same in every update, as far as formulas in floating point are."""
        return self.share <= 1e-12


def apart(one: Applied, other: Applied, peak: float) -> Apart:
    """Where two curves of the same length differ most."""
    largest, at = 0.0, 1
    for update in sorted({*looked_at(one), *looked_at(other.made_for(one.updates))}):
        distance = abs(one.rate(update) - other.rate(update)) / peak
        # Of updates that are equally far apart but for the last digit, the first one is told.
        if not distance <= largest + 1e-13:
            largest, at = distance, update
    return Apart(largest, at)
