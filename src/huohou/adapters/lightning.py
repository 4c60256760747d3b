"""Lightning, under either of its names: what ``configure_optimizers`` returns.

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters())
        return huohou_lightning.optimizers(self, optimizer, "run.yaml")

after ``from huohou.adapters import lightning as huohou_lightning``. The scheduler is called after every update (by
default Lightning calls one after every epoch), and the rate follows the optimizer's own updates.
"""

from __future__ import annotations

from typing import Any

from huohou.adapters.saying import Mode, length_trouble
from huohou.adapters.source import Groups, Source, length_differs, read
from huohou.adapters.torch import CurveScheduler


def optimizers(
    module: Any,
    optimizer: Any,
    source: Source,
    *,
    groups: Groups | None = None,
    guard: Mode = "warn",
    horizon: Mode = "raise",
) -> dict[str, Any]:
    """The optimizer and its scheduler, as ``configure_optimizers`` returns them.

    Args:
        module: The LightningModule; its trainer says how many updates there will be.
        optimizer: The torch optimizer.
        source, groups, guard, horizon: As for :func:`huohou.adapters.torch.scheduler`.

    Returns:
        Lightning's mapping; the scheduler, with its guard, is in it under ``lr_scheduler`` and ``scheduler``, and
        ``trainer.lr_scheduler_configs[0].scheduler`` later.

    Raises:
        UserError: The source says no plan, or it does not fit the optimizer or the trainer.
    """
    planned = read(source, groups)
    length_trouble(length_differs(planned, _updates_of(module), "the Lightning trainer"), horizon)
    made = CurveScheduler(optimizer, planned, guard=guard, follow=True)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": made, "interval": "step", "frequency": 1}}


def _updates_of(module: Any) -> int | float | None:
    """The trainer's number of updates; none where a module has no trainer or leaves stepping to its author."""
    trainer = getattr(module, "_trainer", None)
    if trainer is None or not getattr(module, "automatic_optimization", True):
        return None
    return trainer.estimated_stepping_batches
