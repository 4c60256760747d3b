"""What a run will need: floating-point operations, memory and time, each with what it rests on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huohou.errors import UserError
from huohou.language import Text

UTILISATION = 0.4
"""The share of a device's peak that well-made training loops reach; 0.3 to 0.5 is usual."""

PEAKS = {
    "rtx3090": 71e12,
    "rtx4090": 165e12,
    "v100": 125e12,
    "a100": 312e12,
    "a800": 312e12,
    "h100": 989e12,
    "h800": 989e12,
    "h200": 989e12,
}
"""Dense half-precision operations a second, from the makers' data sheets."""

CORE_RATE = 50e9
"""Useful fp32 operations a second of one CPU core in training, measured at 1 to 6 million parameters (AVX-512)."""

_CPU_LIMIT = 200_000_000
"""A model with more parameters is not trained on a CPU."""

BYTES_PER_PARAMETER = 16
"""fp32 weights, gradients and two AdamW moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the estimates are made from; ``None`` where it is not known.

    Attributes:
        parameters: Of the model.
        flops_per_token: Forward and backward, attention included; 6 × parameters where the shape is not known.
        tokens: Of the whole run.
        micro_batch_tokens: Of one forward and backward pass in one process.
        shape: Hugging Face names of the model's sizes.
        world_size: Processes.
        hardware: ``cpu`` or a key of :data:`PEAKS`.
        speed: Tokens a second of the whole run, measured by the user.
        price: Of one device for one hour.
    """

    parameters: int | None = None
    flops_per_token: int | None = None
    tokens: int | None = None
    micro_batch_tokens: int | None = None
    shape: Mapping[str, Any] | None = None
    world_size: int = 1
    hardware: str | None = None
    speed: float | None = None
    price: float | None = None


def estimate(work: Workload) -> dict[str, Any]:
    """The budget as plain data; a value that cannot be known is ``None``.

    Raises:
        UserError: The hardware is not in the table.
    """
    per_token = work.flops_per_token or (6 * work.parameters if work.parameters else None)
    flops = per_token * work.tokens if per_token and work.tokens else None
    seconds, basis = _time(work, flops)
    hours = None if seconds is None else seconds / 3600
    return {
        "parameters": work.parameters,
        "flops": flops,
        "memory_bytes": _memory(work),
        "seconds": seconds,
        "hours": hours,
        "price": work.price,
        "cost": None if hours is None or work.price is None else hours * work.price * work.world_size,
        "basis": None if basis is None else basis.plain(),
    }


def _time(work: Workload, flops: int | None) -> tuple[float | None, Text | None]:
    if work.speed is not None:
        if work.tokens is None:
            return None, None
        basis = Text(f"the given speed of {work.speed:g} tokens/s", f"给定的速度 {work.speed:g} 词元/秒")
        return work.tokens / work.speed, basis
    if flops is None:
        return None, None
    hardware = work.hardware or ("cpu" if work.world_size == 1 and (work.parameters or 0) <= _CPU_LIMIT else "a100")
    if hardware == "cpu":
        cores = (os.cpu_count() or 1) * work.world_size
        basis = Text(
            f"{cores} CPU cores at {CORE_RATE / 1e9:g} GFLOP/s each; give --speed (tokens/s) or --hardware for yours",
            f"{cores} 个 CPU 核、每核 {CORE_RATE / 1e9:g} GFLOP/s；可用 --speed（词元/秒）或 --hardware 给出自己的",
        )
        return flops / (cores * CORE_RATE), basis
    if hardware not in PEAKS:
        known = ", ".join(["cpu", *PEAKS])
        raise UserError(
            f"hardware is {hardware!r}, which is not in the table ({known}); give --speed in tokens/s instead.",
            f"hardware 的值 {hardware!r} 不在表中（{known}）；请改用 --speed 给出 词元/秒。",
        )
    basis = Text(
        f"{work.world_size} × {hardware} at {UTILISATION:.0%} of {PEAKS[hardware] / 1e12:g} TFLOP/s; give --speed "
        "(tokens/s) once you have measured yours",
        f"{work.world_size} × {hardware}，按 {PEAKS[hardware] / 1e12:g} TFLOP/s 的 {UTILISATION:.0%}；"
        "测得自己的速度后请用 --speed（词元/秒）给出",
    )
    return flops / (work.world_size * PEAKS[hardware] * UTILISATION), basis


def _memory(work: Workload) -> int | None:
    """Bytes in one unsharded process: states, and the activations of one micro-batch where the shape is known."""
    if work.parameters is None:
        return None
    total = BYTES_PER_PARAMETER * work.parameters
    if work.shape is not None and work.micro_batch_tokens is not None:
        hidden, inner = work.shape["hidden_size"], work.shape["intermediate_size"]
        heads, kv_heads = work.shape["num_attention_heads"], work.shape["num_key_value_heads"]
        # Tensors that the backward pass needs, counted in the decoder: inputs of both norms and of the residuals,
        # queries, keys, values, the attention's output, and four of the inner size in the feed-forward part.
        kept = 8 * hidden + 2 * hidden * kv_heads // heads + 4 * inner
        logits = 3 * work.shape["vocab_size"]
        total += 4 * work.micro_batch_tokens * (kept * work.shape["num_hidden_layers"] + logits)
    return total
