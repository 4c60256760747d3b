"""A number of updates that no run makes."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text

_MOST = 10**9


def check(reading: Reading) -> Iterator[Found]:
    """``max_steps`` above a thousand million."""
    place = reading.settings.find("max_steps", "num_training_steps", "train_iters", "total_steps")
    number = (
        None
        if place is None
        else reading.settings.number("max_steps", "num_training_steps", "train_iters", "total_steps")
    )
    if place is None or number is None or number < _MOST:
        return
    yield Found(
        place,
        Text(
            f"{number:g} updates is no length: the decay never begins to show, and a share of it is a warmup without "
            "end.",
            f"{number:g} 步不是真实的长度：衰减根本看不出来，按占比算的预热也永远走不完。",
        ),
        Text("write the number of updates that the run makes.", "请写训练实际的更新步数。"),
    )  # fmt: skip


RULE = Rule(
    id="length-is-no-length",
    severity="error",
    title=Text("The number of updates is out of this world.", "更新步数大得离谱。"),
    why=Text(
        "A stream of data has no length, so that people write max_steps 1e24 to get past the question. With a warmup "
        "of 5 % the rate is then at 2e-20 of the peak after a thousand updates.",
        "流式数据没有长度，有人便写 max_steps 1e24 来绕过。这时 5 % 的预热在一千步之后，学习率只有峰值的 2e-20。",
    ),
    victims=("modelscope/ms-swift #6827",),
    check=check,
    bad=(trainer(max_steps="10**24", warmup_steps=None, lr_scheduler_type='"constant"', lr_scheduler_kwargs=None),),
    good=(trainer(),),
)
