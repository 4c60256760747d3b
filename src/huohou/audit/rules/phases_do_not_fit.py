"""The phases of warmup-stable-decay are longer or shorter than the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from huohou.audit.edits import removed
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.audit.values import as_number
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """W + stable + decay against T."""
    kwargs: dict[str, Any] = reading.facts.get("kwargs") or {}
    if reading.facts.get("scheduler") != "warmup_stable_decay" or not reading.roles:
        return
    role = reading.roles[0]
    decay, stable = as_number(kwargs.get("num_decay_steps")), as_number(kwargs.get("num_stable_steps"))
    place = reading.settings.find("lr_scheduler_kwargs", "lr_scheduler_kwargs.num_decay_steps", "lr_scheduler_type")
    if decay is None:
        return
    updates = role.applied.updates
    total = role.warmup + (stable or 0) + decay
    if stable is None and total <= updates:
        return
    if stable is not None and total == updates:
        return
    en = "the floor is held for the rest" if total < updates else "the run ends before they do"
    zh = "其余各步停在下限" if total < updates else "训练先于它们结束"
    yield Found(
        place,
        Text(
            f"warmup {role.warmup:g}, stable {stable or 0:g} and decay {decay:g} make {total:g} of {updates} "
            f"updates: {en}.",
            f"预热 {role.warmup:g}、稳定 {stable or 0:g}、衰减 {decay:g} 共 {total:g} 步，训练 {updates} 步：{zh}。",
        ),
        Text("leave num_stable_steps out: it is what remains.", "不写 num_stable_steps，由其余步数决定。"),
        removed(reading, "num_stable_steps", place) if stable is not None and role.warmup + decay <= updates else (),
    )


def _file(kwargs: str) -> Example:
    return trainer(lr_scheduler_type='"warmup_stable_decay"', lr_scheduler_kwargs=kwargs)


_WRONG = _file('{"num_stable_steps": 300, "num_decay_steps": 200, "min_lr_ratio": 0.1}')
_RIGHT = _file('{"num_decay_steps": 200, "min_lr_ratio": 0.1}')

RULE = Rule(
    id="phases-do-not-fit",
    severity="error",
    title=Text("The phases do not fit the run.", "各阶段与训练长度不符。"),
    why=Text(
        "warmup_stable_decay takes its phases as they are: with T = 100, W = 10, 30 stable and 20 of decay the "
        "last 40 updates "
        "are at the floor; where warmup and decay are longer than the run, the rate jumps into the middle of "
        "the decay.",
        "warmup_stable_decay 不检查各阶段：T = 100、W = 10、稳定 30、衰减 20 时，最后 40 步都在下限；预热加衰减"
        "超过全程时，"
        "学习率会直接跳到衰减的中途。",
    ),
    victims=("huggingface/transformers #34905", "OpenBMB/MiniCPM-V #459"),
    check=check,
    bad=(replace(_WRONG, fixed=_RIGHT.text),),
    good=(_RIGHT,),
)
