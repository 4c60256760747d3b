"""Which arguments of a target come closest: seeds from the wanted curve, whole numbers beside them, then the levels.

Each candidate is written as text and read back by the audit's own dialect, so that what is compared is what the target
applies and not what a formula here says of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from huohou.audit.convert.wanted import Wanted

_UNBOUNDED = ("power", "timescale")
"""What may be varied and is no level."""

Values = Mapping[str, Any]
Rates = Callable[[Values], Callable[[int], float] | None]
"""From a candidate to its rate of every update; ``None`` where the target takes no such arguments."""

EXACT = 1e-13
_DESCENDED = 8
"""So many of the best seeds are improved; the others are too far away."""
_WORTH = 0.9
"""A seed keeps its seams where they were and its numbers plain; another candidate has to be closer than this."""


@dataclass(frozen=True, slots=True)
class Start:
    """A seed of the search.

    Attributes:
        values: The target's arguments.
        whole: Those that are whole numbers and may be varied.
        real: Those that are levels between 0 and 1 (or exponents) and may be varied.
        strange: Whether it goes up or down in another way than the wanted curve; then it has to be twice as close.
    """

    values: Values
    whole: tuple[str, ...] = ()
    real: tuple[str, ...] = ()
    strange: bool = False


def closest(wanted: Wanted, starts: Iterable[Start], rates: Rates) -> Values | None:
    """The arguments whose curve differs least from the wanted one; ``None`` where none can be written."""

    def distance(values: Values) -> float:
        curve = rates(values)
        if curve is None:
            return math.inf
        largest = 0.0
        try:
            for update, rate in zip(wanted.sample, wanted.rates, strict=True):
                away = abs(curve(update) - rate)
                if not away <= largest:
                    largest = away
        except ArithmeticError:
            return math.inf
        return largest / wanted.peak if largest == largest else math.inf

    seeds: list[tuple[float, int, Start]] = []
    for number, start in enumerate(starts):
        found = distance(start.values)
        if found <= EXACT:
            return start.values
        if found < math.inf:
            seeds.append((found * (1 + start.strange), number, start))
    seeds.sort(key=lambda seed: seed[:2])
    best: tuple[float, Values | None] = (math.inf, None)
    own = [seed for seed in seeds if not seed[2].strange]
    strange = [seed for seed in seeds if seed[2].strange]
    for found, _, start in [*_different(own)[:_DESCENDED], *_different(strange)[: _DESCENDED // 2]]:
        found /= 1 + start.strange
        better = _descend(found, start, distance)
        # Better seeds come first, and a seed stays what it is unless that brings it a good deal closer.
        if better[0] >= found * _WORTH:
            better = (found, start.values)
        weighed = better[0] * (1 + start.strange)
        if weighed < best[0] * _WORTH:
            best = (weighed, better[1])
        if best[0] <= EXACT:
            break
    return best[1]


def _different(seeds: list[tuple[float, int, Start]]) -> list[tuple[float, int, Start]]:
    """The best two seeds of each kind: the same words with other numbers end in the same place."""
    kept: list[tuple[float, int, Start]] = []
    taken: dict[tuple[str, ...], int] = {}
    for seed in seeds:
        words = tuple(value for value in seed[2].values.values() if isinstance(value, str))
        taken[words] = taken.get(words, 0) + 1
        if taken[words] <= 2:
            kept.append(seed)
    return kept


def _descend(found: float, start: Start, distance: Callable[[Values], float]) -> tuple[float, Values]:
    values = start.values
    for _ in range(3):
        before = found
        found, values = _whole(found, values, start.whole, distance)
        for name in start.real:
            if found > EXACT:
                found, values = _real(found, values, name, distance)
        if found <= EXACT or found > before * 0.999:
            break
    return found, values


def _whole(
    found: float, values: Values, names: tuple[str, ...], distance: Callable[[Values], float]
) -> tuple[float, Values]:
    """Neighbours of the whole numbers, one step at a time, all of them together."""
    for _ in range(6):
        if found <= EXACT or not names:
            break
        better: tuple[float, Values] = (found, values)
        for steps in product((-1, 0, 1), repeat=len(names)):
            moved = {name: values[name] + step for name, step in zip(names, steps, strict=True)}
            if any(steps) and all(value >= 0 for value in moved.values()):
                candidate = {**values, **moved}
                away = distance(candidate)
                if away < better[0]:
                    better = (away, candidate)
        if better[0] >= found:
            break
        found, values = better
    return found, values


def _real(found: float, values: Values, name: str, distance: Callable[[Values], float]) -> tuple[float, Values]:
    """Golden section around a level; the valley of a largest difference has one bottom there."""
    middle = float(values[name])
    reach = max(3 * found, 1e-6) * max(1.0, middle)
    low, high = max(0.0, middle - reach), middle + reach
    if name not in _UNBOUNDED:
        high = min(high, 1.0)
    share = (math.sqrt(5) - 1) / 2
    left, right = high - share * (high - low), low + share * (high - low)
    at_left, at_right = distance({**values, name: left}), distance({**values, name: right})
    for _ in range(18):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - share * (high - low)
            at_left = distance({**values, name: left})
        else:
            low, left, at_left = left, right, at_right
            right = low + share * (high - low)
            at_right = distance({**values, name: right})
    candidate = {**values, name: float(f"{(low + high) / 2:.4g}")}
    away = distance(candidate)
    return (away, candidate) if away < found else (found, values)


def with_peak(wanted: Wanted, peak: float) -> Wanted:
    """The same curve, said as multiples of another peak."""
    factor = wanted.curve.peak / peak
    pieces = tuple(
        replace(
            piece,
            start=piece.start * factor,
            end=piece.end * factor,
            lowest=None if piece.lowest is None else piece.lowest * factor,
        )
        for piece in wanted.curve.pieces
    )
    return Wanted.of(replace(wanted.curve, peak=peak, pieces=pieces), wanted.versions)
