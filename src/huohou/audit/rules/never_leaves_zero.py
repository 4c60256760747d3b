"""Every update is made at rate 0."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.looking import look
from huohou.audit.reading import Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.errors import UserError
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A highest rate of 0."""
    for role in reading.roles:
        try:
            highest = look(role.applied).peak
        except UserError:
            continue
        if highest != 0.0:
            continue
        yield Found(
            reading.settings.find("warmup_steps", "transition_steps", "learning_rate"),
            Text(
                "the rate is 0 in every update: nothing is learned, and nothing says so.",
                "每一步的学习率都是 0：什么也学不到，也没有任何提示。",
            ),
            Text("warm up for at least one update, or write a constant.", "预热至少写 1 步，或改用常数。"),
        )


def _file(warmup: int) -> Example:
    text = (
        "# huohou: ignore[updates-at-zero] as optax does\n"
        "import optax\n\nschedule = optax.warmup_constant_schedule(init_value=0.0, peak_value=1e-3, "
        f"warmup_steps={warmup})\n"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="never-leaves-zero",
    severity="error",
    title=Text("The rate is 0 from the first update to the last.", "学习率自始至终为 0。"),
    why=Text(
        "optax makes a constant of its first value out of a warmup of 0 steps: warmup_constant_schedule(0, peak, 0) "
        "is 0 for ever, with a line in the log of absl alone. Other warmups of 0 hold their start likewise.",
        "预热 0 步时，optax 会退化为初值的常数：warmup_constant_schedule(0, peak, 0) 永远是 0，只在 absl 日志里有一"
        "行。别的框架预热写 0 也有停在起点的。",
    ),
    victims=("google-deepmind/optax warmup_constant_schedule", "pith-train PR #55"),
    check=check,
    bad=(_file(0),),
    good=(_file(100),),
)
