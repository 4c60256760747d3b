"""How long DeepSpeed-Chat's runs are: what its programs make, and what they tell their scheduler.

Both follow from the batches of an epoch and a process (of the data loader), and they are not always the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Epochs:
    """SFT, reward model and DPO.

    The accumulation goes on over the ends of epochs, so fewer updates may be made than the scheduler is told, which
    takes each epoch rounded up.

    Attributes:
        epochs: ``--num_train_epochs``.
        accumulation: ``--gradient_accumulation_steps``.
    """

    epochs: int
    accumulation: int

    def horizon(self, batches: int) -> int:
        """The scheduler's length."""
        return self.epochs * math.ceil(batches / self.accumulation)

    def made(self, batches: int) -> int:
        """The updates that are made."""
        return self.epochs * batches // self.accumulation

    def horizon_of(self, updates: int) -> int:
        """The horizon that goes with so many updates: that of the fewest batches which make them, where any do."""
        batches = math.ceil(updates * self.accumulation / self.epochs)
        return self.horizon(batches) if self.made(batches) == updates else updates


@dataclass(frozen=True, slots=True)
class Rounds:
    """PPO: batches are generated, cut into training batches, and trained on several times.

    The scheduler is told the ratio of the two batches as a fraction; what is made takes every part of a batch for one.

    Attributes:
        epochs: ``--num_train_epochs``.
        accumulation: ``--gradient_accumulation_steps``.
        generated: ``--per_device_generation_batch_size``.
        trained: ``--per_device_training_batch_size``.
        repeats: ``--ppo_epochs``.
        together: ``--generation_batches``: as many are collected before they are trained on.
    """

    epochs: int
    accumulation: int
    generated: int
    trained: int
    repeats: int = 1
    together: int = 1

    def horizon(self, batches: int) -> int:
        """The scheduler's length, in the order in which the program multiplies and divides."""
        return int(self.epochs * (batches * (self.generated / self.trained) * self.repeats / self.accumulation))

    def made(self, batches: int, last: int | None = None) -> int:
        """The updates that actor and critic make; ``last`` is the size of an epoch's last batch, if not a whole one."""
        used = self.epochs * batches // self.together * self.together
        parts = used * math.ceil(self.generated / self.trained)
        if last is not None and batches > 0:
            parts -= (math.ceil(self.generated / self.trained) - math.ceil(last / self.trained)) * (used // batches)
        return parts * self.repeats // self.accumulation

    def horizon_of(self, updates: int) -> int:
        """The horizon that goes with so many updates: that of the fewest batches which make them, where any do."""
        each = math.ceil(self.generated / self.trained) * self.repeats
        batches = math.ceil(updates * self.accumulation / (self.epochs * each))
        if self.epochs == 1:
            batches = math.ceil(batches / self.together) * self.together
        return self.horizon(batches) if self.made(batches) == updates else updates
