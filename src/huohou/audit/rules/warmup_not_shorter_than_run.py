"""The warmup is as long as the run or longer: the peak is never used."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.audit.rules.places import PEAK, WARMUP
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """W ≥ T, in any role."""
    for role in reading.roles:
        updates = role.applied.updates
        if role.warmup < updates or updates < 2 or not role.applied.peak:
            continue
        highest = max(role.applied.rate(1), role.applied.rate(updates))
        share = highest / role.applied.peak
        place = reading.settings.find(*WARMUP, *PEAK)
        better = max(1, updates // 20)
        yield Found(
            place,
            Text(
                f"the warmup of {role.warmup:g} updates is not over when the run of {updates} updates is: "
                f"{share:.0%} of the peak {role.applied.peak:g} is the most that is used.",
                f"预热 {role.warmup:g} 步，而训练只有 {updates} 步：最多只用到峰值 {role.applied.peak:g} 的 "
                f"{share:.0%}。",
            ),
            Text(
                f"warm up over a share of the run, such as 5 % ({better} updates), or train longer.",
                f"按全程的比例预热，例如 5 %（{better} 步），或延长训练。",
            ),
        )


RULE = Rule(
    id="warmup-not-shorter-than-run",
    severity="error",
    title=Text("The warmup is as long as the run or longer.", "预热不短于训练全程。"),
    why=Text(
        "Frameworks take a warmup of any length without a word. Where it is not shorter than the run, the learning "
        "rate rises to the last update and the peak is never used; nothing of the planned decay happens.",
        "各框架都不检查预热长度。预热不短于全程时，学习率一直上升到最后一步，峰值从未用到，计划中的衰减也不会发生。",
    ),
    victims=(
        "Morizeyao/GPT2-Chinese #60",
        "salesforce/LAVIS #72",
        "PrimeIntellect-ai/prime-rl #968",
        "coqui-ai/TTS #1611",
    ),
    check=check,
    bad=(trainer(warmup_steps="2000"),),
    good=(trainer(),),
)
