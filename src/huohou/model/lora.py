"""New low-rank adapters (LoRA, Hu et al. 2021) in a model, and what else is trained beside them.

PEFT puts its layers around the decoder's matrices. What is trained as a whole (rows of the vocabulary, modules by name)
stays the model's own parameters, never a copy; in files it is written as PEFT writes trained tokens and saved modules.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from huohou.errors import UserError
from huohou.model.adapter_apply import merge_adapters
from huohou.model.parts import part_of
from huohou.model.peft_layers import NAME, ends, inject, layer_modules, lora_layers
from huohou.model.rows import NEW, is_grown, split_rows


def add_adapters(model: nn.Module, settings: Mapping[str, Any], *, seed: int, new_rows: range | None = None) -> None:
    """Put new adapters into a model; afterwards exactly what is to be trained requires gradients.

    ``settings`` are those of the section ``lora`` (``rank``, ``alpha``, ``dropout``, ``targets``, ``rslora``, ``dora``,
    ``bits``, ``rows``, ``save``, ``adapters``). The adapters that it names are merged first, then the base is quantised
    if ``bits`` is 4. ``new_rows`` are the last rows of a model that was grown in an earlier run; one that was grown in
    this process knows its own. The matrices A are drawn from ``seed`` and their names alone: every process draws the
    same, and no other random number is used up. B is zero, so the model computes what it did before.

    Raises ``UserError`` where a target or a module to save does not exist.
    """
    merge_adapters(model, [Path(path) for path in settings.get("adapters", ())])
    rows = settings.get("rows", "none")
    inputs, outputs = ends(model)
    if rows == "new" and not is_grown(inputs):
        _split(model, new_rows)
        inputs, outputs = ends(model)
    whole = _modules_to_save(model, settings.get("save", ()))
    targets = _targets(model, settings.get("targets", ("all",)), whole)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if settings.get("bits"):
        from huohou.model.bits import quantise

        quantise(model, targets)
    inject(
        model,
        targets,
        rank=settings["rank"],
        alpha=settings["alpha"],
        dropout=settings.get("dropout", 0.0),
        rslora=settings.get("rslora", False),
        dora=settings.get("dora", False),
    )
    initialise_adapters(model, seed)
    trained = [(module, NEW) for module in (inputs, outputs) if rows != "none" and is_grown(module)]
    trained += [(module, "") for module in (inputs, outputs) if rows == "all"]
    trained += [(module, "") for module in whole.values()]
    for module, only in trained:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(parameter.requires_grad or not only or name == only)


@torch.no_grad()
def initialise_adapters(model: nn.Module, seed: int) -> None:
    """A as ``nn.Linear`` begins, drawn from the seed and its own name; B zero; DoRA's lengths those of the base.

    Called again for a model that was made without memory, once the base's weights are there.
    """
    for name, layer in lora_layers(model):
        digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        a = layer.lora_A[NAME].weight
        drawn = torch.empty(a.shape)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
        a.copy_(drawn)
        nn.init.zeros_(layer.lora_B[NAME].weight)
        weight = layer.get_base_layer().weight
        # A quantised matrix had its lengths measured when PEFT's layer was put around it.
        if NAME in layer.lora_magnitude_vector and weight.is_floating_point():
            layer.lora_magnitude_vector[NAME].weight.copy_(torch.linalg.norm(weight.float(), dim=1))


def trained_parts(model: nn.Module) -> set[str]:
    """The parts (:mod:`huohou.model.parts`) in which something requires gradients."""
    parts = part_of(model)
    return {parts[name] for name, parameter in model.named_parameters() if parameter.requires_grad}


def _targets(model: nn.Module, wanted: Sequence[str], whole: Mapping[str, nn.Module]) -> list[str]:
    """The names of the matrices to adapt, each a module of the model's layers."""
    found = {
        name: module
        for name, module in layer_modules(model)
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
    }
    for module in whole.values():
        inside = {id(part) for part in module.modules()}
        found = {name: one for name, one in found.items() if id(one) not in inside}
    if tuple(wanted) == ("all",):
        return list(found)
    chosen: set[str] = set()
    for target in wanted:
        matching = {name for name in found if name == target or name.endswith(f".{target}")}
        if not matching:
            known = sorted({name.rpartition(".")[2] for name in found})
            raise UserError(
                f"lora.targets: there is no matrix {target!r} in the layers; there are {', '.join(known)}. (Rows of "
                "embedding and head are trained by lora.rows, whole modules by lora.save.)",
                f"lora.targets：各层中没有矩阵 {target!r}；可用的有 {'、'.join(known)}。"
                "（词嵌入与输出层的行用 lora.rows 训练，整个模块用 lora.save。）",
            )
        chosen |= matching
    return [name for name in found if name in chosen]


def _modules_to_save(model: nn.Module, wanted: Sequence[str]) -> dict[str, nn.Module]:
    chosen: dict[str, nn.Module] = {}
    for target in wanted:
        matching = {
            name: module for name, module in model.named_modules() if name == target or name.endswith(f".{target}")
        }
        if not matching:
            known = sorted(
                {
                    name.rpartition(".")[2]
                    for name, module in model.named_modules()
                    if name and not list(module.children())
                }
            )
            raise UserError(
                f"lora.save: there is no module {target!r}; there are {', '.join(known)}.",
                f"lora.save：没有模块 {target!r}；可用的有 {'、'.join(known)}。",
            )
        chosen |= matching
    return chosen


def _split(model: nn.Module, new_rows: range | None) -> None:
    """Make the last rows of embedding and head parameters of their own."""
    inputs, outputs = ends(model)
    count = inputs.weight.shape[0]
    if new_rows is None or not len(new_rows) or new_rows.stop != count or new_rows.start < 1:
        raise UserError(
            "lora.rows: new, but the model's vocabulary was not grown in this run; write rows: all, or none.",
            "lora.rows 为 new，但本次训练没有扩充模型的词表；请写 rows: all 或 none。",
        )
    first = new_rows.start
    tied = outputs.weight is inputs.weight
    head = None if tied else outputs.weight.detach()[first:].clone()
    split_rows(model, first, inputs.weight.detach()[first:].clone(), head)
