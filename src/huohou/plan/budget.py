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

WEIGHT_BYTES = {None: 4.0, 4: 0.55}
"""Bytes of a weight that does not move: fp32, or 4 bits with the scales of its blocks."""

MOMENT_BYTES = {"adamw": 8, "adamw8bit": 2, "paged_adamw8bit": 2}
"""Bytes of the two moments of a weight that moves."""


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
        trained: Parameters that move; all where it is ``None``.
        optimizer: Its name.
        bits: Of weights that do not move; ``None`` for fp32.
        divided: What the engine divides among processes: ``moments``, ``gradients``, ``weights``.
        offload: Whether what is divided lies in the memory of the CPU.
        recompute: Whether activations are computed again in the backward pass.
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
    trained: int | None = None
    optimizer: str = "adamw"
    bits: int | None = None
    divided: tuple[str, ...] = ()
    offload: bool = False
    recompute: bool = False


def estimate(work: Workload) -> dict[str, Any]:
    """The budget as plain data; a value that cannot be known is ``None``.

    Raises:
        UserError: The hardware is not in the table.
    """
    per_token = work.flops_per_token or (6 * work.parameters if work.parameters else None)
    flops = per_token * work.tokens if per_token and work.tokens else None
    seconds, basis = _time(work, flops)
    memory = _memory(work)
    hours = None if seconds is None else seconds / 3600
    return {
        "parameters": work.parameters,
        "flops": flops,
        "memory_bytes": None if memory is None else memory[0],
        "host_bytes": None if memory is None else memory[1],
        "trained": work.trained if work.trained is not None else work.parameters,
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
        # Processes on CPUs are taken to share this machine's cores.
        cores = os.cpu_count() or 1
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


def divided_by(engine: str, zero_stage: int, world_size: int) -> tuple[str, ...]:
    """What an engine divides among the processes instead of keeping it in each."""
    if world_size == 1 or engine in ("auto", "ddp"):
        return ()
    if engine == "fsdp2":
        return ("moments", "gradients", "weights")
    return ("moments", "gradients", "weights")[:zero_stage]


def _memory(work: Workload) -> tuple[int, int] | None:
    """Bytes on the device and, by offload, on the CPU, of one process; activations where the shape is known."""
    if work.parameters is None:
        return None
    trained = work.parameters if work.trained is None else work.trained
    states = {
        "weights": 4.0 * trained + WEIGHT_BYTES[work.bits] * (work.parameters - trained),
        "gradients": 4.0 * trained,
        "moments": float(MOMENT_BYTES[work.optimizer] * trained),
    }
    device, host = 0.0, 0.0
    for state, size in states.items():
        share = size / work.world_size if state in work.divided else size
        if work.offload and (state == "moments" or state in work.divided):
            host += share
        else:
            device += share
    return round(device + _activations(work)), round(host)


def _activations(work: Workload) -> int:
    """Bytes of what one micro-batch's backward pass needs."""
    names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers")
    shape, tokens = work.shape, work.micro_batch_tokens
    if shape is None or tokens is None or any(not shape.get(name) for name in names):
        return 0
    hidden, inner, heads, kv_heads, layers = (shape[name] for name in names)
    # Tensors that the backward pass needs, counted in the decoder: inputs of both norms and of the residuals,
    # queries, keys, values, the attention's output, and four of the inner size in the feed-forward part.
    kept = 8 * hidden + 2 * hidden * kv_heads // heads + 4 * inner
    logits = 3 * (shape.get("rows") or shape["vocab_size"])
    if work.recompute:
        # Each layer's input stays, and the layer that is being gone through backward is whole.
        return 4 * tokens * (hidden * layers + kept + logits)
    return 4 * tokens * (kept * layers + logits)
