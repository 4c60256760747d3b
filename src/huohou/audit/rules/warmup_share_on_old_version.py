"""warmup_steps below 1 on a version that takes whole updates only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import renamed
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A share in ``warmup_steps`` before Transformers 5."""
    steps = reading.facts.get("warmup_steps") or 0
    if not 0 < steps < 1 or reading.facts.get("era") not in ("<=4.51", "4.52-4.57"):
        return
    yield Found(
        reading.settings.find("warmup_steps"),
        Text(
            f"warmup_steps {steps:g} is no share before transformers 5: it is refused, or there is no warmup.",
            f"transformers 5 以前 warmup_steps {steps:g} 不是占比：要么报错，要么没有预热。",
        ),
        Text(f"write warmup_ratio: {steps:g}.", f"请写 warmup_ratio: {steps:g}。"),
        renamed(reading, "warmup_steps", reading.settings.find("warmup_steps"), "warmup_ratio")
        if "warmup_ratio" not in reading.settings
        else (),
    )


_WRONG = trainer("4.57", warmup_steps="0.03")

RULE = Rule(
    id="warmup-share-on-old-version",
    severity="error",
    title=Text("A share in warmup_steps, on a version that knows none.", "旧版本的 warmup_steps 不支持占比。"),
    why=Text(
        'Transformers 4.57 refuses a fraction with a ValueError, 4.41 said "must be either 0 or > 1", 4.40 takes it '
        "silently: one update at rate 0, then the peak.",
        "Transformers 4.57 对小数报 ValueError，4.41 提示“必须为 0 或大于 1”，4.40 则静默接受：第一步学习率为 "
        "0，随后直接用峰值。",
    ),
    victims=("hiyouga/LLaMA-Factory #4005", "vllm-project/semantic-router PR #3940"),
    check=check,
    bad=(replace(_WRONG, fixed=_WRONG.text.replace("warmup_steps", "warmup_ratio")),),
    good=(trainer("5.20", warmup_steps="0.03"),),
)
