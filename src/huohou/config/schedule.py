"""The section ``schedule``."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import Field, model_validator

from huohou.config.kinds import Wrong, choice, count
from huohou.config.section import ABSENT, Section, key
from huohou.config.values import EXPONENT, LEVEL, RATE, UPDATES, duration
from huohou.errors import UserError
from huohou.language import Text
from huohou.schedule.decay import FALLS
from huohou.schedule.recipes import DECAYS, DEFAULT_FLOOR, ScheduleSpec
from huohou.schedule.warmup import SHAPES
from huohou.units import Duration, Level

DECAY_SPELLINGS = {
    "cosine_with_min_lr": "cosine",
    "cosine_warmup_with_min_lr": "cosine",
    "constant_with_warmup": "constant",
    "cosine_with_restarts": "restarts",
    "cosine_with_hard_restarts": "restarts",
    "warmup_stable_decay": "wsd",
    "inverse-sqrt": "inverse_sqrt",
    "1_sqrt": "1-sqrt",
    "none": "constant",
    "off": "constant",
}
"""Other spellings of the decays, most of them the Transformers'."""


class Schedule(Section):
    """The learning rate of every update."""

    title = Text("The learning rate of every update.", "每个更新步的学习率。")

    peak: Annotated[Fraction, RATE] = Field(
        description="The highest learning rate; the last update of the warmup uses it exactly.",
        json_schema_extra={"zh": "最高的学习率；预热的最后一个更新步正好用它。"},
    )
    warmup: Annotated[Duration | None, duration()] = key(
        None,
        "How long the rate rises: 10%, 1000 steps, 2B tokens, 1 epoch, or off. A bare number is refused.",
        "学习率上升多久：10%、1000 steps、2B tokens、1 epoch 或 off。不带单位的数不接受。",
        said=Text("chosen by the plan, which says so", "由计划选定并说明"),
    )
    warmup_shape: Annotated[str, choice(*SHAPES)] = key("linear", "How it rises.", "怎样上升。")
    warmup_start: Annotated[Level, LEVEL] = key(
        Level(Fraction(0)),
        "The level at the origin, before update 1: a share of the peak, or a rate.",
        "起点（更新步 1 之前）的高度：峰值的比例或学习率。",
    )
    decay: Annotated[str, choice(*DECAYS, spellings=DECAY_SPELLINGS)] = key(
        "cosine", "How the rate falls after the warmup.", "预热之后怎样下降。"
    )
    decay_length: Annotated[Duration | None, duration()] = key(
        None,
        "How many of the last updates fall; before them the peak is held. wsd needs it.",
        "最后多长一段下降；此前保持峰值。wsd 必须写。",
        said=Text("all that follows the warmup", "预热之后的全部"),
    )
    decay_shape: Annotated[str, choice(*FALLS)] = key("linear", "How a wsd falls.", "wsd 怎样下降。")
    floor: Annotated[Level, LEVEL] = key(
        DEFAULT_FLOOR,
        "The lowest rate of the decay: a share of the peak, or a rate.",
        "衰减的最低学习率：峰值的比例或学习率。",
    )
    power: Annotated[Fraction | None, EXPONENT] = key(
        None, "The exponent of a polynomial decay.", "多项式衰减的指数。", said=Text("1", "1")
    )
    cycles: Annotated[int | None, count(1, example=4)] = key(
        None, "How many cosines a decay with restarts has.", "带重启的衰减有几个余弦周期。", said=ABSENT
    )
    timescale: Annotated[Duration | None, UPDATES] = key(
        None,
        "The timescale of an inverse square root, in updates.",
        "反平方根衰减的时间尺度（更新步）。",
        said=Text("the warmup's length; 10000 without one", "预热长度；没有预热时为 10000"),
    )
    half_life: Annotated[Duration | None, UPDATES] = key(
        None,
        "The updates in which an exponential decay halves the rate.",
        "指数衰减减半所需的更新步。",
        said=Text("what reaches the floor at the end", "恰在结束时到达下限"),
    )

    @model_validator(mode="after")
    def _below_the_peak(self) -> Schedule:
        for name in ("floor", "warmup_start"):
            try:
                getattr(self, name).of(self.peak, key=f"schedule.{name}")
            except UserError as error:
                raise Wrong(
                    error.text.en, error.text.zh, whole=True, keys=(f"schedule.{name}", "schedule.peak")
                ) from error
        return self

    def spec(self) -> ScheduleSpec:
        """What the schedule's builder takes."""
        return ScheduleSpec(**{name: getattr(self, name) for name in type(self).model_fields})
