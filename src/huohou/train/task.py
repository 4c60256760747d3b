"""What the loop is given: a stage, and what the plan asks of it; and where a run stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from huohou.train import applied
from huohou.train.progress import PhaseLike


class BatchLike(Protocol):
    """All sequences of one update."""

    @property
    def index(self) -> int:
        """Which batch of the run it is, from 0."""
        ...

    @property
    def tokens(self) -> int:
        """Input positions, padding not counted."""
        ...

    @property
    def targets(self) -> int:
        """What the loss counts, known before any of it is computed."""
        ...


class Stage(Protocol):
    """Where batches come from, and a loss."""

    def batch(self, index: int) -> Any:
        """Batch ``index`` of the run (a :class:`BatchLike`)."""
        ...

    def micro_batches(self, batch: Any) -> Iterator[Any]:
        """The batch in pieces that fit into memory."""
        ...

    def loss(self, model: Any, micro: Any) -> torch.Tensor:
        """The sum of the losses over the targets of one micro-batch: a scalar."""
        ...

    def evaluate(self, model: Any) -> dict[str, Any] | None:
        """``loss``, ``bits_per_byte`` and ``tokens`` on data that is not trained on, if there is any."""
        ...

    def samples(self, model: Any, update: int) -> list[dict[str, str]]:
        """What the model writes after some prompts: ``prompt`` and ``text``."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """What the plan asks of the loop."""

    updates: int
    curves: applied.Curves
    """For each parameter group its curve."""
    fingerprints: Mapping[str, str]
    """The plan's ``fingerprint`` and ``plan_fingerprint``; they travel in every checkpoint."""
    phases: tuple[PhaseLike, ...] = ()
    """The plan's names for the parts of its main curve."""
    max_grad_norm: float | None = 1.0
    dtype: str = "float32"
    device: str = "cpu"
    evaluate_every: int | None = None
    """Updates between evaluations, one more after the last update; ``None``: never."""
    sample_every: int | None = None
    """Updates between samples of text, in the same way."""
    layers_every: int | None = 10
    """Updates between records of every layer's gradient norm."""
    checkpoint_every: int | None = None
    """Updates between checkpoints; the last update always has one."""
    keep: int = 3
    keep_best: bool = False
    """Keep the checkpoint with the lowest validation loss besides the newest ones."""


@dataclass(slots=True)
class Counters:
    """Where a run stands. ``digest`` is the hash over all rates used so far (:mod:`huohou.train.applied`)."""

    update: int = 0
    """Updates applied."""
    batches: int = 0
    """Batches read, which is the cursor of the data."""
    tokens: int = 0
    skipped: int = 0
    in_a_row: int = 0
    """Updates skipped since the last one that was applied."""
    digest: str = applied.NOTHING
    seconds: float = 0.0
    lowest: float | None = None
    """The lowest validation loss so far."""
