"""The learning rate that a framework applies: pieces of known formulas over positions that need not be whole.

Frameworks count differently: in updates from 0 or from −1, in samples, in micro-batches. An :class:`Applied` curve
keeps a framework's own positions, says how an update comes to one of them, and what happens past the end. Curves may
be multiplied (chained schedulers, damped ones). Values are multiples of the peak, in floating point, by the formulas
of the frameworks themselves, and agree with what they apply to 1e-12 of the peak.

Updates are counted from 1, as everywhere in huohou; a framework's own index of update ``u`` is usually ``u − 1``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from huohou.audit.pieces import Piece
from huohou.errors import UserError

Past = Literal["holds", "goes on", "raises", "zero"]
"""What a scheduler does when it is asked beyond its own end: keep its last value, follow its formula (which may
rebound or go below zero), raise an error, or give zero."""


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
