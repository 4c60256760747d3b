"""DeepSpeed refuses a warmup of nothing, and makes two updates of one."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.edits import replaced
from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.language import Text

_KEY = "scheduler.params.warmup_num_steps"


def check(reading: Reading) -> Iterator[Found]:
    """``warmup_num_steps`` below 2."""
    config = reading.facts.get("deepspeed_config")
    if config is None or reading.facts.get("deepspeed_scheduler") not in (
        "WarmupLR",
        "WarmupDecayLR",
        "WarmupCosineLR",
    ):
        return
    place, steps = config.find(_KEY), config.number(_KEY)
    if place is None or steps is None or steps >= 2:
        return
    refused = steps <= 0
    yield Found(
        place,
        Text(
            f"warmup_num_steps {steps:g} is refused from DeepSpeed 0.19.3 on, and was 2 before."
            if refused
            else f"warmup_num_steps {steps:g} is run as 2.",
            f"DeepSpeed 0.19.3 起拒绝 warmup_num_steps {steps:g}，以前则按 2 执行。"
            if refused
            else f"warmup_num_steps {steps:g} 会按 2 执行。",
        ),
        Text("write 2, or leave the scheduler out.", "请写 2，或不用这个调度器。"),
        replaced(reading, "warmup_num_steps", place, "2"),
    )  # fmt: skip


def _file(steps: int) -> Example:
    text = (
        '{"train_batch_size": 8, "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}, '
        '"scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": 1e-6, "warmup_max_lr": 1e-4, '
        f'"warmup_num_steps": {steps}, "warmup_type": "linear"}}}}}}\n'
    )
    return Example("ds.json", text, Given(updates=1000))


RULE = Rule(
    id="deepspeed-warmup-below-two",
    severity="error",
    title=Text("DeepSpeed takes no warmup below 2.", "DeepSpeed 不接受少于 2 步的预热。"),
    why=Text(
        "warmup_num_steps is made at least 2, since the logarithm of 1 is divided by. From 0.19.3 a value of 0 or "
        "less is an error; so a file that means no warmup runs with one, or not at all.",
        "warmup_num_steps 至少取 2，因为要除以 1 的对数。0.19.3 起，不大于 0 的值会报错；想要不预热的文件要么有预热，"
        "要么跑不起来。",
    ),
    victims=("deepspeedai/DeepSpeed #771", "deepspeedai/DeepSpeed PR #772", "deepspeedai/DeepSpeed #8142"),
    check=check,
    bad=(Example("ds.json", _file(0).text, Given(updates=1000), fixed=_file(2).text),),
    good=(_file(2), _file(100)),
)
