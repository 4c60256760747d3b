"""A warmup below 1 reaches code that takes it for a number of updates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A fraction in ``warmup_steps`` beside schedule-free optimizers, or ms-swift's GaLore."""
    steps, optimizer = reading.facts.get("warmup_steps") or 0, reading.settings.text("optim", "optimizer") or ""
    if not 0 < steps < 1 or reading.facts.get("family") != "transformers":
        return
    place = reading.settings.find("warmup_steps")
    horizon = reading.roles[0].horizon if reading.roles else None
    if optimizer.startswith("schedule_free"):
        yield Found(
            place,
            Text(
                f"{optimizer} is handed warmup_steps {steps:g} as a number of updates: its first update is made at "
                f"{1 / steps:.3g} times the peak.",
                f"{optimizer} 把 warmup_steps {steps:g} 当作步数：第一步的学习率是峰值的 {1 / steps:.3g} 倍。",
            ),
            Text("write a whole number of updates.", "请写整数步数。"),
            replaced(reading, "warmup_steps", place, str(math.ceil(steps * horizon))) if horizon else (),
        )
    elif reading.facts.get("framework") == "ms-swift" and reading.settings.flag("use_galore") is True:
        yield Found(
            place,
            Text(
                f"GaLore's scheduler is handed warmup_steps {steps:g} as a number of updates: there is no warmup.",
                f"GaLore 的调度器把 warmup_steps {steps:g} 当作步数：没有预热。",
            ),
            Text("write a whole number of updates.", "请写整数步数。"),
        )


_WRONG = trainer(
    optim='"schedule_free_adamw"', warmup_steps="0.03", lr_scheduler_type='"constant"', lr_scheduler_kwargs=None
)

RULE = Rule(
    id="share-handed-on",
    severity="error",
    title=Text("A share is taken for a number of updates.", "占比被当作步数。"),
    why=Text(
        "The Trainer turns warmup_steps below 1 into updates for its own scheduler only. Schedule-free optimizers "
        "get the number as it is and use (k + 1) / W: with 0.03 the first update is made at 33 times the peak.",
        "Trainer 只为自己的调度器把小于 1 的 warmup_steps 换算成步数。schedule-free 优化器拿到的是原数，按 (k + 1) / "
        "W 计算：0.03 时第一步是峰值的 33 倍。",
    ),
    victims=("huggingface/transformers trainer_optimizer.py", "modelscope/ms-swift galore"),
    check=check,
    bad=(replace(_WRONG, fixed=_WRONG.text.replace("0.03", "30")),),
    good=(trainer(warmup_steps="0.03"),),
)
