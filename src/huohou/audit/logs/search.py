"""The search for the curves that explain a log whose skipped updates are known, or of which there are none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from huohou.audit.logs.families import KINDS, Kind, Shape
from huohou.audit.logs.fit import (
    Fit,
    Phases,
    Sample,
    least_squares,
    peak_interval,
    phases,
    starts,
    thinned,
)
from huohou.audit.logs.placing import lengths, members

_MOST = 3000
"""Rates of a log that are searched with; what is found is held against all of them."""
_NEAR = 0.03
"""A kind whose best fit is farther than this share of the peak from a logged rate is not the one."""
_FAR = 0.07
"""Farther off than this at first sight a kind hardly comes near."""


def search(samples: Sequence[Sample], total: int | None) -> tuple[list[Fit], Fit | None]:
    """Every placement of every kind that reproduces all samples, and the nearest one where none does."""
    everything, samples = samples, thinned(samples, _MOST)
    seen = phases(samples)
    thin = thinned(samples)
    found: list[Fit] = []
    nearest: Fit | None = None
    for kind in _promising(thin, seen, samples, total):
        hurry = bool(_distinct(found, seen))
        solutions = sorted(_solutions(kind, thin, seen, total, hurry=hurry), key=lambda pair: pair[1])
        if not solutions:
            continue
        shape, residual = solutions[0]
        if nearest is None or residual < nearest.residual:
            nearest = Fit(kind, kind.members[0], shape, seen.top, "next", residual, exact=False)
        if residual > _limit(thin, seen):
            continue
        fits: list[Fit] = []
        for each in _by_floor(kind, solutions, thin, seen, residual):
            fits = list(members(kind, each, samples, thin, seen, total))
            if fits:
                break
        found += fits
    if len(everything) > len(samples):
        found = [fit for fit in found if peak_interval(fit.member.build(fit.shape), everything, fit.ahead) is not None]
    return _distinct(found, seen), nearest


def _distinct(fits: list[Fit], seen: Phases) -> list[Fit]:
    """Without those that are others by another name: placements of a rise that is not there, holds of no length."""
    kept: list[Fit] = []
    for fit in fits:
        if fit.kind.holds and fit.shape.total - fit.shape.decay <= fit.shape.warmup + 1:
            continue
        if seen.rise_ends is None:
            same = (fit.kind.name, fit.logged, fit.shape.total - fit.member.late, fit.shape.floor, fit.shape.decay)
            if any(
                same == (o.kind.name, o.logged, o.shape.total - o.member.late, o.shape.floor, o.shape.decay)
                for o in kept
            ):
                continue
        kept.append(fit)
    return kept


_GLANCE, _KEPT = 6, 6
"""Rounds of the first look at each kind, and how many kinds are looked at again."""


def _promising(thin: Sequence[Sample], seen: Phases, samples: Sequence[Sample], total: int | None) -> list[Kind]:
    """The kinds that are near after a few rounds, in their own order, which is that of how usual they are."""
    far: dict[str, float] = {}
    kinds = [kind for kind in KINDS if _possible(kind, seen, samples)]
    few = thin[:: max(1, len(thin) // 20)]
    for kind in kinds:
        begin = next(iter(starts(kind, few, seen, total)))
        free = _free(kind, seen)
        shape, far[kind.name] = least_squares(kind, begin, few, tuple(free), _GLANCE)
        if kind.floors and far[kind.name] > 1e-3:
            low = max(0.0, 0.95 * min(few[-1].rate / seen.top, 0.9))
            begin = replace(shape if far[kind.name] < 0.2 else begin, floor=low)
            _, other = least_squares(kind, begin, few, (*free, "floor"), _GLANCE)
            far[kind.name] = min(far[kind.name], other)
    limit = sorted(far.values())[min(_KEPT, len(far)) - 1] if far else 0.0
    return [kind for kind in kinds if far[kind.name] <= max(limit, _FAR)]


def _free(kind: Kind, seen: Phases) -> list[str]:
    """What is fitted."""
    return [*(["warmup", "lead"] if kind.rises and seen.rise_ends is not None else []), *lengths(kind)]


def _possible(kind: Kind, seen: Phases, samples: Sequence[Sample]) -> bool:
    if kind.falls != (seen.fall_begins is not None):
        # A root falls, although it has no end.
        return kind.name == "inverse square root" and seen.fall_begins is not None
    if kind.name == "inverse square root":
        return False
    if seen.rise_ends is None:
        # What is told apart by its rise only needs one to be named.
        return kind.members[0].who != ("deepspeed",) and not kind.name.startswith(
            ("LinearLR", "quadratic", "cosine under", "one cycle", "warmup from the floor")
        )
    return True


def _solutions(
    kind: Kind, thin: Sequence[Sample], seen: Phases, total: int | None, *, hurry: bool
) -> Iterator[tuple[Shape, float]]:
    """Continuous solutions with the floor fixed, then with the floor free.

    In a hurry (another kind explains the log already) a kind that is far off at first sight is left.
    """
    free = _free(kind, seen)
    best = math.inf
    found: Shape | None = None
    for start in starts(kind, thin, seen, total):
        shape, residual = least_squares(kind, start, thin, tuple(free), 10 if hurry else 25)
        if residual < best:
            best, found = residual, shape
            yield shape, residual
        if residual < 1e-9 or (hurry and residual > _FAR):
            return
        if kind.floors:
            low = min(sample.rate for sample in thin if sample.made >= (seen.fall_begins or 0)) / seen.top
            begin = replace(shape if residual < 0.2 else start, floor=max(0.0, min(low, 0.9) * 0.95))
            shape, residual = least_squares(kind, begin, thin, (*free, "floor"), 16 if hurry else 40)
            if residual < best:
                best, found = residual, shape
                yield shape, residual
            if residual < 1e-9:
                return
    if found is not None and seen.rise_ends is None and kind.rises and kind.falls and not kind.holds:
        # A rise that was over before the first logged rate.
        if thin[0].made > 3 and not (hurry and best > _FAR):
            names = ("warmup", *free, *(["floor"] if kind.floors and found.floor else []))
            begin = replace(found, warmup=thin[0].made / 2)
            shape, residual = least_squares(kind, begin, thin, names, 25)
            if residual < 2 * best:
                yield shape, residual
        return
    if found is None or seen.rise_ends is None or not kind.rises or hurry or not 1e-6 < best < 0.4:
        return
    # A bend stops a search by slopes: around a short rise its whole lengths are tried one by one.
    before = max(sample.made for sample in thin if sample.made < seen.rise_ends)
    if seen.rise_ends - before > 3:
        return
    rest = tuple(name for name in free if name != "warmup")
    for warmup in range(before, seen.rise_ends + 2):
        if warmup > 0:
            start = replace(found, warmup=float(warmup), total=max(found.total, warmup + 2.0) if kind.falls else 0.0)
            shape, residual = least_squares(kind, start, thin, rest, 8)
            if residual < best:
                best = residual
                yield shape, residual


_FLOORS = (0.1, 0.01, 0.05, 0.2)
"""Floors that people write; where a log ends before the decay does, they are tried one after the other."""


def _limit(thin: Sequence[Sample], seen: Phases) -> float:
    """How far off the fit of a kind may be. A bend between two points costs a placement much; a fall alone does not."""
    if seen.rise_ends is not None:
        return _NEAR
    return min(_NEAR, 5e-3 + 3 * max(sample.high - sample.rate for sample in thin) / seen.top)


def _by_floor(
    kind: Kind, solutions: Sequence[tuple[Shape, float]], thin: Sequence[Sample], seen: Phases, residual: float
) -> Iterator[Shape]:
    """The solutions, then those for floors that cannot be seen yet."""
    near = [shape for shape, far in solutions if far <= max(_limit(thin, seen), 2 * residual)]
    yield from (shape for shape in near if shape.floor == kind.first_floor)
    if kind.floors and near and seen.last > 0:
        free = _free(kind, seen)
        for floor in _FLOORS:
            if seen.last >= floor * seen.top * (1 - 1e-9):
                shape, far = least_squares(kind, replace(near[0], floor=floor), thin, tuple(free))
                if far <= _limit(thin, seen):
                    yield shape
    yield from (shape for shape in near if shape.floor != kind.first_floor)
