"""Warmup and decay do not meet at the peak: it is missed by less than a thousandth."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.looking import look
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.places import PEAK, SCHEDULER, WARMUP
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A highest rate between 0.999 and 0.9999 of the peak."""
    for role in reading.roles:
        if role.warmup >= role.applied.updates or not role.applied.peak or role.warmup <= 0:
            continue
        seen = look(role.applied)
        if seen.peak_at is not None or not 0.999 < seen.peak / role.applied.peak < 0.9999:
            continue
        yield Found(
            reading.settings.find(*SCHEDULER, *WARMUP, *PEAK),
            Text(
                f"the highest rate is {seen.peak / role.applied.peak:.6f} of the peak: warmup and decay do not meet "
                "there.",
                f"最高学习率是峰值的 {seen.peak / role.applied.peak:.6f}：预热与衰减没有在峰值处相接。",
            ),
            Text(
                "nothing is lost by it; take another scheduler where the peak itself has to be used.",
                "几乎没有损失；若必须用到峰值本身，请换一个调度器。",
            ),
        )


def _file(batch: int) -> Example:
    text = (
        "# huohou: ignore[updates-at-zero] as litgpt does\nmodel_name: m\ntokenizer_dir: t\ntrain:\n"
        f"  save_interval: 100\n  log_interval: 1\n  global_batch_size: {batch}\n  micro_batch_size: 8\n"
        "  lr_warmup_steps: 10\n  max_steps: 100\n  min_lr: 1.0e-5\neval:\n  interval: 100\noptimizer:\n  init_args:\n"
        "    lr: 0.0001\n"
    )
    return Example("pretrain.yaml", text)


RULE = Rule(
    id="peak-just-missed",
    severity="note",
    title=Text("The peak is missed by less than a thousandth.", "峰值差不到千分之一没有达到。"),
    why=Text(
        "DeepSpeed's WarmupCosineLR with a linear warmup begins its cosine where the warmup still lacks a step, and "
        "litgpt uses the rate of an update's last micro-batch: with W = 10 and T = 100 both end at 0.9997 of the peak.",
        "DeepSpeed 的 WarmupCosineLR 在线性预热还差一步时就开始余弦；litgpt 用的是更新步中最后一个微批的学习率：W = "
        "10、T = 100 时两者最高都是峰值的 0.9997。",
    ),
    victims=("deepspeedai/DeepSpeed PR #5287", "deepspeedai/DeepSpeed PR #4688", "Lightning-AI/litgpt #926"),
    check=check,
    bad=(_file(32),),
    good=(_file(8),),
)
