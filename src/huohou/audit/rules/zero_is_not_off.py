"""A warmup of 0 is written, and there is one all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import removed
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``warmup_steps: 0`` beside a ratio above 0, or in an axolotl file, in which older versions took 0 for unset."""
    place = reading.settings.find("warmup_steps")
    if place is None or reading.settings.number("warmup_steps") != 0 or reading.facts.get("family") != "transformers":
        return
    ratio = reading.settings.number("warmup_ratio") or 0
    if ratio > 0:
        yield Found(
            place,
            Text(
                f"warmup_steps 0 does not switch the warmup off: warmup_ratio {ratio:g} is used.",
                f"warmup_steps 0 并不会关闭预热：起作用的是 warmup_ratio {ratio:g}。",
            ),
            Text("leave one of them out.", "请只留一个。"),
            removed(reading, "warmup_steps", place),
        )
    elif reading.facts.get("framework") == "axolotl" and "warmup_ratio" not in reading.settings:
        yield Found(
            place,
            Text(
                "older axolotl takes warmup_steps 0 for not written and warms up for 3 % of the run.",
                "旧版 axolotl 把 warmup_steps 0 当作没有写，会用全程的 3 % 预热。",
            ),
            Text("write warmup_ratio: 0 as well.", "请同时写 warmup_ratio: 0。"),
        )


_WRONG = trainer("4.57", warmup_steps="0", warmup_ratio="0.1")
_RIGHT = trainer("4.57", warmup_steps=None, warmup_ratio="0.1")

RULE = Rule(
    id="zero-is-not-off",
    severity="note",
    title=Text("A warmup of 0 that does not switch it off.", "写了 0，预热却没有关闭。"),
    why=Text(
        "The Trainer uses warmup_ratio wherever warmup_steps is 0, in every version; axolotl before its PR #3254 "
        "made 3 % of an explicit 0. Who reads the file sees no warmup.",
        "只要 warmup_steps 为 0，各版本的 Trainer 都用 warmup_ratio；axolotl 在 PR #3254 之前会把显式的 0 变成 3 %。"
        "而读文件的人以为没有预热。",
    ),
    victims=("axolotl-ai-cloud/axolotl PR #3254",),
    check=check,
    bad=(replace(_WRONG, fixed=_RIGHT.text),),
    good=(_RIGHT,),
)
