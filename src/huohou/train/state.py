"""What a run's state consists of, as named tensors and plain numbers, and how it is put back.

Names are the model's parameter names, so that the state does not depend on the order in which an optimizer happens
to keep its parameters. A process may hold only a part of a tensor; every part says where it lies in the whole, so a
state that one number of processes wrote is read by any other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from huohou.errors import UserError

Tensors = dict[str, torch.Tensor]

_SHAPED = ("exp_avg", "exp_avg_sq")
"""What AdamW remembers in the shape of a parameter; an 8-bit optimizer's scales and codes have shapes of their own."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a tensor: the numbers ``start`` and on of the whole, counted through its rows, whose shape is given.

    ``sharded``: other ranks hold other parts; a piece that is not is the same on every rank.
    """

    tensor: torch.Tensor
    shape: tuple[int, ...]
    start: int = 0
    sharded: bool = False

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Piece:
        """What this process holds of a tensor, which may be one that FSDP2 has cut into ranges of rows."""
        if not isinstance(tensor, _Distributed):
            return cls(tensor.detach(), tuple(tensor.shape))
        local, shape = tensor.to_local().detach(), tuple(tensor.shape)
        mesh, placement = tensor.device_mesh, tensor.placements[0]
        if len(tensor.placements) != 1 or not placement.is_shard(0):
            raise NotImplementedError(f"a tensor that is placed {tensor.placements}")
        rows = -(-shape[0] // mesh.size()) if shape else 0
        first = min(mesh.get_local_rank() * rows, shape[0])
        assert local.shape[0] == min(rows, shape[0] - first)
        return cls(local, shape, first * math.prod(shape[1:]), True)


@runtime_checkable
class _Distributed(Protocol):
    """torch's DTensor, told by what it can do: importing its package takes a while and only FSDP2 needs it."""

    device_mesh: Any
    placements: Any

    def to_local(self) -> torch.Tensor: ...


class Readable(Protocol):
    """Whatever gives parts of tensors by name."""

    def read(self, name: str, start: int, count: int) -> torch.Tensor:
        """``count`` numbers of a tensor from number ``start`` on, flat."""
        ...


class Source(Mapping[str, torch.Tensor]):
    """Whole tensors by name, of which a part can be read alone."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the whole tensor."""
        return tuple(self[name].shape)

    def read(self, name: str, start: int, count: int) -> torch.Tensor:
        """``count`` numbers of a tensor from number ``start`` on, flat."""
        return self[name].flatten()[start : start + count]


class InMemory(Source):
    """A :class:`Source` over tensors that are there."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def source(tensors: Mapping[str, Any]) -> Source:
    """Tensors as something to read from."""
    return tensors if isinstance(tensors, Source) else InMemory(tensors)


def model_tensors(model: torch.nn.Module) -> Tensors:
    """Trained parameters and persistent buffers by name; what is shared (a tied head) is there once.

    A parameter that never moves comes from where the model came from, and is not part of the run's state.
    """
    tensors: Tensors = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for prefix, module in model.named_modules():
        for name, buffer in module.named_buffers(prefix, recurse=False):
            if name.rpartition(".")[2] not in module._non_persistent_buffers_set:
                tensors[name] = buffer
    return tensors


@torch.no_grad()
def load_model(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put the tensors back into the model, whose names and shapes must be the same."""
    own, given = model_tensors(model), source(tensors)
    check_names("model", set(own), set(given))
    for name, tensor in own.items():
        check_shape(name, tuple(tensor.shape), given.shape(name))
        fill(tensor, given, name)


@torch.no_grad()
def fill(tensor: torch.Tensor, given: Readable, name: str) -> None:
    """Copy into a tensor what this process holds of it."""
    piece = Piece.of(tensor)
    if piece.tensor.numel():
        piece.tensor.copy_(given.read(name, piece.start, piece.tensor.numel()).view(piece.tensor.shape))


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> Tensors:
    """The optimizer's state, ``parameter/key``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put the optimizer's state back; its groups and settings stay as the plan made them."""
    parameters, given = dict(model.named_parameters()), source(tensors)
    state: dict[str, dict[str, torch.Tensor]] = {}
    for name in given:
        parameter, _, key = name.rpartition("/")
        check_names("optimizer", set(parameters), {parameter}, partial=True)
        own, shape = parameters[parameter], given.shape(name)
        if key in _SHAPED:
            check_shape(name, tuple(own.shape), shape)
            entry = torch.zeros_like(own, dtype=given.read(name, 0, 0).dtype, requires_grad=False)
            fill(entry, given, name)
        else:
            entry = given[name].clone()
        state.setdefault(parameter, {})[key] = entry
    # The optimizer itself knows on which device and in which dtype it wants each entry.
    names = {id(parameter): name for name, parameter in parameters.items()}
    plain = optimizer.state_dict()
    plain["state"] = {
        index: state[names[id(parameter)]]
        for group, packed in zip(optimizer.param_groups, plain["param_groups"], strict=True)
        for parameter, index in zip(group["params"], packed["params"], strict=True)
        if names[id(parameter)] in state
    }
    optimizer.load_state_dict(plain)


def random_state() -> tuple[Tensors, dict[str, Any]]:
    """The state of every random generator that code in this process may draw from: torch, numpy and Python."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
    }
    if torch.cuda.is_available():
        tensors |= {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    plain = {
        "python": {"version": version, "gauss": gauss},
        "numpy": {"kind": str(kind), "position": int(position), "has_gauss": int(has_gauss), "gauss": float(cached)},
    }
    return tensors, plain


def load_random(tensors: Mapping[str, torch.Tensor], plain: Mapping[str, Any]) -> None:
    """Put the generators back where they stood. GPUs that this machine lacks are left out."""
    torch.set_rng_state(tensors["torch"])
    random.setstate((plain["python"]["version"], tuple(tensors["python"].tolist()), plain["python"]["gauss"]))
    numpy = plain["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((numpy["kind"], keys, numpy["position"], numpy["has_gauss"], numpy["gauss"]))
    for i in range(torch.cuda.device_count()):
        if f"cuda.{i}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{i}"], i)


def check_names(where: str, own: set[str], given: set[str], *, partial: bool = False) -> None:
    """Raise :class:`UserError` where names are unknown or, unless ``partial``, missing."""
    missing, extra = (set() if partial else own - given), given - own
    if missing or extra:
        name = min(missing or extra)
        fault = ("lacks", "缺少") if missing else ("has an unknown", "含有未知的")
        raise UserError(
            f"the checkpoint does not fit this model: its {where} state {fault[0]} {name}.",
            f"检查点与该模型不符：其 {where} 状态{fault[1]} {name}。",
        )


def check_shape(name: str, own: tuple[int, ...], given: tuple[int, ...]) -> None:
    """Raise :class:`UserError` where a tensor has another shape than the model's."""
    if own != given:
        raise UserError(
            f"the checkpoint does not fit this model: {name} has shape {given}, the model {own}.",
            f"检查点与该模型不符：{name} 的形状为 {given}，模型为 {own}。",
        )
