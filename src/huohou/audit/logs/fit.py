"""Fitting one kind of curve to a log, and deciding which members of it reproduce every rate within its printed digits.

The peak is a factor, so it needs no search: each logged rate leaves an interval for it, and a curve explains the log
where all of these meet. W, T and the decay are found by least squares on some of the points and then as whole numbers
around the solution; the floor is a short number or what the log's end shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from huohou.audit.applied import Applied
from huohou.audit.logs.families import Kind, Member, Shape
from huohou.audit.logs.log import Logged


@dataclass(frozen=True, slots=True)
class Sample:
    """A logged rate: after so many applied updates, between ``low`` and ``high``.

    ``late``: the update beside it may itself have been skipped, so that a rate that was read before it belongs to one
    applied update more.
    """

    made: int
    rate: float
    low: float
    high: float
    late: bool = False


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve that explains a log, or the nearest that was found.

    Attributes:
        kind, member: Which.
        shape: W, T, floor and decay.
        peak: The peak.
        logged: Whether the rate beside an update is its own or that of the next one.
        residual: The largest distance to a logged rate, as a share of the peak.
        exact: Whether it reproduces every rate within its printed digits.
        ended: Whether the log shows the end of the decay, so that T and floor are its own.
    """

    kind: Kind
    member: Member
    shape: Shape
    peak: float
    logged: Logged
    residual: float
    exact: bool

    @property
    def ahead(self) -> int:
        """By how many updates the logged rate is ahead of the update beside it."""
        return 1 if self.logged == "next" else 0

    def curve(self, updates: int) -> Applied:
        """The explained curve of a run of so many updates."""
        return replace(self.member.build(self.shape), peak=self.peak, updates=updates)


@dataclass(frozen=True, slots=True)
class Phases:
    """Where a log rises, stays and falls, in applied updates; ``None`` where it does not."""

    rise_ends: int | None
    fall_begins: int | None
    top: float
    last: float
    flat: bool
    """Whether the top was logged twice or more."""


def phases(samples: Sequence[Sample]) -> Phases:
    """What the log looks like."""
    top = max(sample.rate for sample in samples)
    at_top = [place for place, sample in enumerate(samples) if sample.high >= top]
    first, last = at_top[0], at_top[-1]
    # Of a curve that rises again and again the first top counts, however exactly it was met.
    for place in range(first):
        if samples[place].rate > 0.5 * top and samples[place + 1].high < samples[place].low:
            first = place
            break
    return Phases(
        samples[first].made if first > 0 else None,
        samples[last].made if last < len(samples) - 1 else None,
        top,
        samples[-1].rate,
        len(at_top) > 1,
    )


def peak_interval(curve: Applied, samples: Iterable[Sample], ahead: int) -> tuple[float, float] | None:
    """The peaks at which a curve (of peak 1) meets every sample; ``None`` where there is none."""
    low, high = 0.0, math.inf
    for sample in samples:
        both = (0, 1) if sample.late and not ahead else (0,)
        for more in both:
            value = curve.value(sample.made + ahead + more)
            if value <= 1e-15:
                if sample.low <= 0 <= sample.high:
                    break
                continue
            least, most = max(low, sample.low / value), min(high, sample.high / value)
            if least <= most:
                low, high = least, most
                break
        else:
            return None
    return (low, high) if math.isfinite(high) else None


def gap(curve: Applied, samples: Iterable[Sample], ahead: int) -> float:
    """How far the intervals of the peak are from meeting, as a share of it; below 0 where they meet."""
    low, high = 0.0, math.inf
    for sample in samples:
        value = curve.value(sample.made + ahead)
        if value > 1e-15:
            low, high = max(low, sample.low / value), min(high, sample.high / value)
    return low / high - 1 if high > 0 else math.inf


