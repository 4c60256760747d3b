"""Whether a log agrees with a configuration, and what is between them where it does not.

The curve of the configuration is known, so that each logged rate says how many updates had really been applied: where
the log counts the skipped ones that is a check, where it does not they are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from huohou.audit.applied import Applied
from huohou.audit.logs.explain import ACCIDENTS, SHARE, Explanation, samples
from huohou.audit.logs.fit import Sample
from huohou.audit.logs.log import Log, Logged, Point, Track
from huohou.audit.reading import Role
from huohou.errors import UserError

How = Literal["same", "skips ignored", "often", "seldom", "peak", "length", "none"]
"""What is between a log and a configuration: nothing, a schedule that skipped updates do not stop, one stepped too
often or too seldom, another peak, another length, or something else."""


@dataclass(slots=True)
class Agreement:
    """A role of a configuration and the track of a log that belongs to it.

    Attributes:
        role: The role, as the configuration has it, or for the length that the log shows.
        track: The track.
        how: What is between them.
        logged: Whether the rate beside an update is its own, or that of the next one.
        skipped: How many updates had been skipped at each point.
        found: Whether these counts were found here and not in the log.
        factor: How many times too often or too seldom the schedule moved; the ratio of the peaks; the other length.
        apart: The largest difference between a logged rate and the configuration's, and ``at`` the update.
        relative: The largest difference to the explained rates, as a share of the logged one.
        explained: The rate that the explanation puts beside each point.
    """

    role: Role
    track: Track
    how: How
    logged: Logged
    skipped: list[int]
    found: bool
    factor: float
    apart: float
    at: int
    relative: float
    explained: list[float]

    @property
    def agrees(self) -> bool:
        """Whether the configuration made this log, skipped updates included."""
        return self.how == "same"

    @property
    def explains(self) -> bool:
        """Whether every rate is accounted for, by the configuration or by what was found beside it."""
        return self.how != "none"

    def used(self, update: int) -> float:
        """The rate that an update used, as explained."""
        return self.role.applied.rate(max(1, update - self._before(update)))

    def _before(self, update: int) -> int:
        """Updates that were skipped before this one. Between two logged updates they count as soon as they may."""
        return skipped_at(self.track.points, self.skipped, update - 1)


def skipped_at(points: Sequence[Point], skipped: Sequence[int], update: int) -> int:
    """How many of the first updates had been skipped; between two points, as many as soon as possible."""
    before, made = 0, 0
    for point, count in zip(points, skipped, strict=True):
        if point.update >= update:
            return min(count, before + max(0, update - made))
        before, made = count, point.update
    return before


_MOST = 2000
"""Skipped updates between two logged ones that are looked for."""


def agree(role: Role, explanation: Explanation, log: Log, again: Callable[[int], Role | None]) -> Agreement:
    """Compare a role with a track.

    Args:
        role: What the configuration applies.
        explanation: The track, and what explains it by itself.
        log: The log it is from.
        again: The same role for another number of updates.
    """
    points, track = explanation.points, explanation.track
    known = track.skips_known
    counts = [point.skipped or 0 for point in points] if known else [0] * len(points)
    check = _Check(role, explanation, log)
    for ahead in check.order:
        if check.meets(role.applied, ahead, counts):
            return check.result(role, "same", ahead, counts, found=False)
    many: Agreement | None = None
    if not known:
        for ahead in check.order:
            found = check.skips(role.applied, ahead)
            if found is not None:
                many = check.result(role, "same", ahead, found, found=True)
                # So many skips are no accident: something else may account for the log better.
                if found[-1] <= max(ACCIDENTS, SHARE * points[-1].update):
                    return many
                break
    for attempt in (check.ignored(counts), check.scaled(counts), check.longer(counts, again), check.stepped(counts)):
        if attempt is not None:
            return attempt
    if many is not None:
        return many
    ahead = min(check.order, key=lambda each: check.furthest(role.applied, each, counts)[0])
    return check.result(role, "none", ahead, counts, found=False)


class _Check:
    """The trials of one role against one track."""

    def __init__(self, role: Role, explanation: Explanation, log: Log) -> None:
        self.role, self.track, self.log = role, explanation.track, log
        self.explanation = explanation
        self.points = explanation.points
        self.samples = samples(self.points, [0] * len(self.points), explanation.precision)
        # Where the form of the log does not decide it, a rate is taken for that of its own update first.
        self.order = (1, 0) if log.logged == "next" else (0, 1)
        if log.logged is None and explanation.best is not None and explanation.best.logged == "next":
            self.order = (1, 0)

    def width(self, curve: Applied, sample: Sample) -> float:
        """How far a rate may be from a logged one."""
        return max(sample.high - sample.rate, 1e-12 * abs(curve.peak))

    def meets(
        self, curve: Applied, ahead: int, counts: Sequence[int], move: Callable[[int], int] | None = None
    ) -> bool:
        """Whether a curve puts the logged rate beside every point."""
        for sample, before, count in zip(self.samples, [0, *counts], counts, strict=False):
            update = max(1, sample.made - count + ahead)
            # Where the update itself was skipped, the rate that it would have used is that of the next one.
            late = count > before and not ahead
            try:
                rates = [curve.rate(each if move is None else move(each)) for each in range(update, update + late + 1)]
            except UserError:
                return False
            if not any(abs(rate - sample.rate) <= self.width(curve, sample) for rate in rates):
                return False
        return True

    def skips(self, curve: Applied, ahead: int) -> list[int] | None:
        """The fewest skipped updates that account for every rate, if any do."""
        counts: list[int] = []
        count, made = 0, 0
        for sample in self.samples:
            # Not more can have been skipped since the point before than were tried.
            most = count + min(max(0, sample.made - made), _MOST)
            while count <= most:
                update = max(1, sample.made - count + ahead)
                if abs(curve.rate(update) - sample.rate) <= self.width(curve, sample):
                    break
                count += 1
            else:
                return None
            counts.append(count)
            made = sample.made
        return counts

    def furthest(self, curve: Applied, ahead: int, counts: Sequence[int]) -> tuple[float, int]:
        """The largest difference and its update."""
        worst, at = 0.0, self.points[0].update
        for point, count in zip(self.points, counts, strict=True):
            apart = abs(curve.rate(max(1, point.update - count + ahead)) - point.rate)
            if apart > worst:
                worst, at = apart, point.update
        return worst, at

    def result(
        self, role: Role, how: How, ahead: int, counts: list[int], *, found: bool, factor: float = 1.0,
        explained: list[float] | None = None,
    ) -> Agreement:  # fmt: skip
        """What was found."""
        if explained is None:
            explained = [
                min(
                    (
                        role.applied.rate(max(1, point.update - count + ahead + more))
                        for more in ((0, 1) if count > before and not ahead else (0,))
                    ),
                    key=lambda rate, point=point: abs(rate - point.rate),
                )
                for point, before, count in zip(self.points, [0, *counts], counts, strict=False)
            ]
        relative = max(
            (abs(a - p.rate) / abs(p.rate) for a, p in zip(explained, self.points, strict=True) if p.rate), default=0.0
        )
        apart, at = self.furthest(self.role.applied, ahead, counts)
        logged: Logged = "next" if ahead else "used"
        return Agreement(role, self.track, how, logged, counts, found, factor, apart, at, relative, explained)

    def ignored(self, counts: list[int]) -> Agreement | None:
        """A schedule that moved although the update was skipped."""
        none = [0] * len(counts)
        if any(counts):
            for ahead in self.order:
                if self.meets(self.role.applied, ahead, none):
                    return self.result(self.role, "skips ignored", ahead, none, found=False)
        return None

    def scaled(self, counts: list[int]) -> Agreement | None:
        """The same curve with another peak."""
        at = max(range(len(self.points)), key=lambda place: self.points[place].rate)
        for ahead in self.order:
            own = self.role.applied.rate(max(1, self.points[at].update - counts[at] + ahead))
            if own <= 0 or self.points[at].rate <= 0:
                continue
            ratio = self.points[at].rate / own
            best = self.explanation.best
            peaks = [ratio * self.role.applied.peak, *([best.peak] if best is not None else [])]
            for peak in peaks:
                curve = replace(self.role.applied, peak=peak)
                # A floor that is a rate of its own does not grow with the peak; such a curve is no multiple.
                if abs(peak / self.role.applied.peak - 1) > 1e-9 and self.meets(curve, ahead, counts):
                    role = replace(self.role, applied=curve)
                    return self.result(role, "peak", ahead, counts, found=False, factor=peak)
        return None

    def longer(self, counts: list[int], again: Callable[[int], Role | None]) -> Agreement | None:
        """The same configuration for another number of updates."""
        for updates in lengths(self.log, [self.explanation]):
            if updates == self.role.applied.updates:
                continue
            role = again(updates)
            if role is None or role.applied.pieces == self.role.applied.pieces:
                continue
            for ahead in self.order:
                if self.meets(role.applied, ahead, counts):
                    return self.result(role, "length", ahead, counts, found=False, factor=float(updates))
                if not self.track.skips_known:
                    found = self.skips(role.applied, ahead)
                    if found is not None:
                        return self.result(role, "length", ahead, found, found=True, factor=float(updates))
        return self.by_itself(counts)

    def by_itself(self, counts: list[int]) -> Agreement | None:
        """The curve that explains the log alone, where it has this peak and this warmup and only ends elsewhere."""
        for fit in self.explanation.fits if self.explanation.until is None else []:
            curve = fit.curve(self.role.applied.updates)
            same = abs(fit.peak / self.role.applied.peak - 1) < 1e-9 and fit.shape.warmup == self.role.warmup
            if fit.kind.falls and same and self.meets(curve, fit.ahead, counts):
                role = replace(self.role, applied=curve, horizon=fit.shape.total)
                return self.result(role, "length", fit.ahead, counts, found=False, factor=fit.shape.total)
        return None

    def stepped(self, counts: list[int]) -> Agreement | None:
        """A schedule that moves several times in each update, or once in several."""
        micro = self.log.unit == "micro-batch"
        for factor in (*range(2, 17), 24, 32, 48, 64, 96, 128, 256):
            moves: tuple[tuple[How, Callable[[int], int]], ...] = (
                ("often", lambda update, k=factor: 1 + (update - 1) * k),
                ("seldom", lambda update, k=factor: 1 + (update - 1) // k),
            )
            for how, move in moves:
                for ahead in self.order:
                    if self.meets(self.role.applied, ahead, counts, move):
                        explained = [
                            self.role.applied.rate(move(max(1, point.update - count + ahead)))
                            for point, count in zip(self.points, counts, strict=True)
                        ]
                        # A log that counts micro-batches shows each update's rate several times: that is its nature.
                        kind: How = "same" if micro and how == "seldom" else how
                        return self.result(
                            self.role, kind, ahead, counts, found=False, factor=float(factor), explained=explained
                        )
        return None


def lengths(log: Log, explanations: Sequence[Explanation]) -> Iterator[int]:
    """Numbers of updates that a run may have been made for, the likeliest first."""
    given: list[int] = [] if log.total is None else [log.total]
    for explanation in explanations:
        for fit in explanation.fits:
            if fit.kind.falls:
                total = int(fit.shape.total)
                given += [total, total - 1, total + 1]
    given += [explanation.points[-1].update for explanation in explanations if explanation.points]
    yield from (updates for updates in dict.fromkeys(given) if updates > 0)
