"""What goes wrong in a run: why an update is skipped, and what is said where the run cannot go on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from huohou.errors import RunFailed
from huohou.language import Text
from huohou.train.engine import Outcome

PATIENCE = 5
"""How many updates in a row may be skipped for numbers that are not finite, before the run stops."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an update is skipped. An overflow of fp16 is healed by a smaller loss scale; the rest may be a real fault."""

    text: Text
    healing: bool = False


def fault_of(found: Outcome, scale: float) -> Fault | None:
    """Why an update with this outcome must not be applied, if so; ``scale``: the loss scale of fp16, else 1."""
    if not math.isfinite(found.loss):
        return Fault(Text(f"the loss is {found.loss}", f"损失为 {found.loss}"))
    if not math.isfinite(found.norm):
        if scale > 1.0:
            return Fault(Text(f"fp16 overflow at loss scale {scale:g}", f"损失缩放 {scale:g} 下 fp16 溢出"), True)
        return Fault(Text(f"the gradient norm is {found.norm}", f"梯度范数为 {found.norm}"))
    return None


def never_finite(update: int, good: Text) -> RunFailed:
    """The sentence for numbers that stay broken after ``update``; ``good``: where the run can be taken up again."""
    return RunFailed(
        f"{PATIENCE} updates in a row were not finite after update {update}: a lower peak or bfloat16 instead of "
        f"float16 may help; {good.en}.",
        f"更新步 {update} 之后连续 {PATIENCE} 次出现非有限值：可降低峰值，或用 bfloat16 代替 float16；{good.zh}。",
    )


def disk_failed(error: OSError, folder: Path, update: int, good: Text) -> RunFailed:
    """The sentence for a disk that refused something without which the run cannot go on."""
    where, why = error.filename or folder, error.strerror or str(error)
    return RunFailed(
        f"the run stopped after update {update}: {where}: {why}; {good.en}.",
        f"训练在更新步 {update} 之后停止：{where}：{why}；{good.zh}。",
    )


def memory_failed(device: str, update: int, good: Text) -> RunFailed:
    """The sentence for a device whose memory is too small for the update."""
    return RunFailed(
        f"the memory of {device} was not enough in update {update}: a smaller batch.micro_batch needs less and leaves "
        f"the batch and its curve as they are; {good.en}.",
        f"更新步 {update} 时 {device} 内存不足：减小 batch.micro_batch 可节省内存，批大小和曲线不变；{good.zh}。",
    )
