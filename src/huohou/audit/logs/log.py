"""A log as far as the learning rate goes: which rate was written beside which update, and how exactly."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from huohou.language import Text

Logged = Literal["used", "next"]
"""Whether a rate written beside update u is the one that u used, or the one that the next update will use."""


@dataclass(frozen=True, slots=True)
class Point:
    """One rate of a log.

    Attributes:
        update: The number that the log counts by; how many updates had been made, where it is written after one.
        rate: The rate.
        written: The rate as it stands in the log, from which its precision is read.
        line: Where.
        skipped: How many updates had been skipped until then, where the log says so.
    """

    update: int
    rate: float
    written: str
    line: int
    skipped: int | None = None


@dataclass(frozen=True, slots=True)
class Precision:
    """How far a true rate may be from the one that a log shows.

    Attributes:
        digits: Significant digits that were printed; ``None`` where the number was written whole.
        decimals: Digits behind the point of a fixed notation.
        relative: What remains of a whole number: 1e-12, or that of a float of 32 bits.
    """

    digits: int | None = None
    decimals: int | None = None
    relative: float = 1e-12

    def tolerance(self, rate: float) -> float:
        """Half of the last printed place of a rate, or the share of it that arithmetic leaves open."""
        found = self.relative * abs(rate)
        if self.decimals is not None:
            found = max(found, 0.5000001 * 10.0**-self.decimals)
        if self.digits is not None and rate:
            found = max(found, 0.5000001 * 10.0 ** (math.floor(math.log10(abs(rate))) - self.digits + 1))
        return found

    @property
    def words(self) -> Text:
        """The precision for people."""
        if self.decimals is not None:
            return Text(f"rounded to {self.decimals} decimals", f"保留 {self.decimals} 位小数")
        if self.digits is not None:
            return Text(f"rounded to {self.digits} digits", f"保留 {self.digits} 位有效数字")
        if self.relative > 1e-9:
            return Text("32-bit numbers", "32 位浮点数")
        return Text("whole numbers, not rounded", "完整数值，未舍入")


def precision_of(written: Sequence[str]) -> Precision:
    """The precision of a column of numbers, from all of them together.

    A number alone does not tell: ``5e-05`` may be exact. The longest of a column tells how many digits were kept; a
    column that always has the same number of decimals was printed so.
    """
    digits, decimals, fixed = 0, set[int](), True
    for text in written:
        mantissa, _, exponent = text.strip().lower().lstrip("+-").partition("e")
        whole, _, fraction = mantissa.partition(".")
        digits = max(digits, len((whole + fraction).lstrip("0").rstrip("0") or "0"))
        fixed = fixed and not exponent
        decimals.add(len(fraction))
    numbers = [float(text) for text in written]
    some = [number for number in numbers if number and math.isfinite(number)]
    if digits >= 9 and all(struct.unpack("f", struct.pack("f", number))[0] == number for number in some):
        return Precision(relative=2.0**-24)
    if digits >= 13:
        return Precision()
    if fixed and len(decimals) == 1 and decimals != {0}:
        (places,) = decimals
        return Precision(decimals=places)
    if len(set(some)) < 3:
        # Too few different ones to tell a short number from a rounded one: it is taken as it stands.
        return Precision()
    # Scientific notation of a fixed width keeps its zeros; others drop them, so the longest counts.
    scientific = [text.strip().lower().lstrip("+-").partition("e") for text in written]
    widths = {len(mantissa.replace(".", "")) for mantissa, _, _ in scientific}
    if all(exponent for _, _, exponent in scientific) and len(widths) == 1:
        (digits,) = widths
    return Precision(digits=digits)


@dataclass(slots=True)
class Track:
    """The rates of one role of a log, in the order of its updates.

    Attributes:
        name: ``model``, or ``actor``, ``critic``, the name of a column or of a group.
        points: One for each update at most.
        resumed: Updates at which the log went back: (last update before, first one after).
        changed: Updates that were logged twice with different rates.
        lost: Rates that are no numbers (NaN) or infinite: their lines.
    """

    name: str
    points: list[Point] = field(default_factory=list[Point])
    resumed: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    changed: list[tuple[Point, Point]] = field(default_factory=list[tuple[Point, Point]])
    lost: list[int] = field(default_factory=list[int])

    def precision(self) -> Precision:
        """How exactly this track was written."""
        return precision_of([point.written for point in self.points])

    @property
    def skips_known(self) -> bool:
        """Whether the log counts skipped updates."""
        return bool(self.points) and all(point.skipped is not None for point in self.points)


@dataclass(slots=True)
class Log:
    """What was read from one log.

    Attributes:
        name: The file.
        format: The name of its form.
        tracks: The rates by role.
        unit: What the numbers count, where it is not updates.
        total: How many of them the run was to make, where the log says so.
        logged: Which update's rate is written, where the form decides that.
        command: The command that started the run, where the log shows it.
        counted: Whether its numbers count updates; where they do not, they count lines.
        spacing: How many updates were taken to lie between two of its lines.
    """

    name: str
    format: str
    tracks: list[Track]
    unit: Literal["update", "micro-batch"] = "update"
    total: int | None = None
    logged: Logged | None = None
    command: str | None = None
    counted: bool = True
    spacing: int | None = None


FARTHEST = 10**10
"""Updates at most; a greater number counts something else, such as nanoseconds."""


@dataclass(slots=True)
class Rows:
    """Collects (role, point) as they stand in a file and makes tracks of them."""

    found: dict[str, list[Point]] = field(default_factory=dict[str, list[Point]])
    lost: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    def add(self, role: str, update: float, written: object, line: int, skipped: int | None = None) -> None:
        """Note a rate; one that is no number is only counted."""
        text = repr(written) if isinstance(written, float) else str(written)
        try:
            rate = float(text)
        except ValueError:
            return
        if not 0 <= update <= FARTHEST:
            return
        if not math.isfinite(rate):
            self.lost.setdefault(role, []).append(line)
            return
        self.found.setdefault(role, []).append(Point(int(update), rate, text.strip(), line, skipped))

    def tracks(self, *, ordered: bool = True) -> list[Track]:
        """The tracks. Where a log goes back, what was written later holds."""
        return [_track(role, points, self.lost.get(role, []), ordered) for role, points in self.found.items()]


def _track(role: str, points: list[Point], lost: list[int], ordered: bool) -> Track:
    track = Track(role, lost=lost)
    kept: list[Point] = []
    if not ordered:
        points = sorted(points, key=lambda point: point.update)
    for point in points:
        if kept and point.update == kept[-1].update:
            # The same update of another rank, or the summary of an end: one is enough.
            if point.rate != kept[-1].rate:
                track.changed.append((kept[-1], point))
            kept[-1] = point
            continue
        if kept and point.update < kept[-1].update:
            track.resumed.append((kept[-1].update, point.update))
            while kept and kept[-1].update >= point.update:
                gone = kept.pop()
                if gone.update == point.update and gone.rate != point.rate:
                    track.changed.append((gone, point))
        kept.append(point)
    track.points = kept
    return track


@dataclass
class Lines:
    """A log's text, cut into lines once."""

    name: str
    text: str

    @cached_property
    def lines(self) -> list[str]:
        """Its lines; a progress bar that goes back to the beginning of a line begins another one."""
        return self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    @cached_property
    def head(self) -> str:
        """The beginning, from which most forms are told."""
        return self.text[:65536]
