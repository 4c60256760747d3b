"""What ``auto`` means on this machine, settled once before the first update and kept in the plan.

Device, dtype, threads, compiled or eager, fused or not: these decide the bits that a run computes, so a run that is
taken up again uses what its plan says and not what would be chosen now.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from huohou.errors import UserError

COMPILE_FROM_SECONDS = 180.0
"""A run that is estimated to last longer is compiled. Compiling costs about ten seconds on two cores and saves between
a twentieth and a third of the time, depending on the processor (``benchmarks/README.md``)."""


class Wishes(Protocol):
    """The run file's section ``train``, as far as it is about the machine."""

    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def compile(self) -> bool | str: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def deterministic(self) -> bool: ...
    @property
    def engine(self) -> str: ...
    @property
    def zero_stage(self) -> int: ...


def settle(wishes: Wishes, *, fused: bool | str, seed: int, seconds: float | None) -> dict[str, Any]:
    """The plan's ``execution``. ``seconds`` is the plan's estimate of the whole run, if it has one.

    Raises :class:`UserError` for a wish that this machine cannot grant.
    """
    device = device_of(wishes)
    check_device(device, "train.device")
    return {
        "device": device,
        "dtype": _dtype(wishes.dtype, device),
        "compile": _compile(wishes, seconds),
        "threads": wishes.threads or torch.get_num_threads(),
        "fused": True if fused == "auto" else bool(fused),
        "seed": seed,
        "deterministic": wishes.deterministic,
    }


def device_of(wishes: Wishes) -> str:
    """The device that the run file asks for; ``auto`` is a GPU where there is one."""
    return wishes.device if wishes.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")


def check_device(device: str, where: str) -> None:
    """Raise :class:`UserError` where the device is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"{where} is cuda, but torch {torch.__version__} sees no GPU here: write cpu or auto.",
            f"{where} 为 cuda，但 torch {torch.__version__} 在本机看不到 GPU：请写 cpu 或 auto。",
        )


def _dtype(wish: str, device: str) -> str:
    if wish != "auto":
        return wish
    if device == "cpu":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _compile(wishes: Wishes, seconds: float | None) -> bool:
    """``auto`` looks at the whole plan, never at what remains of it, so that resuming changes nothing."""
    wish = wishes.compile
    if wishes.engine == "deepspeed" and wishes.zero_stage == 3:
        # DeepSpeed collects each module's weights by hooks, at every one of which a compiled layer is cut in two.
        if wish is True:
            raise UserError(
                "train.compile is true, but with train.zero_stage 3 DeepSpeed's hooks cut every layer into pieces that "
                "gain nothing: write compile: auto, or zero_stage: 2, or engine: fsdp2.",
                "train.compile 为 true，但 train.zero_stage 为 3 时 DeepSpeed 的钩子会把每层切碎，编译没有好处："
                "请写 compile: auto，或 zero_stage: 2，或 engine: fsdp2。",
            )
        return False
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")
    if wish == "auto":
        return compiler is not None and seconds is not None and seconds >= COMPILE_FROM_SECONDS
    if wish and compiler is None:
        raise UserError(
            "train.compile is true, but there is no C++ compiler here (g++, clang++, cl): install one or write false.",
            "train.compile 为 true，但本机没有 C++ 编译器（g++、clang++、cl）：请安装，或写 false。",
        )
    return bool(wish)


def keep_compiled(folder: Path) -> None:
    """Let later runs find the compiled code in ``folder``, unless ``TORCHINDUCTOR_CACHE_DIR`` names another place.

    Torch's own place is the temporary folder, which is emptied now and then, and is not the user's alone.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.resolve()))


def prepare_process(execution: Mapping[str, Any]) -> None:
    """Make this process compute as the plan says, and seed every generator."""
    check_device(execution["device"], "plan.json: execution.device")
    torch.set_num_threads(execution["threads"])
    if execution["deterministic"]:
        # cuBLAS reads this when it is first used; it is the value that its manual gives for repeatable results.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(execution["deterministic"])
    seed = execution["seed"]
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def part_ways(seed: int, rank: int) -> None:
    """Let every process draw other numbers from here on (dropout); rank 0 goes on as one process would."""
    if rank:
        torch.manual_seed(seed + rank)
        random.seed(seed + rank)
        np.random.seed((seed + rank) % 2**32)
