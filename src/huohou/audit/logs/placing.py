"""The placements of a kind around one solution: whole numbers of updates, and a floor and a peak that people write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from huohou.audit.logs.families import Build, Kind, Shape
from huohou.audit.logs.fit import Fit, Phases, Sample, candidates, digits, gap, peak_interval, scaled, shortest, thinned
from huohou.audit.logs.log import Logged

_WAYS: tuple[tuple[Logged, int], ...] = (("used", 0), ("next", 1))


def lengths(kind: Kind) -> list[str]:
    return [*(["total"] if kind.falls else []), *(["decay"] if kind.holds else [])]


def members(
    kind: Kind, shape: Shape, samples: Sequence[Sample], thin: Sequence[Sample], seen: Phases, total: int | None
) -> Iterator[Fit]:
    """The placements around one solution that reproduce everything."""
    close = _tightened(kind, shape, samples)
    if close != shape:
        found = list(_placed(kind, close, samples, thin, seen, total))
        if found:
            yield from found
            return
    yield from _placed(kind, shape, samples, thin, seen, total)


def _placed(
    kind: Kind, shape: Shape, samples: Sequence[Sample], thin: Sequence[Sample], seen: Phases, total: int | None
) -> Iterator[Fit]:
    # Without a rise to see, placements differ by a shift of T only.
    for member in kind.members if seen.rise_ends is not None else kind.members[:1]:
        for logged, ahead in _WAYS:
            for floor in _floors(kind, shape, thin, seen):
                found = _whole(kind, member.build, replace(shape, floor=floor), samples, thin, ahead, total)
                if found is not None:
                    whole, low, high = found
                    yield Fit(kind, member, whole, shortest(low, high), logged, 0.0, exact=True)
                    break


def _floors(kind: Kind, shape: Shape, thin: Sequence[Sample], seen: Phases) -> list[float]:
    """Short numbers near the fitted floor: as a share of the peak, or as a rate of its own."""
    if not kind.floors:
        return [shape.floor]
    floor = shape.floor
    found: list[float] = []
    if floor < 0.01 or kind.first_floor == floor:
        found += [kind.first_floor, 0.0]
    ends = [sample for sample in thin if sample.made >= (seen.fall_begins or 0)]
    lowest = min(ends, key=lambda sample: sample.rate)
    fitted, _ = scaled(kind.members[0].build(shape), thin, shape.lead)
    peak = seen.top if seen.flat else shortest(fitted * (1 - 1e-4), fitted * (1 + 1e-4))
    for width in (3e-2, 3e-3) if coarse(thin) else (3e-2, 3e-3, 3e-5, 1e-9):
        share = shortest(floor * (1 - width), floor * (1 + width))
        rate = shortest(floor * peak * (1 - width), floor * peak * (1 + width))
        # Whichever is the shorter number is the one that somebody wrote.
        found += [share, rate / peak] if digits(share) < digits(rate) else [rate / peak, share]
    found += [max(lowest.rate, 0.0) / seen.top, floor]
    return list(dict.fromkeys(found))


def _whole(
    kind: Kind,
    build: Build,
    shape: Shape,
    samples: Sequence[Sample],
    thin: Sequence[Sample],
    ahead: int,
    total: int | None,
) -> tuple[Shape, float, float] | None:
    """Whole W, T and D around a solution that meet every sample, the rounder ones where several do."""

    def meets(each: Shape) -> tuple[float, float] | None:
        curve = build(each)
        if peak_interval(curve, thin, ahead) is None:
            return None
        return peak_interval(curve, samples, ahead)

    for each in _candidates(kind, shape, samples, total):
        interval = meets(each)
        if interval is None:
            continue
        for rounder in _rounder(kind, each):
            better = meets(rounder)
            if better is not None:
                return rounder, *better
        return each, *interval
    return None


def _candidates(kind: Kind, shape: Shape, samples: Sequence[Sample], total: int | None) -> Iterator[Shape]:
    """Whole numbers near a solution, parts of updates, and, where rates were rounded, round numbers."""
    yield from candidates(kind, shape, total, 1 if kind.holds or coarse(samples) else 2)
    yield from _shares(kind, shape)
    if coarse(samples):
        yield from _rounder(kind, shape)


def coarse(samples: Sequence[Sample]) -> bool:
    """Whether rates were rounded, so that they make steps."""
    middle = samples[len(samples) // 2]
    return middle.high - middle.rate > 1e-8 * middle.rate


def _tightened(kind: Kind, shape: Shape, samples: Sequence[Sample]) -> Shape:
    """A solution for rounded rates with T where the intervals of the peak meet best: least squares only come near."""
    if not kind.falls or not coarse(samples):
        return shape
    whole = replace(shape, warmup=float(round(shape.warmup)), decay=float(round(shape.decay)))
    some, build = thinned(samples, 120), kind.members[0].build
    low, high = max(whole.warmup + whole.decay + 1, 0.95 * shape.total), 1.05 * shape.total
    while high - low > 0.5:
        left, right = low + (high - low) / 3, high - (high - low) / 3
        far = [gap(build(replace(whole, total=each)), some, 1) for each in (left, right)]
        low, high = (low, right) if far[0] < far[1] else (left, high)
    return replace(whole, total=(low + high) / 2)


def _shares(kind: Kind, shape: Shape) -> Iterator[Shape]:
    """Lengths that are whole numbers of some part of an update: a schedule that moves several times in each."""
    for parts in (2, 3, 4, 6, 8, 16):
        names = [*(["warmup"] if kind.rises else []), *lengths(kind)]
        values = {name: round(float(getattr(shape, name)) * parts) / parts for name in names}
        if any(value != int(value) for value in values.values()):
            yield replace(shape, **values)


def _rounder(kind: Kind, shape: Shape) -> Iterator[Shape]:
    """The same with rounder numbers near, the roundest first."""
    for unit in (10_000, 1000, 500, 100, 50, 10):
        for fields in (("warmup", "total"), ("total",), ("warmup",)):
            values = {
                name: float(round(getattr(shape, name) / unit) * unit)
                for name in fields
                if getattr(shape, name) and (name != "total" or kind.falls)
            }
            if values and all(value > 0 for value in values.values()):
                yield replace(shape, **values)
