"""Both words for the warmup are written, and only one of them is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import removed
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``warmup_steps`` and ``warmup_ratio`` above 0."""
    steps, ratio = reading.facts.get("warmup_steps") or 0, reading.facts.get("warmup_ratio") or 0
    if not (steps > 0 and ratio > 0):
        return
    old = reading.facts.get("era") in ("<=4.51", "4.52-4.57") or reading.facts.get("framework") in (
        "axolotl",
        "paddlenlp",
    )
    used, unused = (("warmup_steps", steps), ("warmup_ratio", ratio))[:: 1 if old else -1]
    yield Found(
        reading.settings.find(unused[0]),
        Text(
            f"{used[0]} {used[1]:g} is used and {unused[0]} {unused[1]:g} is not; Transformers 4 and 5 disagree on "
            "which one it is.",
            f"起作用的是 {used[0]} {used[1]:g}，{unused[0]} {unused[1]:g} 被忽略；Transformers 4 与 5 的取舍相反。",
        ),
        Text(f"leave {unused[0]} out.", f"删去 {unused[0]}。"),
        removed(reading, unused[0], reading.settings.find(unused[0])),
    )


RULE = Rule(
    id="both-warmup-words",
    severity="error",
    title=Text("warmup_steps and warmup_ratio are both written.", "同时写了 warmup_steps 和 warmup_ratio。"),
    why=Text(
        "Up to Transformers 4.57 warmup_steps above 0 silently goes before warmup_ratio; in 5.0–5.14 it is the "
        "other way "
        "round; from 5.15 warmup_ratio is a TypeError. One file makes three runs.",
        "Transformers 4.57 及以前，大于 0 的 warmup_steps 静默优先于 warmup_ratio；5.0–5.14 正好相反；5.15 起 "
        "warmup_ratio "
        "报 TypeError。同一个文件会得到三种训练。",
    ),
    victims=("PaddlePaddle/PaddleNLP llama/pretrain_argument.json", "huggingface/transformers PR #41326"),
    check=check,
    bad=(replace(trainer("4.57", warmup_ratio="0.1"), fixed=trainer("4.57").text),),
    good=(trainer("4.57", warmup_steps=None, warmup_ratio="0.1"),),
)
