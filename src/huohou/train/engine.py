"""What one update needs from the processes that make it together: the sum of gradients, its norm, a step, the state.

The loop is the same for every engine. It hands over one micro-batch after another as a function of the model, asks for
the loss and the gradient norm of the whole batch, decides, clips and steps. :class:`Engine` is one process; the others
inherit from it and say only what is different with several.

Gradients are sums over all targets of the batch on all ranks, of a loss that was divided by their number beforehand:
there is no mean over ranks, so how a batch is shared and split changes nothing but the order of additions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from huohou.train import probes, state
from huohou.train.distributed import ALONE, World
from huohou.train.loss_scale import LossScale
from huohou.train.state import Piece, Source

MakeOptimizer = Callable[[torch.nn.Module], torch.optim.Optimizer]
"""An optimizer over the parameters of the model as the engine holds them."""

Loss = Callable[[Any], torch.Tensor]
"""The loss of one micro-batch as a function of the model: a scalar, already divided by the targets of the batch."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One batch, before anything is applied; the same on every rank. Either number may not be finite."""

    loss: float
    norm: float


class Engine:
    """One process, one device.

    Attributes:
        model: The model itself, its parameters under their Hugging Face names, as the optimizer holds them.
        optimizer: Its groups name their curve (:mod:`huohou.train.optim`).
        scaler: The loss scale of fp16, else ``None``.
        world: The processes that share the run.
    """

    name: ClassVar[str] = "single"

    def __init__(
        self,
        model: torch.nn.Module,
        make_optimizer: MakeOptimizer,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        world: World = ALONE,
    ) -> None:
        self.world, self.device, self.dtype = world, device, dtype
        self.scaler = LossScale() if dtype == "float16" else None
        self.model = self.wrap(model)
        self.optimizer = make_optimizer(self.model)
        self._norms: torch.Tensor | None = None

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """Take the model over; returns it with the parameters that the optimizer shall hold."""
        return model

    # One update

    def begin(self) -> None:
        """Forget the gradients of the update before."""
        self.optimizer.zero_grad(set_to_none=True)
        self._norms = None

    def accumulate(self, loss: Loss, *, last: bool) -> torch.Tensor:
        """Forward and backward of one micro-batch, the ``last`` one of this update or not; its loss, detached."""
        with self.precision():
            value = self.apply(loss)
        (value * self.scaler.scale if self.scaler else value).backward()
        return value.detach()

    def reduce(self, loss: torch.Tensor) -> Outcome:
        """The loss and the gradient norm of the whole batch, from this rank's sum of losses.

        Gradients of groups whose rate is exactly 0 are dropped first: such a group is not touched by this update.
        """
        self.drop_resting()
        gradients = self.gradients()
        if self.scaler:
            self.scaler.unscale(gradients)
        self._norms = probes.tensor_norms(gradients) if gradients else torch.zeros(0, device=loss.device)
        total, norm = torch.stack((loss.float(), probes.global_norm(self._norms).to(loss.device))).tolist()
        return Outcome(total, norm)

    def drop_resting(self) -> None:
        """Drop the gradients of groups that rest in this update."""
        for group in self.optimizer.param_groups:
            if group["lr"] == 0.0:
                for parameter in group["params"]:
                    parameter.grad = None

    def clip(self, norm: float, limit: float | None) -> bool:
        """Scale the gradients to the norm ``limit`` where theirs, ``norm``, is larger; says whether it did."""
        return probes.clip(self.gradients(), norm, limit)

    def step(self) -> None:
        """Let the optimizer change the weights."""
        self.optimizer.step()
        if self.scaler:
            self.scaler.applied()

    def skip(self) -> None:
        """The update is not applied: weights and optimizer stay as they are."""
        if self.scaler:
            self.scaler.overflowed()

    def layer_norms(self) -> dict[str, float]:
        """The gradient norm of each layer in the update that was just reduced, before clipping; on every rank."""
        assert self._norms is not None
        return probes.layer_norms(self.gradient_names(), self._norms)

    def gradients(self) -> list[torch.Tensor]:
        """This rank's part of the gradients, as plain tensors, in the order of the parameters."""
        return [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]

    def gradient_names(self) -> list[str]:
        """The names of the parameters that have gradients, in the same order."""
        return [name for name, parameter in self.model.named_parameters() if parameter.grad is not None]

    # Using the model

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(model, *arguments)``, the model being ready to compute; every rank calls it alike."""
        return function(self.model, *arguments)

    def precision(self) -> AbstractContextManager[object]:
        """fp32 as it is; lower precisions by autocast, which keeps weights and sums in fp32."""
        if self.dtype == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=getattr(torch, self.dtype))

    @contextlib.contextmanager
    def looking(self, *, whole: bool = False) -> Iterator[None]:
        """The model in evaluation mode; with ``whole`` every weight of it is at hand, as generation needs."""
        training = self.model.training
        self.model.eval()
        try:
            with self.precision(), self.whole() if whole else contextlib.nullcontext():
                yield
        finally:
            self.model.train(training)

    def whole(self) -> AbstractContextManager[object]:
        """While it lasts, every rank holds all weights and may call any part of the model."""
        return contextlib.nullcontext()

    # The state

    def pieces(self) -> Mapping[str, Mapping[str, Piece]]:
        """What this rank writes of the state: for ``model`` and ``optimizer`` its pieces by name.

        A parameter's optimizer state is named ``parameter/key``. The pieces of all ranks together are the whole, none
        of it twice.
        """
        tensors = {
            "model": state.model_tensors(self.model),
            "optimizer": state.optimizer_tensors(self.optimizer, self.model),
        }
        held = {part: {name: Piece.of(t) for name, t in named.items()} for part, named in tensors.items()}
        return {
            part: {name: piece for name, piece in named.items() if piece.sharded or self.world.leads}
            for part, named in held.items()
        }

    def restore(self, model: Source, optimizer: Source) -> None:
        """Put the state back from whole tensors or parts of them, whoever wrote it; every rank calls it."""
        state.load_model(self.model, model)
        state.load_optimizer(self.optimizer, self.model, optimizer)

    def written(self) -> AbstractContextManager[torch.nn.Module | None]:
        """The model with every weight whole, to be written to a folder, on rank 0; ``None`` on the others.

        Every rank enters it. The weights are in the type they are trained in, and nothing may be computed with them.
        """
        return contextlib.nullcontext(self.model if self.world.leads else None)
