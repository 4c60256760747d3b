"""The adapters of a live model as a folder in PEFT's format, with the record of their base beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from huohou.errors import UserError
from huohou.model.adapter import PREFIX, ROWS
from huohou.model.base import ADAPTER_WEIGHTS, Base
from huohou.model.peft_layers import NAME, end_names, ends, is_lora, lora_layers, peft_library, plain_number
from huohou.model.rows import INNER, NEW, hf_name, is_grown


def write_adapter(
    model: nn.Module,
    folder: Path,
    base: Base | None = None,
    tokenizer: Any = None,
    *,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the adapters of a model as PEFT's folder, with the record of their base beside it.

    Every new row of a grown model is written, trained or not: the base on the disk does not have it. ``tensors`` are
    the whole tensors by parameter name where the model's own are parts of them (sharded over processes).
    """
    layers = lora_layers(model)
    if not layers:
        raise UserError("this model has no adapters to write.", "该模型没有可写出的适配器。")
    config, content = adapter_content(model, dict(model.named_parameters()) if tensors is None else tensors)
    config.base_model_name_or_path = base.path if base is not None else None
    folder.mkdir(parents=True, exist_ok=True)
    save_file(content, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(folder)
    if base is not None:
        base.write(folder)
    if tokenizer is not None:
        tokenizer.save(folder)


def adapter_content(model: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """PEFT's configuration of a model's adapters, and their tensors under PEFT's names."""
    layers = lora_layers(model)
    first = layers[0][1]
    content: dict[str, Tensor] = {}
    rows: dict[str, list[int]] = {}
    whole = _whole_modules(model)
    inputs, outputs = ends(model)
    tied = outputs.weight is inputs.weight
    for end, name in end_names(model).items():
        module = inputs if end == "input" else outputs
        if is_grown(module) and name not in whole and not (tied and end == "output"):
            old = cast("Tensor", module.weight).shape[0]
            rows[name] = list(range(old, old + cast("Tensor", module.new_weight).shape[0]))
    for name, tensor in tensors.items():
        plain = name.removeprefix(INNER)
        stem, _, last = plain.rpartition(".")
        value = tensor.detach().to("cpu").contiguous()
        if ".lora_" in plain:
            content[PREFIX + plain.replace(f".{NAME}", "")] = value
        elif stem in rows and last == NEW:
            content[PREFIX + stem + ROWS] = value
        elif last != NEW and any(stem == module or stem.startswith(f"{module}.") for module in whole):
            new = tensors.get(name.removesuffix("weight") + NEW)
            key = PREFIX + plain.replace(".base_layer.", ".")
            content[key] = value if new is None else torch.cat((value, new.detach().to("cpu")))
    names = {end: f"{PREFIX}{name}.weight" for end, name in end_names(model).items()}
    if tied and names["input"] in content:
        # PEFT ties the two where it loads them, and yet it wants both in the file.
        content[names["output"]] = content[names["input"]]
    peft = peft_library()
    drop = first.lora_dropout[NAME]
    config = peft.LoraConfig(
        r=first.r[NAME],
        lora_alpha=plain_number(first.lora_alpha[NAME]),
        lora_dropout=float(getattr(drop, "p", 0.0)),
        target_modules=_short_targets(model, [name for name, _ in layers]),
        use_rslora=_uses_rslora(first),
        use_dora=bool(first.use_dora[NAME]),
        modules_to_save=sorted(whole) or None,
        trainable_token_indices=rows or None,
        ensure_weight_tying=tied and bool(whole),
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    return config, {name: tensor.clone() for name, tensor in content.items()}


def _whole_modules(model: nn.Module) -> list[str]:
    """Modules that are trained as they stand, by the name under which PEFT saves them whole."""
    names = {
        hf_name(name).replace(".base_layer.", ".").rpartition(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ".lora_" not in name and not name.endswith(f".{NEW}")
    }
    inputs, outputs = ends(model)
    if outputs.weight is inputs.weight:
        # PEFT is told to tie the head to the embedding; it is not saved a second time.
        names.discard(end_names(model)["output"])
    return sorted(names)


def _short_targets(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Last parts of names where they mean the same modules, which is how people write them."""
    short = {name.rpartition(".")[2] for name in names}
    same = {
        name.removeprefix(INNER)
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in short and (isinstance(module, nn.Linear) or is_lora(module))
    }
    return sorted(short if same == set(names) else names)


def _uses_rslora(layer: Any) -> bool:
    return layer.r[NAME] != 1 and math.isclose(
        layer.scaling[NAME], layer.lora_alpha[NAME] / math.sqrt(layer.r[NAME]), rel_tol=1e-9
    )
