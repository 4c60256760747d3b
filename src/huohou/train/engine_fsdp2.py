"""Every process holds a part of every tensor (FSDP2): weights, gradients and optimizer state are cut by rows.

A layer's weights are gathered when it computes and let go afterwards, so the memory for the state falls with the
number of processes. Layers are wrapped one by one, the rest (embedding, head, last norm) together with the root.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, fully_shard

from huohou.train import probes, state
from huohou.train.distributed import World
from huohou.train.engine import Engine, Loss, MakeOptimizer, Outcome
from huohou.train.engine_ddp import Whole
from huohou.train.state import Readable


class FSDP2Engine(Engine):
    """``offload``: weights, gradients and optimizer state live in the memory of the machine, in pinned pages where
    there is a GPU. ``fill``: where the weights of a model on the meta device come from; each rank reads its part.
    """

    name: ClassVar[str] = "fsdp2"

    def __init__(
        self,
        model: torch.nn.Module,
        make_optimizer: MakeOptimizer,
        *,
        device: str,
        dtype: str,
        world: World,
        offload: bool = False,
        weights: Readable | None = None,
    ) -> None:
        self._offload, self._weights = offload, weights
        super().__init__(model, make_optimizer, device=device, dtype=dtype, world=world)

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        lower = None if self.dtype == "float32" else getattr(torch, self.dtype)
        how: dict[str, Any] = {
            "mesh": init_device_mesh(self.device, (self.world.size,)),
            # Gradients are added up in fp32 whatever the weights are gathered in.
            "mp_policy": MixedPrecisionPolicy(param_dtype=lower, reduce_dtype=torch.float32 if lower else None),
        }
        if self._offload:
            how["offload_policy"] = CPUOffloadPolicy(pin_memory=self.device == "cuda")
        self._sharded = [fully_shard(layer, **how) for layer in layers_of(model)]
        self._wrapped: Any = fully_shard(Whole(model), **how)
        for module in (*self._sharded, self._wrapped):
            # Sums, not means: the loss was divided by the targets of all ranks before.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
        if any(parameter.is_meta for parameter in model.parameters()):
            self._fill(model)
        return model

    def _fill(self, model: torch.nn.Module) -> None:
        """Give a model without memory its memory and its weights, each rank its part."""
        assert self._weights is not None
        self._wrapped.to_empty(device="cpu" if self._offload else self.device)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                state.fill(parameter, self._weights, name)
        # It may hold whole tensors.
        self._weights = None

    def begin(self) -> None:
        super().begin()
        self._last = True

    def accumulate(self, loss: Loss, *, last: bool) -> torch.Tensor:
        if last != self._last:
            self._last = last
            for module in (*self._sharded, self._wrapped):
                module.set_requires_gradient_sync(last)
        with self.precision():
            value = self._wrapped(loss)
        (value * self.scaler.scale if self.scaler else value).backward()
        return value.detach()

    def reduce(self, loss: torch.Tensor) -> Outcome:
        self.drop_resting()
        gradients = self.gradients()
        if self.scaler:
            self.scaler.unscale(gradients)
        squares = probes.tensor_norms(gradients).double().square().tolist() if gradients else []
        total, *sums = self.world.sums([float(loss), *squares])
        self._norms = torch.tensor(sums, dtype=torch.float64).sqrt()
        return Outcome(total, float(probes.global_norm(self._norms)))

    def gradients(self) -> list[torch.Tensor]:
        return [p.grad.to_local() for p in self.model.parameters() if p.grad is not None]  # pyright: ignore[reportAttributeAccessIssue]

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self._wrapped(function, *arguments)
        finally:
            # After a forward without a backward the root's weights would stay gathered.
            self._wrapped.reshard()

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        modules: tuple[FSDPModule, ...] = (*self._sharded, self._wrapped)
        for module in modules:
            module.unshard()
        try:
            yield
        finally:
            for module in modules:
                module.reshard()

    @contextlib.contextmanager
    def written(self) -> Iterator[torch.nn.Module | None]:
        held: list[tuple[torch.nn.Module, str, torch.nn.Parameter]] = []
        whole: dict[int, torch.nn.Parameter] = {}
        for module in self.model.modules():
            for name, parameter in module._parameters.items():
                if parameter is None or not hasattr(parameter, "full_tensor"):
                    continue
                held.append((module, name, parameter))
                if id(parameter) not in whole:
                    full = parameter.detach().full_tensor()  # pyright: ignore[reportAttributeAccessIssue]
                    # The others take part in gathering and keep nothing.
                    kept = full.cpu() if self.world.leads else full.new_empty(0)
                    whole[id(parameter)] = torch.nn.Parameter(kept, requires_grad=False)
        try:
            for module, name, parameter in held:
                module._parameters[name] = whole[id(parameter)]
            yield self.model if self.world.leads else None
        finally:
            for module, name, parameter in held:
                module._parameters[name] = parameter


def layers_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers that are gathered one at a time: what the model's ``layers`` gives, else its longest list."""
    found: Any = getattr(model, "layers", None)
    if callable(found) and not isinstance(found, torch.nn.Module):
        layers: Any = found()
        return list(layers)
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    return list(max(lists, key=len)) if lists else []
