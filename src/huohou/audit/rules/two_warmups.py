"""A schedule-free optimizer warms up, and so does the scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``optim: schedule_free_…`` with a type that is not ``constant``."""
    optimizer = reading.settings.text("optim", "optimizer") or ""
    kind = reading.facts.get("scheduler")
    steps = reading.facts.get("warmup_steps") or 0
    if not optimizer.startswith("schedule_free") or reading.facts.get("family") != "transformers" or kind == "constant":
        return
    place = reading.settings.find("lr_scheduler_type", "lr_scheduler", "optim", "optimizer")
    en = "warms up itself, so the two warmups are multiplied" if steps else "needs no schedule"
    zh = "自己也预热，两个预热相乘" if steps else "不需要学习率计划"
    constant = '"constant"' if place is not None and place.file.endswith(".py") else "constant"
    key = "lr_scheduler_type" if "lr_scheduler_type" in reading.settings else "lr_scheduler"
    yield Found(
        place,
        Text(
            f"{optimizer} {en}, and {kind} decays what it wants to keep level.",
            f"{optimizer} {zh}，而 {kind} 又让它想保持不变的学习率衰减。",
        ),
        Text("write lr_scheduler_type: constant.", "请写 lr_scheduler_type: constant。"),
        replaced(reading, key, reading.settings.find(key), constant),
    )  # fmt: skip


def _file(kind: str) -> Example:
    return trainer(
        optim='"schedule_free_radam"', warmup_steps=None, lr_scheduler_kwargs=None, lr_scheduler_type=f'"{kind}"'
    )


_WRONG, _RIGHT = _file("constant_with_warmup"), _file("constant")

RULE = Rule(
    id="two-warmups",
    severity="error",
    title=Text("Two schedules at once.", "两个学习率计划叠加。"),
    why=Text(
        "A schedule-free optimizer replaces the schedule, warmup included. The Trainer's default of linear comes on "
        "top: with W = 4 the first rates are 0, 0.125, 0.375, 0.75 and 1 of the peak, and then a decay follows.",
        "schedule-free 优化器代替了学习率计划（含预热）。Trainer 默认的 linear 会叠加上去：W = 4 时前几步是峰值的 0、"
        "0.125、0.375、0.75、1，随后还要衰减。",
    ),
    victims=("huggingface/transformers #195", "Lightning-AI/pytorch-lightning #4902"),
    check=check,
    bad=(replace(_WRONG, fixed=_RIGHT.text),),
    good=(_RIGHT,),
)
