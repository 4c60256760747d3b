"""A run that goes on keeps the peak of its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``resume_from_checkpoint`` that names one."""
    place = reading.settings.find("resume_from_checkpoint")
    rate = reading.settings.find("learning_rate")
    if place is None or rate is None or reading.facts.get("family") != "transformers":
        return
    if not isinstance(place.value, str) or place.value.lower() in (
        "",
        "none",
        "null",
        "true",
        "false",
        "latest",
        "auto",
    ):
        return
    yield Found(
        place,
        Text(
            f"the peak of {place.value} is used, and learning_rate {rate.written or rate.value} only if it is the "
            "same; the length of the schedule is the one written here.",
            f"峰值取自 {place.value}，此处的 learning_rate {rate.written or rate.value} 与之不同时不起作用；而计划的长"
            "度以此处为准。",
        ),
        Text(
            "change neither the peak nor the length of a run that goes on, or begin anew from its weights.",
            "续训时不要改峰值和长度；要改就只取权重，重新开始。",
        ),
    )


RULE = Rule(
    id="resume-keeps-the-old-peak",
    severity="note",
    title=Text("A run that goes on keeps its old peak.", "续训沿用旧的峰值。"),
    why=Text(
        "LambdaLR's state holds the rates that it was made with. With T raised from 100 to 200 and the peak doubled, "
        "a run that goes on jumps from 0.587 to 0.889 of the old peak; the new peak is not used at all.",
        "LambdaLR 的状态里存着创建时的学习率。T 从 100 改到 200、峰值翻倍后续训，学习率会从旧峰值的 0.587 跳到 "
        "0.889；新的峰值完全不起作用。",
    ),
    victims=("huggingface/transformers #23099", "huggingface/transformers #34053", "facebookresearch/detectron2 #429"),
    check=check,
    bad=(trainer(resume_from_checkpoint='"out/checkpoint-500"'),),
    good=(trainer(resume_from_checkpoint="None"), trainer()),
)
