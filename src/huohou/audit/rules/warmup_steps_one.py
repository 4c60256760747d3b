"""A warmup of 1.0 is one update, and a broken number loses its fraction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from huohou.audit.edits import replaced
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``warmup_steps`` 1.0, or above 1 and not whole."""
    place = reading.settings.find("warmup_steps")
    amount: Any = None if place is None else place.value
    if not isinstance(amount, float) or amount < 1 or reading.facts.get("family") != "transformers":
        return
    if amount > 1 and amount.is_integer():
        return
    yield Found(
        place,
        Text(
            f"warmup_steps {amount:g} is {int(amount)} of the updates and no share: only numbers below 1 are.",
            f"warmup_steps {amount:g} 是 {int(amount)} 个更新步而不是占比：只有小于 1 的数才是占比。",
        ),
        Text("write a whole number of updates, or a share below 1.", "请写整数步数，或小于 1 的占比。"),
        replaced(reading, "warmup_steps", place, str(int(amount))) if amount > 1 else (),
    )


RULE = Rule(
    id="warmup-steps-one",
    severity="warning",
    title=Text(
        "warmup_steps is 1.0, or a number above 1 that is not whole.", "warmup_steps 是 1.0，或大于 1 的非整数。"
    ),
    why=Text(
        "The Trainer switches on the magnitude: from 1 on the number is cut to whole updates, below it is a "
        "share. So 1.0 "
        "is one update and not the whole run, and 10.7 is 10; in other frameworks 1.0 is 100 %.",
        "Trainer 按大小切换含义：不小于 1 时截断为整数步数，小于 1 时为占比。因此 1.0 是 1 步而不是全程，10.7 "
        "是 10 步；"
        "而在另一些框架里 1.0 表示 100 %。",
    ),
    victims=("Nerogar/OneTrainer PR #558", "hiyouga/LLaMA-Factory #4005"),
    check=check,
    bad=(
        trainer(warmup_steps="1.0"),
        replace(trainer(warmup_steps="10.7"), fixed=trainer(warmup_steps="10").text),
    ),
    good=(trainer(warmup_steps="0.1"), trainer(warmup_steps="10")),
)
