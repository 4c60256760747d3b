"""The warmup ends, and the peak is not used all the same."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.looking import look
from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.places import PEAK, SCHEDULER, WARMUP
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A highest rate more than a thousandth below the peak, in a run that is longer than its warmup."""
    for role in reading.roles:
        if role.warmup >= role.applied.updates or not role.applied.peak:
            continue
        seen = look(role.applied)
        if seen.peak_at is not None or not 0 < seen.peak <= 0.999 * role.applied.peak:
            continue
        yield Found(
            reading.settings.find(*SCHEDULER, *WARMUP, *PEAK),
            Text(
                f"the highest rate is {seen.peak:.6g}; the peak {role.applied.peak:g} is never used.",
                f"最高学习率是 {seen.peak:.6g}，峰值 {role.applied.peak:g} 从未用到。",
            ),
            Text(
                "take a scheduler that joins its warmup and its decay at the peak.",
                "请换用预热与衰减在峰值处相接的调度器。",
            ),
        )


def _file(end: str) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = torch.optim.lr_scheduler.LinearLR(\n"
        f"    optimizer, start_factor=0.01, end_factor={end}, total_iters=100\n)\n"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="peak-never-reached",
    severity="warning",
    title=Text("The peak is never reached.", "峰值从未达到。"),
    why=Text(
        "DeepSpeed's WarmupCosineLR with a linear warmup begins its cosine before the warmup is over; "
        "schedulers that are "
        "multiplied with one another, and rates that change with every micro-batch, lose the peak likewise.",
        "DeepSpeed 的 WarmupCosineLR 在线性预热结束之前就开始余弦衰减；相乘的调度器、逐微批改变的学习率也会这样"
        "丢掉峰值。",
    ),
    victims=("deepspeedai/DeepSpeed PR #5287", "huggingface/pytorch-image-models #1242"),
    check=check,
    bad=(_file("0.5"),),
    good=(_file("1.0"),),
)
