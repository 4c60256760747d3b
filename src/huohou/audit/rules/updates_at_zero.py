"""Updates at rate 0 before the peak: batches for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.looking import look
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.audit.rules.places import PEAK, SCHEDULER, WARMUP
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """The first update, and those after it, as long as they are at 0."""
    for role in reading.roles:
        if role.name in reading.facts.get("planned_zeros", ()):
            continue
        many = 0
        while many < min(role.applied.updates, 1000) and role.applied.rate(many + 1) == 0.0:
            many += 1
        if not many or look(role.applied).peak <= 0:
            continue
        yield Found(
            reading.settings.find(*WARMUP, *SCHEDULER, *PEAK),
            Text(
                f"the first {many} updates are at rate 0: their batches are read and change nothing but the "
                "optimizer's "
                "moments."
                if many > 1
                else "the first update is at rate 0: its batch changes nothing but the optimizer's moments.",
                f"前 {many} 个更新步的学习率为 0：数据读了，却只改变优化器的动量。",
            ),
            Text(
                "start above 0, as cosine_warmup_with_min_lr, OLMo-core, torchtitan and huohou do.",
                "从大于 0 的学习率起步，如 cosine_warmup_with_min_lr、OLMo-core、torchtitan 和 huohou。",
            ),
        )


RULE = Rule(
    id="updates-at-zero",
    severity="note",
    title=Text("The first update is at rate 0.", "第一个更新步的学习率为 0。"),
    why=Text(
        "The Transformers' schedules, Megatron's, torchtune's and others use i / W from i = 0, and DeepSpeed's "
        "stay at 0 for "
        "two updates. With 100 updates this is one per cent of the data.",
        "Transformers、Megatron、torchtune 等的预热从 i = 0 起取 i / W，DeepSpeed 则有两步为 0。只训练 100 步"
        "时，这相当于百分之一的数据。",
    ),
    victims=("karpathy/nanoGPT #443", "EleutherAI/gpt-neox #1373", "volcengine/verl #3674"),
    check=check,
    bad=(trainer(lr_scheduler_type='"cosine"', lr_scheduler_kwargs=None),),
    good=(trainer(),),
)
