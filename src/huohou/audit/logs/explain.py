"""Which curve explains a log, with what else would fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from huohou.audit.logs.fit import Fit, Sample, digits, peak_interval, phases, thinned
from huohou.audit.logs.jumps import jumps
from huohou.audit.logs.log import Log, Point, Precision, Track
from huohou.audit.logs.search import search
from huohou.audit.logs.skips import guesses

Source = Literal["log", "found", "none"]
"""Where the counts of skipped updates come from."""

ACCIDENTS, SHARE = 12, 0.05
"""Skipped updates that nobody wonders about: a dozen, while a loss scale is looked for, or a small share."""

_HOME = {
    "deepspeed": ("deepspeed-chat", "deepspeed"),
    "trainer-state": ("transformers",),
    "trainer-log": ("llamafactory", "transformers"),
    "prints": ("transformers",),
    "metrics": ("huohou",),
    "megatron": ("megatron",),
}
"""The dialects that write each form of log."""


@dataclass(slots=True)
class Explanation:
    """What explains one track.

    Attributes:
        track: The track.
        precision: How exactly it was written.
        points: Its points, by the updates they belong to.
        skipped: How many updates had been skipped at each point.
        source: Where these counts come from.
        fits: The curves that reproduce every logged rate, the likeliest first.
        nearest: The nearest curve, where none does.
        falls: Whether the log shows a decay; where it does not, T is unknown.
        rising: How much the rate rises in each update, where the log ends before the peak; W is unknown then.
        until: How many of the points the curves explain, where the rates jump after them.
        totals: The least and greatest T that the likeliest curve may have, where the log leaves that open.
    """

    track: Track
    precision: Precision
    points: list[Point]
    skipped: list[int]
    source: Source
    fits: list[Fit] = field(default_factory=list[Fit])
    nearest: Fit | None = None
    falls: bool = False
    rising: float | None = None
    until: int | None = None
    totals: tuple[int, int] | None = None

    @property
    def best(self) -> Fit | None:
        """The likeliest curve."""
        return self.fits[0] if self.fits else None

    def samples(self) -> list[Sample]:
        """The points by applied updates."""
        return samples(self.points, self.skipped, self.precision)


def samples(points: Sequence[Point], skipped: Sequence[int], precision: Precision) -> list[Sample]:
    """The logged rates with their intervals, by the updates that were applied until then."""
    most = max((abs(point.rate) for point in points), default=0.0)
    found: list[Sample] = []
    for point, before, skips in zip(points, [0, *skipped], skipped, strict=False):
        wide = max(precision.tolerance(point.rate), 1e-12 * most)
        low, high = point.rate - wide, point.rate + wide
        found.append(Sample(point.update - skips, point.rate, low, high, late=skips > before))
    return found


def explain(track: Track, log: Log) -> Explanation:
    """Look for the curves that explain a track."""
    precision = track.precision()
    points = track.points
    known = track.skips_known
    counts = [point.skipped or 0 for point in points]
    found = Explanation(track, precision, points, counts, "log" if known and any(counts) else "none")
    if len(points) < 2 or max(point.rate for point in points) <= 0:
        return found
    found.rising = _still_rising(found.samples())
    if found.rising is not None:
        return found
    if not known and precision == Precision():
        # Whole numbers tell skipped updates, which is quicker to see than that nothing fits without them.
        attempts: list[Explanation] = []
        for guess in _few(guesses(points)):
            if _plausible(guess, points):
                attempt = replace(found, skipped=guess, source="found")
                _try(attempt, log)
                attempts += [attempt] if attempt.fits else []
        if attempts:
            # A line can be counted in several ways; the one that ends where the log says, and in short numbers, holds.
            found = min(attempts, key=lambda each: _unlikely(each.fits[0], log))
    if not found.fits:
        _try(found, log)
    if not found.fits and known and any(counts):
        # A scheduler that an overflow does not stop, as Megatron's and some scripts'.
        attempt = replace(found, skipped=[0] * len(points), source="none")
        _try(attempt, log)
        if attempt.fits:
            found = attempt
    if not found.fits:
        _first_part(found, log)
    best = found.best
    if best is not None and best.kind.falls and precision != Precision() and found.until is None:
        found.totals = _totals(best, found.samples())
    return found


def _first_part(found: Explanation, log: Log) -> None:
    """Explain what stands before the first jump."""
    place = next(iter(jumps(found.points)), 0)
    if place < 8:
        return
    part = replace(found, points=found.points[:place], skipped=found.skipped[:place])
    _try(part, log)
    if part.fits:
        found.fits, found.until, found.falls = part.fits, place, part.falls


def _still_rising(all_samples: Sequence[Sample]) -> float | None:
    """The slope of a log that ends within a linear rise."""
    if len(all_samples) < 3 or any(b.rate <= a.rate for a, b in pairwise(all_samples)):
        return None
    first, last = all_samples[0], all_samples[-1]
    slope = (last.rate - first.rate) / (last.made - first.made)
    straight = all(
        abs(first.rate + slope * (sample.made - first.made) - sample.rate)
        <= 2 * (sample.high - sample.rate) + 1e-9 * last.rate
        for sample in all_samples
    )
    return slope if straight else None


def _plausible(guess: Sequence[int], points: Sequence[Point]) -> bool:
    """Whether skips may be the reason: one everywhere is only a rate that was read an update earlier, and very many
    are a schedule that moves too slowly."""
    return any(guess) and set(guess) != {1} and guess[-1] <= max(ACCIDENTS, SHARE * points[-1].update)


def _few(every: Iterable[list[int]], most: int = 3) -> list[list[int]]:
    """The first ones that differ: each of them costs a search."""
    kept: list[list[int]] = []
    for guess in every:
        if guess not in kept:
            kept.append(guess)
        if len(kept) == most:
            break
    return kept


def _try(found: Explanation, log: Log) -> None:
    all_samples = found.samples()
    found.falls = phases(all_samples).fall_begins is not None
    fits, found.nearest = search(all_samples, log.total)
    found.fits = sorted(fits, key=lambda fit: _unlikely(fit, log))


def _unlikely(fit: Fit, log: Log) -> tuple[float, ...]:
    """The greater, the less likely: against the habits of the form, away from the total, in long numbers."""
    home = _HOME.get(log.format, ())
    shape = fit.shape
    return (
        float(log.logged is not None and fit.logged != log.logged),
        float(bool(home) and not set(home) & set(fit.member.who)),
        abs(shape.total - log.total) if log.total and fit.kind.falls else 0.0,
        digits(fit.peak),
        digits(shape.total) + digits(shape.warmup) + digits(shape.floor) + digits(shape.decay),
    )


def _totals(fit: Fit, all_samples: Sequence[Sample]) -> tuple[int, int]:
    """How far T may be moved, everything else being as it is."""
    thin = thinned(all_samples)

    def meets(total: int) -> bool:
        if total <= fit.shape.warmup + fit.shape.decay:
            return False
        curve = fit.member.build(replace(fit.shape, total=float(total)))
        return peak_interval(curve, thin, fit.ahead) is not None

    def edge(way: int) -> int:
        start, step = int(fit.shape.total), 1
        while step < 1 << 20 and meets(start + way * step):
            step *= 2
        low, high = step // 2, step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if meets(start + way * middle) else (low, middle)
        return start + way * low

    return edge(-1), edge(1)