def shortest(low: float, high: float) -> float:
    """The number with the fewest digits in an interval: people write short numbers."""
    middle = (low + high) / 2
    for digits in range(1, 17):
        number = float(f"{middle:.{digits - 1}e}")
        if low <= number <= high:
            return number
    return middle


def digits(number: float) -> int:
    """How many significant digits a number needs."""
    for count in range(1, 17):
        if float(f"{number:.{count - 1}e}") == number:
            return count
    return 17


def thinned(samples: Sequence[Sample], most: int = 40) -> list[Sample]:
    """Some samples that show the whole: both ends, the bends, and an even grid."""
    if len(samples) <= most:
        return list(samples)
    top = max(range(len(samples)), key=lambda place: samples[place].rate)
    chosen = {0, 1, 2, len(samples) - 1, len(samples) - 2, *range(max(0, top - 2), min(len(samples), top + 4))}
    chosen |= {round(step * (len(samples) - 1) / (most - 1)) for step in range(most)}
    # The rise is often short: it has samples of its own.
    chosen |= {round(step * top / 8) for step in range(9)}
    return [samples[place] for place in sorted(chosen)]


def scaled(curve: Applied, samples: Sequence[Sample], lead: float) -> tuple[float, list[float]]:
    """The peak of least squares and what it leaves."""
    # A lead between 0 and 1 stands between two updates, for the search only.
    places = [curve.offset + curve.scale * (sample.made + lead - 1) for sample in samples]
    values = [_at(curve, place) for place in places]
    squares = sum(value * value for value in values)
    if squares <= 0:
        return 0.0, [sample.rate for sample in samples]
    peak = sum(value * sample.rate for value, sample in zip(values, samples, strict=True)) / squares
    return peak, [sample.rate - peak * value for sample, value in zip(samples, values, strict=True)]


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """A small linear system by elimination."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for place in range(size):
        pivot = max(range(place, size), key=lambda row: abs(rows[row][place]))
        if abs(rows[pivot][place]) < 1e-300:
            return None
        rows[place], rows[pivot] = rows[pivot], rows[place]
        for row in range(place + 1, size):
            factor = rows[row][place] / rows[place][place]
            for column in range(place, size + 1):
                rows[row][column] -= factor * rows[place][column]
    found = [0.0] * size
    for place in reversed(range(size)):
        rest = sum(rows[place][column] * found[column] for column in range(place + 1, size))
        found[place] = (rows[place][size] - rest) / rows[place][place]
    return found


def _at(curve: Applied, position: float) -> float:
    piece = curve.pieces[0]
    for other in curve.pieces[1:]:
        if position < other.first:
            break
        piece = other
    return piece.value(position)


def least_squares(
    kind: Kind, start: Shape, samples: Sequence[Sample], free: tuple[str, ...], rounds: int = 25
) -> tuple[Shape, float]:
    """Levenberg and Marquardt on the free parameters, the peak eliminated. Gives the largest residual too, in peaks."""
    build = kind.members[0].build

    def left(shape: Shape) -> tuple[float, list[float]]:
        _, rest = scaled(build(shape), samples, shape.lead)
        return sum(value * value for value in rest), rest

    shape, damping = start, 1e-3
    cost, rest = left(shape)
    top = max(sample.rate for sample in samples) or 1.0
    for _ in range(rounds if free else 0):
        columns: list[list[float]] = []
        for name in free:
            value = float(getattr(shape, name))
            step = 1e-5 if name == "floor" else max(1e-4 * abs(value), 1e-3)
            _, moved = left(replace(shape, **{name: value + step}))
            columns.append([(b - a) / step for a, b in zip(rest, moved, strict=True)])
        normal = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in columns] for x in columns]
        ridge = 1e-12 * max((row[place] for place, row in enumerate(normal)), default=0.0)
        slope = [-sum(a * b for a, b in zip(x, rest, strict=True)) for x in columns]
        better = False
        for _ in range(8):
            damped = [
                [value * (1 + damping) + ridge if row == column else value for column, value in enumerate(values)]
                for row, values in enumerate(normal)
            ]
            move = _solve(damped, slope)
            if move is None:
                break
            tried = _moved(shape, free, move, samples)
            trial, trial_rest = left(tried)
            if trial < cost:
                better = trial < cost * (1 - 1e-9)
                shape, cost, rest, damping = tried, trial, trial_rest, damping / 5
                break
            damping *= 6
        if not better or cost <= (1e-14 * top) ** 2 * len(samples):
            break
    return shape, max(abs(value) for value in rest) / top


def _moved(shape: Shape, free: tuple[str, ...], move: Sequence[float], samples: Sequence[Sample]) -> Shape:
    last = samples[-1].made + 2
    values = {name: float(getattr(shape, name)) + step for name, step in zip(free, move, strict=True)}
    if "warmup" in values:
        values["warmup"] = min(max(values["warmup"], 0.0), 3.0 * last)
    if "lead" in values:
        values["lead"] = min(max(values["lead"], -1.0), 2.0)
    if "floor" in values:
        values["floor"] = min(max(values["floor"], 0.0), 0.999)
    if "total" in values:
        values["total"] = min(max(values["total"], values.get("warmup", shape.warmup) + 1, 2.0), 50.0 * last)
    if "decay" in values:
        values["decay"] = min(max(values["decay"], 1.0), values.get("total", shape.total))
    return replace(shape, **values)


def starts(kind: Kind, samples: Sequence[Sample], seen: Phases, total: int | None) -> Iterator[Shape]:
    """Where a search may begin."""
    last = samples[-1].made
    warmups = [0.0]
    if kind.rises and seen.rise_ends is not None:
        before = [sample for sample in samples if sample.made < seen.rise_ends]
        steep = [sample for sample in before if sample.rate > 0]
        by_slope = seen.top / (steep[-1].rate / max(steep[-1].made, 1)) if steep else float(seen.rise_ends)
        warmups = list(dict.fromkeys((min(by_slope, 2.0 * seen.rise_ends + 1), float(seen.rise_ends))))
    if not kind.falls:
        yield from (Shape(warmup) for warmup in warmups)
        return
    begins = float(seen.fall_begins if seen.fall_begins is not None else last)
    # The decay that is seen so far, gone on with.
    fallen = max(1e-3, 1 - max(seen.last, 0.0) / seen.top)
    ends = begins + (last - begins + 1) / (min(1.0, fallen) if kind.holds else min(1.0, fallen**0.7))
    if not kind.floors and "restarts" in kind.name:
        # Its last top is the beginning of the last cycle only.
        ends = last + 1.0
    for warmup in warmups:
        for end in dict.fromkeys((float(total or 0) or ends, ends)):
            yield Shape(warmup, end, kind.first_floor, end - begins if kind.holds else 0.0)


def candidates(kind: Kind, shape: Shape, total: int | None, reach: int = 2) -> Iterator[Shape]:
    """Whole numbers around a solution, the nearest first."""

    def around(value: float, used: bool, least: int = 0) -> list[float]:
        if not used:
            return [value]
        whole = round(value)
        return [
            float(each)
            for each in sorted(range(whole - reach, whole + reach + 1), key=lambda n: abs(n - value))
            if each >= least
        ]

    warmups = around(shape.warmup, kind.rises)
    totals = around(shape.total, kind.falls, 1)
    if total is not None and kind.falls:
        totals = list(dict.fromkeys([float(total), float(total + 1), float(total - 1), *totals]))
    decays = around(shape.decay, kind.holds, 1)
    everything = [
        Shape(w, t, shape.floor, d) for w, t, d in product(warmups, totals, decays) if t > w or not kind.falls
    ]
    everything.sort(
        key=lambda s: abs(s.warmup - shape.warmup) + abs(s.total - shape.total) + abs(s.decay - shape.decay)
    )
    yield from everything
