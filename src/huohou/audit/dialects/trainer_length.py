"""How many updates the Transformers Trainer makes and how long it warms up: the same words, four eras.

| era | updates of an epoch | the two words for warmup |
|---|---|---|
| up to 4.51 | micro-batches // accumulation, at least 1 | ``warmup_steps`` above 0 goes before ``warmup_ratio`` |
| 4.52–4.57 | rounded up | the same |
| 5.0–5.14 | rounded up | a ``warmup_ratio`` above 0 goes before ``warmup_steps``; below 1 these are a ratio too |
| from 5.15 | rounded up | ``warmup_ratio`` is a TypeError; ``warmup_steps`` below 1 are a ratio, 1.0 is one update |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NEWEST = (5, 24)
ERAS = ("<=4.51", "4.52-4.57", "5.0-5.14", ">=5.15")
_EXAMPLES = {"<=4.51": (4, 51), "4.52-4.57": (4, 57), "5.0-5.14": (5, 14), ">=5.15": NEWEST}


def era_of(version: tuple[int, ...] | None) -> str:
    """The era of a version; the newest where none is known."""
    pair = (*(version or NEWEST), 0)[:2]
    if pair < (4, 52):
        return "<=4.51"
    if pair < (5, 0):
        return "4.52-4.57"
    return "5.0-5.14" if pair < (5, 15) else ">=5.15"


@dataclass(frozen=True, slots=True)
class Length:
    """What decides T.

    Attributes:
        micro_batches: Of an epoch and a process (the length of the data loader).
        accumulation: ``gradient_accumulation_steps``.
        epochs: ``num_train_epochs``.
        max_steps: Above 0 it is T itself.
    """

    micro_batches: int | None
    accumulation: int
    epochs: float
    max_steps: int

    def updates(self, era: str) -> int | None:
        """T in an era, where the data are known."""
        if self.max_steps > 0:
            return self.max_steps
        if self.micro_batches is None:
            return None
        whole, rest = divmod(self.micro_batches, self.accumulation)
        per_epoch = whole + (1 if rest and era != "<=4.51" else 0)
        return math.ceil(self.epochs * max(1, per_epoch))


@dataclass(frozen=True, slots=True)
class Warmup:
    """``get_warmup_steps`` of an era: the updates, and where the number came from (``steps`` or ``ratio``)."""

    updates: int
    word: str


def warmup_updates(steps: float, ratio: float, horizon: int, era: str) -> Warmup:
    """W, by the Trainer's own arithmetic in floating point."""
    if era in ("<=4.51", "4.52-4.57"):
        return Warmup(int(steps), "steps") if steps > 0 else Warmup(math.ceil(horizon * ratio), "ratio")
    if era == "5.0-5.14" and ratio > 0:
        steps, word = ratio, "ratio"
    else:
        word = "steps"
    return Warmup(int(steps), word) if steps >= 1 else Warmup(math.ceil(horizon * steps), "ratio" if steps else word)
