"""The learning rate is text that is no number."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import replaced
from huohou.audit.reading import Edit, Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.audit.values import Value, as_number
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A written rate that cannot be a number."""
    for key in ("learning_rate", "actor_learning_rate", "critic_learning_rate", "lr"):
        place = reading.settings.find(key)
        if (
            place is None
            or not isinstance(place.value, str)
            or as_number(place.value) is not None
            or place.value == "auto"
        ):
            continue
        if not any(character.isdigit() for character in place.value):
            continue
        yield Found(
            place,
            Text(f"{key} is {place.value!r}, which is no number.", f"{key} 是 {place.value!r}，不是数字。"),
            Text("write digits of ASCII, such as 1e-4.", "请用半角数字，例如 1e-4。"),
            _edit(reading, key, place),
        )


def _edit(reading: Reading, key: str, place: Value) -> tuple[Edit, ...]:
    """The number that the text looks like, where it looks like one."""
    text = unicodedata.normalize("NFKC", str(place.value)).strip()
    text = text.replace(",", ".").replace("−", "-").replace("–", "-")
    text = re.sub("[oO]", "0", text)
    return replaced(reading, key, place, text) if as_number(text) is not None else ()


_WRONG = trainer(learning_rate='"1,5e-5"')

RULE = Rule(
    id="rate-is-not-a-number",
    severity="error",
    title=Text("The learning rate is no number.", "学习率不是数字。"),
    why=Text(
        "A comma for the point, a letter O for the zero or a minus from elsewhere look like a number and are none.",
        "用逗号代替小数点、用字母 O 代替 0、从文档里复制来的减号，看上去像数字，其实不是。",
    ),
    victims=("yaml/pyyaml #173",),
    check=check,
    bad=(replace(_WRONG, fixed=_WRONG.text.replace("1,5", "1.5")),),
    good=(trainer(learning_rate='"1e-4"'),),
)
