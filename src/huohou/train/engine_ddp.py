"""Every process holds the whole model (DistributedDataParallel): gradients are added up while backward still runs."""

# torch exports these without saying so.
# pyright: reportPrivateImportUsage=false

# No postponed annotations here: DDP looks at those of its hook.
import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.distributed as dist

from huohou.train import probes
from huohou.train.engine import Engine, Loss, Outcome


class Whole(torch.nn.Module):
    """A model whose forward is any function of it.

    Wrappers such as DDP do their work around ``forward``. With this between them and the model, a stage may use the
    model in whatever way it likes inside one call.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(self.model, *arguments)


def _add_up(state: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """The sum over ranks; DDP's own would be the mean."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    return work.get_future().then(lambda future: future.value()[0])


class DDPEngine(Engine):
    """The sum of gradients is the same on every rank, and so is everything that follows from it."""

    name: ClassVar[str] = "ddp"

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        self._wrapped = torch.nn.parallel.DistributedDataParallel(
            Whole(model),
            # A tensor that a rank does not use in one batch (an expert of a mixture) has a gradient on others.
            find_unused_parameters=_may_skip_parameters(model),
            gradient_as_bucket_view=True,
        )
        self._wrapped.register_comm_hook(None, _add_up)
        return model

    def accumulate(self, loss: Loss, *, last: bool) -> torch.Tensor:
        with contextlib.nullcontext() if last else self._wrapped.no_sync():
            with self.precision():
                value = self._wrapped(loss)
            (value * self.scaler.scale if self.scaler else value).backward()
        return value.detach()

    def reduce(self, loss: torch.Tensor) -> Outcome:
        self.drop_resting()
        gradients = self.gradients()
        if self.scaler:
            self.scaler.unscale(gradients)
        self._norms = probes.tensor_norms(gradients) if gradients else torch.zeros(0, device=loss.device)
        own, norm = torch.stack((loss.float(), probes.global_norm(self._norms).to(loss.device))).tolist()
        # All ranks clip by the number of rank 0, so that not even a different rounding can part them.
        total, agreed = self.world.sums([own, norm if self.world.leads else 0.0])
        return Outcome(total, agreed)


def _may_skip_parameters(model: torch.nn.Module) -> bool:
    """Whether some parameter may take no part in a batch: not in our own decoder, whose every weight is always used."""
    return type(model).__name__ == "Foreign"
