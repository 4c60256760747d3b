"""The first update of a fresh Adam uses the peak."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.audit.rules.places import PEAK, SCHEDULER, WARMUP
from huohou.language import Text

_DECAYING = (
    "linear", "cosine", "cosine_with_min_lr", "cosine_with_restarts", "polynomial", "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
)  # fmt: skip


def check(reading: Reading) -> Iterator[Found]:
    """W = 0 in a schedule that could warm up."""
    ours = reading.facts.get("family") == "huohou" and reading.facts.get("optimizer_state") == "fresh"
    theirs = reading.facts.get("family") == "transformers" and reading.facts.get("scheduler") in _DECAYING
    if not ours and not theirs:
        return
    if reading.facts.get("warmup_steps") or reading.facts.get("warmup_ratio"):
        return
    for role in reading.roles:
        if role.warmup > 0 or role.applied.updates < 2 or reading.facts.get("deepspeed_scheduler"):
            continue
        yield Found(
            reading.settings.find(*WARMUP, *PEAK, *SCHEDULER),
            Text(
                f"there is no warmup: update 1 uses the peak {role.applied.peak:g} with moments from one batch.",
                f"没有预热：第 1 步就以峰值 {role.applied.peak:g} 更新，而动量只来自一个批次。",
            ),
            Text("warm up over 3 to 5 % of the run.", "用全程的 3 % 到 5 % 预热。"),
        )


RULE = Rule(
    id="no-warmup",
    severity="note",
    title=Text("There is no warmup.", "没有预热。"),
    why=Text(
        "The first updates of Adam are as large as the learning rate whatever the gradients are, since its "
        "second moments "
        "are estimated from one batch. Frameworks whose default is 0 make this choice for the user.",
        "Adam 的二阶矩最初只由一个批次估计，因此前几步的大小就等于学习率，与梯度无关。默认不预热的框架替用户做了"
        "这个选择。",
    ),
    victims=("jingyaogong/minimind", "hiyouga/LLaMA-Factory #512"),
    check=check,
    bad=(trainer(warmup_steps=None),),
    good=(trainer(),),
)
