"""The scheduler does not warm up, whatever is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Edit, Reading
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
    if (reading.settings.text("optim") or "").startswith("schedule_free"):
        # Such an optimizer warms up by itself, and a constant is what it wants beside it.
        return
    yield Found(
        written,
        Text(
            f"{kind} ignores the warmup of {steps or ratio:g}: the first update uses the peak.",
            f"{kind} 会忽略 {steps or ratio:g} 的预热：第一步就用峰值。",
        ),
        Text("write lr_scheduler_type: constant_with_warmup.", "请写 lr_scheduler_type: constant_with_warmup。"),
        _edit(reading, str(kind)),
    )


def _edit(reading: Reading, kind: str) -> tuple[Edit, ...]:
    place = reading.settings.find("lr_scheduler_type")
    if kind != "constant" or place is None:
        return ()
    word = "constant_with_warmup"
    return replaced(reading, "lr_scheduler_type", place, f'"{word}"' if place.file.endswith(".py") else word)


_WRONG = trainer(lr_scheduler_type='"constant"', lr_scheduler_kwargs=None)

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
    bad=(replace(_WRONG, fixed=_WRONG.text.replace("constant", "constant_with_warmup")),),
    good=(
        trainer(lr_scheduler_type='"constant"', lr_scheduler_kwargs=None, warmup_steps=None),
        trainer(),
    ),
)
