"""The frozen matrices of a base in 4 bits (QLoRA, Dettmers et al. 2023), by bitsandbytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from huohou.errors import UserError, missing_extra
from huohou.model.peft_layers import peft_library


def quantise(model: nn.Module, names: Sequence[str]) -> None:
    """Replace matrices by NF4 ones with doubly quantised scales, in place; they can no longer be trained.

    Only what adapters stand around is replaced: embedding, head and norms keep their type. Products are computed in the
    type that the matrices had.
    """
    peft_library()
    try:
        from bitsandbytes import nn as bits
    except ImportError as error:
        raise missing_extra(error.name or "bitsandbytes", "bits") from None
    library: Any = bits
    for name in names:
        parent, _, last = name.rpartition(".")
        linear: Any = model.get_submodule(name)
        if type(linear) is not nn.Linear:
            raise UserError(
                f"lora.bits: {name} is a {type(linear).__name__}, which cannot be kept in 4 bits; write bits: null.",
                f"lora.bits：{name} 是 {type(linear).__name__}，无法以 4 比特保存；请写 bits: null。",
            )
        weight = linear.weight.detach()
        if weight.is_meta:
            raise UserError(
                "lora.bits: the base must be read before it is quantised; use the engine auto or ddp with bits: 4.",
                "lora.bits：量化之前必须先读入基座；bits: 4 请搭配 engine auto 或 ddp。",
            )
        small = library.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=weight.dtype if weight.dtype != torch.float64 else torch.float32,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        # On some CPUs evaluating would repack the weights, for certain shapes only and so that training cannot go on.
        small.support_avx512bf16_for_cpu = False
        small.weight = library.Params4bit(
            weight.to("cpu"), requires_grad=False, compress_statistics=True, quant_type="nf4", module=small
        )
        if linear.bias is not None:
            small.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
        # Moving it to a device is what quantises it.
        setattr(model.get_submodule(parent), last, small.to(weight.device))
