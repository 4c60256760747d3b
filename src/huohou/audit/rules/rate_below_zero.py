"""The learning rate goes below zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.looking import look, looked_at
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text

_TOTAL = ("lr_scheduler.total_steps", "total_steps")


def check(reading: Reading) -> Iterator[Found]:
    """Any update at a negative rate."""
    for role in reading.roles:
        seen = look(role.applied)
        if not seen.negative:
            continue
        first = next((u for u in looked_at(role.applied) if role.applied.rate(u) < 0), 1)
        yield Found(
            reading.settings.find(*_TOTAL),
            Text(
                f"{seen.negative} updates have a rate below 0, the first is update {first}; the last rate is "
                f"{seen.last:.6g}: the loss is driven up.",
                f"{seen.negative} 个更新步的学习率为负，从更新步 {first} 起，最后为 {seen.last:.6g}：损失会被推高。",
            ),
            Text("make the scheduler as long as the run.", "让调度器的总步数不小于训练的步数。"),
            replaced(reading, "total_steps", reading.settings.find(*_TOTAL), str(role.applied.updates)),
        )


def _file(more: str) -> Example:
    text = f"[optimizer]\nlr = 3e-4\n\n[training]\nsteps = 100\n\n[lr_scheduler]\nwarmup_steps = 10\n{more}"
    return Example("run.toml", text)


RULE = Rule(
    id="rate-below-zero",
    severity="error",
    title=Text("The learning rate goes below zero.", "学习率变为负数。"),
    why=Text(
        "torchtitan's and OLMo-core's linear decays are not held at their end: where the scheduler's "
        "total_steps are fewer "
        "than the run's, the rate goes on below zero, down to −1.2 peaks at twice the length.",
        "torchtitan 和 OLMo-core 的线性衰减不会停在终点：调度器的 total_steps 少于训练步数时，学习率会继续降到负值，"
        "两倍长度时可达峰值的 −1.2 倍。",
    ),
    victims=("huggingface/transformers PR #327", "pytorch/torchtitan #2326"),
    check=check,
    bad=(replace(_file("total_steps = 50\n"), fixed=_file("total_steps = 100\n").text),),
    good=(_file(""),),
)
