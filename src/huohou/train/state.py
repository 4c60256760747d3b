"""What a run's state consists of, as named tensors and plain numbers, and how it is put back.

Names are the model's parameter names, so that the state does not depend on the order in which an optimizer happens
to keep its parameters.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from huohou.errors import UserError

Tensors = dict[str, torch.Tensor]


def model_tensors(model: torch.nn.Module) -> Tensors:
    """Parameters and persistent buffers by name; what is shared (a tied head) is there once."""
    seen: set[int] = set()
    tensors: Tensors = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            seen.add(tensor.data_ptr())
            tensors[name] = tensor
    return tensors


@torch.no_grad()
def load_model(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put the tensors back into the model, whose names, shapes and dtypes must be the same."""
    own = model_tensors(model)
    _check_names("model", set(own), set(tensors))
    for name, tensor in own.items():
        _check_shape(name, tensor, tensors[name])
        tensor.copy_(tensors[name])


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> Tensors:
    """The optimizer's state, ``parameter/key``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put the optimizer's state back; its groups and settings stay as the plan made them."""
    parameters = dict(model.named_parameters())
    state: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, _, key = name.rpartition("/")
        _check_names("optimizer", set(parameters), {parameter}, partial=True)
        if tensor.dim() > 0:
            _check_shape(name, parameters[parameter], tensor)
        state.setdefault(parameter, {})[key] = tensor
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


def _check_names(where: str, own: set[str], given: set[str], *, partial: bool = False) -> None:
    missing, extra = (set() if partial else own - given), given - own
    if missing or extra:
        name = min(missing or extra)
        fault = ("lacks", "缺少") if missing else ("has an unknown", "含有未知的")
        raise UserError(
            f"the checkpoint does not fit this model: its {where} state {fault[0]} {name}.",
            f"检查点与该模型不符：其 {where} 状态{fault[1]} {name}。",
        )


def _check_shape(name: str, own: torch.Tensor, given: torch.Tensor) -> None:
    if own.shape != given.shape:
        raise UserError(
            f"the checkpoint does not fit this model: {name} has shape {tuple(given.shape)}, "
            f"the model {tuple(own.shape)}.",
            f"检查点与该模型不符：{name} 的形状为 {tuple(given.shape)}，模型为 {tuple(own.shape)}。",
        )
