"""An adapter of a folder in a model in memory: live beside the weights, or merged into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from huohou.errors import UserError
from huohou.model.adapter import Adapter, check_before
from huohou.model.base import Base
from huohou.model.peft_layers import NAME, all_rows, end_names, ends, inject, lora_layers
from huohou.model.rows import INNER, hf_name, is_grown, split_rows


def merge_adapters(model: nn.Module, adapters: Sequence[Path | Adapter]) -> None:
    """Merge adapters into the weights of a model in memory, in order, in fp32.

    Rows that an adapter has beyond the model's are added to it. Raises ``UserError`` for an adapter whose tensors do
    not all have their place in the model. Which base it was trained on is :func:`check_adapters`'s question.
    """
    for given in adapters:
        adapter = given if isinstance(given, Adapter) else Adapter(given)
        parameters = {hf_name(name): parameter for name, parameter in model.named_parameters()}
        _refuse_unmatched(adapter, set(parameters))
        _set_ends(model, adapter)
        done = {f"{name}.weight" for name in end_names(model).values()}
        with torch.no_grad():
            for name in sorted(adapter.touched() - done):
                parameters[name].copy_(adapter.applied(name, parameters[name].detach().float().cpu()))


def check_adapters(folders: Sequence[Path], base: Base) -> list[Path]:
    """Refuse adapters that were trained on another base; returns those that do not say on which."""
    return [adapter.folder for adapter in check_before([Adapter(folder) for folder in folders], base)]


def read_adapter(model: nn.Module, adapter: Path | Adapter, *, trainable: bool = False) -> None:
    """Put the adapter of a folder (ours or PEFT's) into a model, live.

    Its low-rank matrices stand beside the base's; rows and modules that it has as a whole take the base's place, and
    what it adapts of embedding and head is merged, since their rows are read as they stand. ``trainable``: to go on
    training it, else nothing requires gradients.
    """
    adapter = adapter if isinstance(adapter, Adapter) else Adapter(adapter)
    parameters = {hf_name(name): parameter for name, parameter in model.named_parameters()}
    _refuse_unmatched(adapter, set(parameters))
    _set_ends(model, adapter)
    done = set(end_names(model).values())
    with torch.no_grad():
        for name in sorted(set(adapter.whole) - {f"{end}.weight" for end in done}):
            adapter.shape_after(name, parameters[name].shape)
            parameters[name].copy_(adapter.get(adapter.whole[name]))
    low = {module: parts for module, parts in adapter.low.items() if module not in done}
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if not low:
        return
    own = {name.removeprefix(INNER): name for name, _ in model.named_modules()}
    ranks = {module: adapter.shape(parts.a)[0] for module, parts in low.items()}
    scales = {module: parts.scale for module, parts in low.items()}
    dora = bool(adapter.config.get("use_dora"))
    for rank, scale in sorted(set(zip(ranks.values(), scales.values(), strict=True))):
        chosen = [own[module] for module in low if (ranks[module], scales[module]) == (rank, scale)]
        dropout = float(adapter.config.get("lora_dropout", 0.0)) if trainable else 0.0
        inject(model, chosen, rank=rank, alpha=scale * rank, dropout=dropout, rslora=False, dora=dora)
    with torch.no_grad():
        for module, layer in lora_layers(model):
            parts = low[module]
            layer.lora_A[NAME].weight.copy_(adapter.get(parts.a))
            layer.lora_B[NAME].weight.copy_(adapter.get(parts.b))
            if parts.magnitude is not None:
                layer.lora_magnitude_vector[NAME].weight.copy_(adapter.get(parts.magnitude))
    if not trainable:
        for parameter in model.parameters():
            parameter.requires_grad_(False)


def follows(adapter: Adapter, embedding: str) -> bool:
    """Whether a tied head takes part in what an adapter does to the embedding, as PEFT has it."""
    if adapter.config.get("ensure_weight_tying"):
        return True
    return embedding in adapter.rows and f"{embedding}.weight" not in adapter.whole and embedding not in adapter.low


def _refuse_unmatched(adapter: Adapter, names: set[str]) -> None:
    unmatched = sorted(adapter.touched() - names - {"lm_head.weight"})
    if unmatched:
        raise UserError(
            f"{adapter.folder} adapts {unmatched[0]} (and {len(unmatched) - 1} more), which the model does not have; "
            "it belongs to another model.",
            f"{adapter.folder} 适配 {unmatched[0]}（另有 {len(unmatched) - 1} 个），模型中没有；它属于别的模型。",
        )


def _set_ends(model: nn.Module, adapter: Adapter) -> None:
    """Give embedding and head what the adapter has for them, growing them where it has more rows."""
    names, (inputs, outputs) = end_names(model), ends(model)
    touched = adapter.touched()
    if not touched & {f"{name}.weight" for name in names.values()}:
        return
    tied = outputs.weight is inputs.weight
    made: dict[str, Tensor] = {}
    for end, module in (("input", inputs), ("output", outputs)):
        matrix = all_rows(module).detach().float().cpu()
        made[end] = adapter.applied(f"{names[end]}.weight", matrix) if f"{names[end]}.weight" in touched else matrix
    if tied and f"{names['output']}.weight" not in touched and follows(adapter, names["input"]):
        made["output"] = made["input"]
    together = made["output"].shape == made["input"].shape and torch.equal(made["output"], made["input"])
    if tied and not together:
        outputs.weight = nn.Parameter(outputs.weight.detach().clone(), requires_grad=False)
        _set_config(model, tie_word_embeddings=False)
        tied = False
    if made["input"].shape[0] != made["output"].shape[0]:
        raise UserError(
            f"{adapter.folder} leaves {made['input'].shape[0]} rows in the embedding and {made['output'].shape[0]} in "
            "the head; a model has as many in both.",
            f"{adapter.folder} 使词嵌入有 {made['input'].shape[0]} 行、"
            f"输出层有 {made['output'].shape[0]} 行；两者应当相同。",
        )
    old = all_rows(inputs).shape[0]
    if made["input"].shape[0] > old:
        head = None if tied else made["output"][old:]
        split_rows(model, old, made["input"][old:], head)
        _set_config(model, vocab_size=len(made["input"]))
        inputs, outputs = ends(model)
    with torch.no_grad():
        for end, module in (("input", inputs), ("output", outputs)):
            module.weight.copy_(made[end][: module.weight.shape[0]])
            if is_grown(module):
                module.new_weight.copy_(made[end][module.weight.shape[0] :])


def _set_config(model: nn.Module, **values: Any) -> None:
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if is_dataclass(config) and not isinstance(config, type):
            cast("Any", module).config = replace(cast("Any", config), **values)
        elif config is not None:
            for key, value in values.items():
                if hasattr(config, key):
                    setattr(config, key, value)
