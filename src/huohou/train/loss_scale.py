"""The factor that keeps fp16 gradients from vanishing (Micikevicius et al. 2018), decided alike on every rank.

torch's own scaler looks at the gradients of its process; here whoever knows the gradient norm over all processes says
whether an update overflowed, so that ranks which hold different parts of a model cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch


@dataclass(slots=True)
class LossScale:
    """Doubles after ``interval`` updates without overflow, halves after one with it, and never falls below 1."""

    scale: float = 2.0**16
    interval: int = 2000
    good: int = 0

    def unscale(self, gradients: Sequence[torch.Tensor]) -> None:
        """Divide the gradients in place."""
        if gradients:
            torch._foreach_mul_(list(gradients), 1.0 / self.scale)  # pyright: ignore[reportPrivateImportUsage]

    def applied(self) -> None:
        """The update went well."""
        self.good += 1
        if self.good == self.interval:
            self.scale, self.good = self.scale * 2.0, 0

    def overflowed(self) -> None:
        """The gradients were not finite."""
        self.scale, self.good = max(1.0, self.scale / 2.0), 0

    def plain(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return asdict(self)

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Stand where :meth:`plain` was taken."""
        self.scale, self.good = float(plain["scale"]), int(plain.get("good", plain.get("_growth_tracker", 0)))
