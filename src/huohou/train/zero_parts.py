"""Where DeepSpeed keeps a rank's part of each parameter, of its gradient and of its moments.

Stages 1 and 2 put the parameters of a group one behind the other, in fp32, and give each rank an equal range of that
row; stage 3 cuts every parameter into equal ranges, the last one filled up. Either way what a rank holds of a parameter
is one range of its numbers, which is what a checkpoint stores (:class:`huohou.train.state.Piece`). Read in DeepSpeed
0.19; a test compares every number with that of one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from huohou.errors import UserError
from huohou.train import state
from huohou.train.state import Piece, Source, check_names, check_shape

Named = Sequence[tuple[str, torch.nn.Parameter, int]]
"""Every trainable parameter: its name, itself, and the number of its parameter group."""


@dataclass(frozen=True, slots=True)
class Range:
    """``count`` numbers of a parameter from ``start`` on (0: none is here), which lie at ``offset`` of ``flat``.

    ``flat`` holds the fp32 weights of many parameters; the optimizer steps it, and its state has the same shape.
    """

    flat: torch.Tensor
    offset: int
    start: int
    count: int

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """The range in ``flat`` or in a tensor that is laid out like it."""
        return tensor.detach().view(-1)[self.offset : self.offset + self.count]


class Parts:
    """The parts of stages 1 and 2. ``zero`` is DeepSpeed's optimizer around ours."""

    def __init__(self, zero: Any, optimizer: torch.optim.Optimizer, named: Named, *, leads: bool) -> None:
        self.zero, self.optimizer, self.named, self.leads = zero, optimizer, named, leads

    def range(self, parameter: Any, group: int) -> Range:
        """Where the part of a parameter lies."""
        flat, mapping = self.zero.single_partition_of_fp32_groups[group], parameter._hp_mapping
        if mapping is None:
            return Range(flat, 0, 0, 0)
        here, there = mapping.get_hp_fragment_address(), mapping.lp_fragment_address
        return Range(flat, here.start, there.start, here.numel)

    def gradient(self, parameter: Any, group: int) -> torch.Tensor | None:
        """The part of a gradient, after the last backward pass of an update and before the step."""
        mapping = parameter._hp_mapping
        if mapping is None:
            return None
        if self.zero.cpu_offload:
            return self.range(parameter, group).of(self.zero.single_partition_of_fp32_groups[group].grad)
        return mapping.get_lp_grad_fragment(parameter._index_in_param_group)

    def shape(self, parameter: Any) -> tuple[int, ...]:
        """The shape of the whole parameter."""
        return tuple(parameter.shape)

    def fill(self, model: Source) -> None:
        """Put weights back where the forward pass and the optimizer find them."""
        for name, parameter, _ in self.named:
            state.fill(parameter, model, name)
        self.zero.refresh_fp32_params()

    # What follows is the same for all stages that share anything.

    def names(self, resting: frozenset[int]) -> list[str]:
        """The parameters whose group does not rest."""
        return [name for name, _, group in self.named if group not in resting]

    def gradients(self, resting: frozenset[int]) -> list[torch.Tensor]:
        """What this rank holds of their gradients; changing it in place changes what is applied."""
        return [part for part in self._gradients(resting) if part is not None]

    def squares(self, resting: frozenset[int]) -> list[float]:
        """For each of :meth:`names` the sum of squares of what this rank holds of its gradient."""
        parts = self._gradients(resting)
        present = [part for part in parts if part is not None]
        norms = torch._foreach_norm(present) if present else []  # pyright: ignore[reportPrivateImportUsage]
        values = iter(torch.stack([norm.float() for norm in norms]).double().square().tolist() if norms else [])
        return [0.0 if part is None else next(values) for part in parts]

    def _gradients(self, resting: frozenset[int]) -> list[torch.Tensor | None]:
        return [self.gradient(parameter, group) for _, parameter, group in self.named if group not in resting]

    def _ranges(self) -> Iterator[tuple[str, tuple[int, ...], Range]]:
        for name, parameter, group in self.named:
            yield name, self.shape(parameter), self.range(parameter, group)

    def weights(self) -> Mapping[str, Piece]:
        """This rank's ranges of the weights."""
        return {
            name: Piece(part.of(part.flat), shape, part.start, True)
            for name, shape, part in self._ranges()
            if part.count
        }

    def moments(self) -> Mapping[str, Piece]:
        """This rank's ranges of the optimizer's state, ``parameter/key``; the count of steps comes from rank 0."""
        pieces: dict[str, Piece] = {}
        for name, shape, part in self._ranges():
            for key, value in self.optimizer.state.get(part.flat, {}).items():
                if value.dim() and part.count:
                    pieces[f"{name}/{key}"] = Piece(part.of(value), shape, part.start, True)
                elif not value.dim() and self.leads:
                    # One count serves the whole group, but a file holds each name's own.
                    pieces[f"{name}/{key}"] = Piece(value.clone(), ())
        return pieces

    def check(self, model: Source, optimizer: Source) -> None:
        """Raise :class:`UserError` where shapes or the names of the optimizer's state are not those of this model."""
        shapes = {name: self.shape(parameter) for name, parameter, _ in self.named}
        for name, shape in shapes.items():
            check_shape(name, shape, model.shape(name))
        for name in optimizer:
            parameter = name.rpartition("/")[0]
            check_names("optimizer", set(shapes), {parameter}, partial=True)
            if optimizer.shape(name):
                check_shape(name, shapes[parameter], optimizer.shape(name))

    @torch.no_grad()
    def load(self, model: Source, optimizer: Source) -> None:
        """Put weights and the optimizer's state back."""
        self.fill(model)
        self.optimizer.state.clear()
        keys: dict[str, list[str]] = {}
        for name in optimizer:
            parameter, _, key = name.rpartition("/")
            keys.setdefault(parameter, []).append(key)
        for name, _, part in self._ranges():
            for key in keys.get(name, ()):
                held, whole = self.optimizer.state[part.flat], f"{name}/{key}"
                if optimizer.shape(whole):
                    row = held.setdefault(key, torch.zeros_like(part.flat, requires_grad=False))
                    if part.count:
                        part.of(row).copy_(optimizer.read(whole, part.start, part.count))
                else:
                    value = optimizer[whole].clone()
                    if not torch.equal(held.setdefault(key, value).cpu(), value):
                        raise _different(name, key)
        for group in self.optimizer.param_groups:
            for held in self.optimizer.state.values():
                if group.get("fused") and "step" in held:
                    held["step"] = held["step"].to(held["exp_avg"].device)


