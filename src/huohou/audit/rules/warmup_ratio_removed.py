"""warmup_ratio is refused by the Transformers of today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import renamed
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A file that only older versions accept."""
    ratio = reading.facts.get("warmup_ratio") or 0
    if reading.refused is None or not ratio or reading.facts.get("warmup_steps"):
        return
    yield Found(
        reading.settings.find("warmup_ratio"),
        Text(
            f"warmup_ratio {ratio:g} is a TypeError from transformers 5.15 on.",
            f"transformers 5.15 起，warmup_ratio {ratio:g} 会报 TypeError。",
        ),
        Text(
            f"write warmup_steps: {ratio:g} (a number below 1 is a share of the run), or keep transformers below 5.15.",
            f"改写 warmup_steps: {ratio:g}（小于 1 即为占比），或使用 5.15 以前的 transformers。",
        ),
        renamed(reading, "warmup_ratio", reading.settings.find("warmup_ratio"), "warmup_steps")
        if "warmup_steps" not in reading.settings
        else (),
    )


_WRONG = trainer("5.20", warmup_steps=None, warmup_ratio="0.1")

RULE = Rule(
    id="warmup-ratio-removed",
    severity="warning",
    title=Text("warmup_ratio was removed.", "warmup_ratio 已被移除。"),
    why=Text(
        "Transformers 5.15 removed warmup_ratio: warmup_steps below 1 is a share now. On 4.x the new form is "
        "refused or, "
        "before 4.41, taken as no warmup at all, so a file works on one side of the change only.",
        "Transformers 5.15 移除了 warmup_ratio：小于 1 的 warmup_steps 即为占比。而 4.x 拒绝这种新写法（4.41 以"
        "前则静默地不预热），"
        "因此一个文件只能用于一侧的版本。",
    ),
    victims=("huggingface/trl PR #4983", "unslothai/unsloth PR #4019", "huggingface/peft #2949"),
    check=check,
    bad=(replace(_WRONG, fixed=_WRONG.text.replace("warmup_ratio", "warmup_steps")),),
    good=(trainer("5.20", warmup_steps="0.1"),),
)
