"""A ratio makes one update more than it says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from huohou.audit.edits import renamed
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """The floating-point product is above the exact one."""
    ratio = reading.facts.get("warmup_ratio") or reading.facts.get("warmup_steps") or 0
    if not 0 < ratio < 1 or not reading.roles or "era" not in reading.facts or reading.facts.get("deepspeed_scheduler"):
        return
    role = reading.roles[0]
    exact = math.ceil(Fraction(repr(float(ratio))) * int(role.horizon or 0))
    if not exact or role.warmup != exact + 1:
        return
    key = "warmup_ratio" if "warmup_ratio" in reading.settings else "warmup_steps"
    alone = not ("warmup_ratio" in reading.settings and "warmup_steps" in reading.settings)
    yield Found(
        reading.settings.find(key),
        Text(
            f"{ratio:g} of {role.horizon:g} updates is {exact}, but {exact + 1} are warmed up: the product is "
            "rounded up.",
            f"{role.horizon:g} 步的 {ratio:g} 是 {exact} 步，实际预热 {exact + 1} 步：浮点乘积被向上取整。",
        ),
        Text(f"write warmup_steps: {exact}.", f"请写 warmup_steps: {exact}。"),
        renamed(reading, key, reading.settings.find(key), "warmup_steps", str(exact)) if alone else (),
    )


_WRONG = trainer(warmup_steps="0.07", max_steps="100")

RULE = Rule(
    id="ratio-rounds-up-by-rounding-error",
    severity="note",
    title=Text("The warmup is one update longer than its ratio says.", "预热比所写的占比多一步。"),
    why=Text(
        "The Trainer rounds a floating-point product up: 0.07 × 100 is 7.000000000000001, so W is 8.",
        "Trainer 把浮点乘积向上取整：0.07 × 100 得 7.000000000000001，因此 W 是 8。",
    ),
    victims=("huggingface/transformers training_args.py get_warmup_steps",),
    check=check,
    bad=(replace(_WRONG, fixed=_WRONG.text.replace("0.07", "7")),),
    good=(trainer(warmup_steps="0.05", max_steps="100"),),
)
