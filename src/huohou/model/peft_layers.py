"""PEFT's layers in a model of ours or of transformers: putting them in, and finding things around them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import nn

from huohou.errors import UserError, missing_extra
from huohou.model.rows import INNER, NEW

NAME = "default"
"""PEFT's name of the one adapter that a model has here."""


class _Shell(nn.Module):
    """Holds a model while PEFT goes through it: our configurations are not those that PEFT asks for."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model
        # What PEFT asks to know which of its layers to take.
        self.is_loaded_in_4bit: Any = any(type(module).__name__ == "Linear4bit" for module in model.modules())


def inject(
    model: nn.Module, targets: Sequence[str], *, rank: int, alpha: float, dropout: float, rslora: bool, dora: bool
) -> None:
    if not targets:
        raise UserError("lora: there is no matrix to adapt.", "lora：没有可加适配器的矩阵。")
    peft = peft_library()
    shell = _Shell(model)
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=plain_number(alpha),
        lora_dropout=dropout,
        # Whole names: PEFT also takes what merely ends like them, which nothing here does.
        target_modules=[f"inner.{name}" for name in targets],
        use_rslora=rslora,
        use_dora=dora,
    )
    kept = {id(parameter): parameter.requires_grad for parameter in model.parameters()}
    # PEFT draws the first matrices from the global generators; they are drawn again from the seed.
    with torch.random.fork_rng(devices=[]):
        peft.inject_adapter_in_model(config, shell, NAME)
    for parameter in model.parameters():
        parameter.requires_grad_(kept.get(id(parameter), True))


def lora_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """PEFT's layers by Hugging Face's name of the matrix that they stand around."""
    return [(name.removeprefix(INNER), module) for name, module in model.named_modules() if is_lora(module)]


def has_adapters(model: nn.Module) -> bool:
    """Whether adapters were put into a model."""
    return any(is_lora(module) for module in model.modules())


def is_lora(module: nn.Module) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "base_layer") and NAME in module.lora_A  # pyright: ignore[reportOperatorIssue]


def ends(model: nn.Module) -> tuple[Any, Any]:
    """Embedding and head."""
    return model.get_input_embeddings(), model.get_output_embeddings()  # pyright: ignore[reportCallIssue]


def end_names(model: nn.Module) -> dict[str, str]:
    """Hugging Face's names of embedding and head."""
    inputs, outputs = ends(model)
    names = {id(module): name.removeprefix(INNER) for name, module in model.named_modules()}
    return {"input": names[id(inputs)], "output": names[id(outputs)]}


def all_rows(module: nn.Module) -> torch.Tensor:
    """All rows of an embedding or head, old and new."""
    rows = [parameter.detach() for name, parameter in module.named_parameters() if name in ("weight", NEW)]
    return torch.cat(rows)


def layer_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules inside the model's layers, by their full names."""
    names = {id(module): name for name, module in model.named_modules()}
    for layer in _layers(model):
        for module in layer.modules():
            yield names[id(module)], module


def _layers(model: nn.Module) -> list[nn.Module]:
    layers: Any = getattr(model, "layers", None)
    if callable(layers):
        return list(cast("Any", layers)())
    # A model of transformers: the longest list of modules is its layers.
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len, default=nn.ModuleList()))


def plain_number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def peft_library() -> Any:
    """PEFT, which takes a while to import; absent, a ``UserError`` says how to install it."""
    # It imports bitsandbytes where that is there, which advertises a faster package for one thing that is not used.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        import peft
    except ImportError as error:
        raise missing_extra(error.name or "peft", "lora") from None
    return peft