class CutParts(Parts):
    """The parts of stage 3."""

    def range(self, parameter: Any, group: int) -> Range:
        """Where the part of a parameter lies."""
        number, offset, size = self.zero.grad_position[self.zero.get_param_id(parameter)]
        start = self.zero._get_param_partition_rank(parameter) * size
        count = max(0, min(size, parameter.ds_numel - start))
        return Range(self.zero.fp32_partitioned_groups_flat[number], offset, start, count)

    def gradient(self, parameter: Any, group: int) -> torch.Tensor | None:
        """The part of a gradient; what fills it up is zero."""
        return self.zero._get_fp32_grad_state_partition(parameter, release_swap_buffers=True)[0]

    def shape(self, parameter: Any) -> tuple[int, ...]:
        """The shape of the whole parameter."""
        return tuple(parameter.ds_shape)

    def fill(self, model: Source) -> None:
        """Put weights back; small ones, which every rank keeps whole, are collected again."""
        self.zero.checkpoint_event_prologue()
        for name, parameter, group in self.named:
            part, held = self.range(parameter, group), parameter.ds_tensor  # pyright: ignore[reportAttributeAccessIssue]
            if part.count:
                held.data.view(-1)[: part.count].copy_(model.read(name, part.start, part.count))
        self.zero.refresh_fp32_params()
        self.zero.checkpoint_event_epilogue()


def _different(name: str, key: str) -> UserError:
    return UserError(
        f"the checkpoint's optimizer state {name}/{key} differs from that of its parameter group, but DeepSpeed keeps "
        f"one for a group: go on with train.engine: ddp, or begin with optimizer.state: fresh.",
        f"检查点中的优化器状态 {name}/{key} 与同一参数组的不同，而 DeepSpeed 每组只保留一份："
        f"请用 train.engine: ddp 继续，或以 optimizer.state: fresh 开始。",
    )
