"""The scheduler does not warm up, whatever is written."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text

_WITHOUT = ("constant", "reduce_lr_on_plateau", "greedy")


def check(reading: Reading) -> Iterator[Found]:
    """A warmup beside a type that has none."""
    kind = reading.facts.get("scheduler")
    steps, ratio = reading.facts.get("warmup_steps") or 0, reading.facts.get("warmup_ratio") or 0
    written = reading.settings.find("warmup_steps", "num_warmup_steps", "warmup_ratio")
    if reading.facts.get("family") != "transformers" or kind not in _WITHOUT or not (steps or ratio) or written is None:
        return
    yield Found(
        written,
        Text(
            f"{kind} ignores the warmup of {steps or ratio:g}: the first update uses the peak.",
            f"{kind} 会忽略 {steps or ratio:g} 的预热：第一步就用峰值。",
        ),
        Text("write lr_scheduler_type: constant_with_warmup.", "请写 lr_scheduler_type: constant_with_warmup。"),
    )


RULE = Rule(
    id="warmup-ignored",
    severity="warning",
    title=Text("The scheduler ignores the warmup.", "调度器会忽略预热。"),
    why=Text(
        "constant, reduce_lr_on_plateau and greedy take no warmup, and nothing says so: the first update uses "
        "the peak.",
        "constant、reduce_lr_on_plateau 和 greedy 都没有预热，也不会提示：第一步就使用峰值学习率。",
    ),
    victims=("bmaltais/kohya_ss PR #2292",),
    check=check,
    bad=(trainer(lr_scheduler_type='"constant"', lr_scheduler_kwargs=None),),
    good=(
        trainer(lr_scheduler_type='"constant"', lr_scheduler_kwargs=None, warmup_steps=None),
        trainer(),
    ),
)
