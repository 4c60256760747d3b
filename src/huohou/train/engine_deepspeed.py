"""DeepSpeed's ZeRO 0–3 (Rajbhandari et al. 2020) as an engine: the library shares out state, gradients and weights.

It is used for that and for nothing else. Rates are written into the parameter groups of our own AdamW; there is no
scheduler section, no clipping, no loss scale and no overflow check of DeepSpeed's, and its mean over the ranks is
undone, so that what it computes is what every other engine computes. Weights are fp32, lower precisions come by
autocast. What a rank holds of the state is written into our own checkpoints by parameter name, so any engine goes on
where this one stood.

DeepSpeed cannot be asked for everything by public functions: where a rank's part of a parameter lies, and the gradient
of that part, are read in :mod:`huohou.train.zero_parts`, the one place that knows its insides.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import torch
import torch.distributed as dist

from huohou.errors import missing_extra
from huohou.train import state
from huohou.train.distributed import ALONE, World
from huohou.train.engine import Engine, Loss, MakeOptimizer, Outcome
from huohou.train.engine_ddp import Whole
from huohou.train.state import Piece, Source
from huohou.train.zero_parts import CutParts, Parts

_BUCKET = 2**26
"""How many gradients or weights are sent at once (256 MiB in fp32)."""


class DeepSpeedEngine(Engine):
    """Several processes that share the optimizer's state (stage 1), gradients too (2), weights too (3), or nothing (0).

    ``offload`` keeps the optimizer's state, and in stage 3 the weights, in the memory of the host.

    Raises :class:`UserError` where the package is missing.
    """

    name: ClassVar[str] = "deepspeed"

    def __init__(
        self,
        model: torch.nn.Module,
        make_optimizer: MakeOptimizer,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        world: World = ALONE,
        zero_stage: int = 2,
        offload: bool = False,
    ) -> None:
        self._stage, self._offload = zero_stage, offload
        self._skipping = False
        self._put_aside: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        super().__init__(
            model, lambda held: self._start(held, make_optimizer(held)), device=device, dtype=dtype, world=world
        )

    def _start(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Hand model and optimizer over to DeepSpeed; returns the same optimizer, now over what this rank keeps."""
        deepspeed = _imported(self.device)
        if not dist.is_initialized():
            backend = "nccl" if self.device.startswith("cuda") else "gloo"
            store = dist.HashStore()  # pyright: ignore[reportPrivateImportUsage]
            dist.init_process_group(backend, store=store, rank=0, world_size=1)
        os.environ.setdefault("LOCAL_RANK", str(self.world.local_rank))
        curves = {id(p): number for number, group in enumerate(optimizer.param_groups) for p in group["params"]}
        self._engine, zero, _, _ = deepspeed.initialize(
            model=_Computing(model, self.precision),
            optimizer=optimizer,
            config=self._settings(model),
            dist_init_required=False,
        )
        optimizer.register_step_pre_hook(self._let_rest)
        optimizer.register_step_post_hook(self._rested)
        named = [(name, p, curves[id(p)]) for name, p in model.named_parameters() if p.requires_grad]
        kind = CutParts if self._stage == 3 else Parts
        self._parts = kind(zero, optimizer, named, leads=self.world.leads) if self._stage else None
        self._deepspeed = deepspeed
        return optimizer

    def _settings(self, model: torch.nn.Module) -> dict[str, Any]:
        """DeepSpeed's configuration; what is not here is off or never used."""
        bucket = min(_BUCKET, max(1, sum(p.numel() for p in model.parameters())))
        zero: dict[str, Any] = {
            "stage": self._stage,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        }
        if self._offload and self._stage:
            # Pinned pages make the transfers to a GPU fast; on a machine without one they cannot be had.
            place = {"device": "cpu", "pin_memory": self.device.startswith("cuda")}
            zero["offload_optimizer"] = place
            if self._stage == 3:
                zero["offload_param"] = place
        return {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": 0.0,
            "steps_per_print": None,
            "zero_optimization": zero,
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
        }

    def _let_rest(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Before a step: groups whose rate is 0, or all when the update is skipped, have no gradients."""
        for group in optimizer.param_groups:
            if self._skipping or group["lr"] == 0.0:
                for parameter in group["params"]:
                    self._put_aside.append((parameter, parameter.grad))
                    parameter.grad = None

    def _rested(self, *_: Any) -> None:
        """After it: offloading keeps gradients in the same memory throughout, so they are put back."""
        for parameter, gradient in self._put_aside:
            parameter.grad = gradient
        self._put_aside.clear()

    # One update

    def begin(self) -> None:
        """DeepSpeed forgets gradients at the end of a step."""
        self._norms = None

    def accumulate(self, loss: Loss, *, last: bool) -> torch.Tensor:
        """Forward and backward of one micro-batch; before the backward pass DeepSpeed must know which is the last."""
        self._engine.set_gradient_accumulation_boundary(last)
        value = self.apply(loss)
        # DeepSpeed divides the sum over ranks by their number, so each loss is multiplied by it beforehand.
        factor = self.world.size * (self.scaler.scale if self.scaler else 1.0)
        self._engine.backward(value * factor, scale_wrt_gas=False)
        return value.detach()

    def reduce(self, loss: torch.Tensor) -> Outcome:
        """The loss and the gradient norm of the whole batch; every rank adds the squares of the part that it holds."""
        if self._parts is None:
            [total] = self.world.sums([float(loss)])
            return Outcome(total, super().reduce(loss).norm)
        resting = self._resting()
        if self.scaler:
            self.scaler.unscale(self._parts.gradients(resting))
        total, *squares = self.world.sums([float(loss), *self._parts.squares(resting)])
        self._norms = torch.tensor(squares, dtype=torch.float64).sqrt()
        return Outcome(total, float(torch.linalg.vector_norm(self._norms)))

    def _resting(self) -> frozenset[int]:
        return frozenset(n for n, group in enumerate(self.optimizer.param_groups) if group["lr"] == 0.0)

    def gradients(self) -> list[torch.Tensor]:
        """This rank's part of the gradients of groups that move."""
        return super().gradients() if self._parts is None else self._parts.gradients(self._resting())

    def gradient_names(self) -> list[str]:
        """The names of the parameters that move."""
        return super().gradient_names() if self._parts is None else self._parts.names(self._resting())

    def step(self) -> None:
        """Let the optimizer change the weights, and every rank have what it needs of them."""
        self._engine.step()
        if self.scaler:
            self.scaler.applied()

    def skip(self) -> None:
        """A step in which every group rests: DeepSpeed forgets the gradients, and nothing else changes."""
        self._skipping = True
        try:
            self._engine.step()
        finally:
            self._skipping = False
        super().skip()

    # Using the model

    def apply(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(model, *arguments)`` in DeepSpeed's forward pass, which brings weights to where they are used."""
        return self._engine(function, *arguments)

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """While it lasts, every rank holds all weights and may call any part of the model."""
        if self._stage < 3:
            yield
            return
        with self._deepspeed.zero.GatheredParameters(list(self.model.parameters())):
            yield

    @contextlib.contextmanager
    def written(self) -> Iterator[torch.nn.Module | None]:
        """The model with every weight whole, on rank 0; in stage 3 they are collected one by one, on the CPU."""
        held: list[tuple[dict[str, Any], str, torch.nn.Parameter]] = []
        whole: dict[int, torch.nn.Parameter] = {}
        for module in self.model.modules() if self._stage == 3 else ():
            for name, parameter in module._parameters.items():
                if parameter is None:
                    continue
                held.append((module._parameters, name, parameter))
                if id(parameter) not in whole:
                    with self._deepspeed.zero.GatheredParameters([parameter]):
                        # The others take part in collecting and keep nothing.
                        kept = parameter.detach().cpu().clone() if self.world.leads else torch.empty(0)
                    whole[id(parameter)] = torch.nn.Parameter(kept, requires_grad=False)
        try:
            for parameters, name, parameter in held:
                parameters[name] = whole[id(parameter)]
            yield self.model if self.world.leads else None
        finally:
            for parameters, name, parameter in held:
                parameters[name] = parameter

    # The state

    def pieces(self) -> Mapping[str, Mapping[str, Piece]]:
        """What this rank writes of the state."""
        if self._parts is None:
            return super().pieces()
        buffers = {name: t for name, t in state.model_tensors(self.model).items() if not isinstance(t, _PARAMETER)}
        model = {name: Piece.of(buffer) for name, buffer in buffers.items()} if self.world.leads else {}
        return {"model": {**model, **self._parts.weights()}, "optimizer": self._parts.moments()}

    def restore(self, model: Source, optimizer: Source) -> None:
        """Put the state back from whole tensors or parts of them, whoever wrote it."""
        if self._parts is None:
            super().restore(model, optimizer)
            return
        own = state.model_tensors(self.model)
        state.check_names("model", set(own), set(model))
        self._parts.check(model, optimizer)
        for name, tensor in own.items():
            if not isinstance(tensor, _PARAMETER):
                state.fill(tensor, model, name)
        self._parts.load(model, optimizer)


_PARAMETER = torch.nn.Parameter


class _Computing(Whole):
    """The model as DeepSpeed calls it: it ends an autocast that was begun outside, so it is begun inside."""

    def __init__(self, model: torch.nn.Module, precision: Callable[[], Any]) -> None:
        super().__init__(model)
        self._precision = precision

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._precision():
            return super().forward(function, *arguments)


def _imported(device: str) -> Any:
    """The package, silent, and without anything that it would compile on the way."""
    if device == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        import deepspeed
    except ImportError:
        raise missing_extra("deepspeed", "deepspeed") from None
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # Its own collective for CPUs is compiled when it is first needed, for most of a minute; gloo does the same.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    warnings.filterwarnings("ignore", r".*is deprecated. Please use", FutureWarning, r"torch\.distributed\.")
    return deepspeed
