"""The section ``groups``: a curve of its own for each part of the model."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from huohou.config.kinds import choice, count
from huohou.config.schedule import DECAY_SPELLINGS
from huohou.config.section import Section, key
from huohou.config.values import EXPONENT, LEVEL, MULTIPLE, UPDATES, duration
from huohou.language import Text
from huohou.schedule.decay import FALLS
from huohou.schedule.recipes import DECAYS
from huohou.schedule.warmup import SHAPES
from huohou.units import Duration, Level

PARTS = ("new_rows", "old_rows", "body", "adapters", "adapters_b")
"""The parts of a model that may have a curve of their own."""

_AS_MAIN = Text("as in `schedule`", "同 `schedule`")
WHOLE = Level(Fraction(1))


class Group(Section):
    """One part's curve."""

    title = Text(
        "A curve of its own: new_rows (rows of added pieces), old_rows (all other rows of embedding and head), body, "
        "adapters, adapters_b (LoRA's B). `off` in place of the keys freezes the part; what is not written is as in "
        "`schedule`.",
        "各部分自己的曲线：new_rows（新增词的行）、old_rows（词嵌入与输出层的其余各行）、body（主体）、adapters、"
        "adapters_b（LoRA 的 B）。以 `off` 代替各键即冻结该部分；没有写的键同 `schedule`。",
    )

    peak: Annotated[Level | None, MULTIPLE.or_off()] = key(
        WHOLE,
        "Its highest rate: a rate, or a multiple of the main peak (5x, 50%); off freezes the part.",
        "最高学习率：学习率，或主峰值的倍数（5x、50%）；off 即冻结。",
    )
    start: Annotated[Duration | None, duration()] = key(
        None,
        "How long the part waits at a rate of 0; its own clock begins behind that.",
        "该部分以学习率 0 等待多久；此后它自己的时钟才开始。",
        said=Text("off", "off"),
    )
    length: Annotated[Duration | None, duration()] = key(
        None,
        "How long its schedule runs from there.",
        "此后它的曲线运行多久。",
        said=Text("the updates that remain", "剩余的更新步"),
    )
    after: Annotated[Literal["hold", "off"], choice("hold", "off")] = key(
        "hold",
        "What follows where length ends before the run: the last rate, or 0.",
        "length 早于训练结束时，之后保持最后的学习率，或为 0。",
    )
    warmup: Annotated[Duration | None, duration()] = key(
        None,
        "How long it rises; a share is one of its own schedule.",
        "上升多久；比例按它自己的长度计。",
        said=_AS_MAIN,
    )
    warmup_shape: Annotated[str | None, choice(*SHAPES)] = key(None, "How it rises.", "怎样上升。", said=_AS_MAIN)
    warmup_start: Annotated[Level | None, LEVEL] = key(
        None, "The level at its origin.", "其起点的高度。", said=_AS_MAIN
    )
    decay: Annotated[str | None, choice(*DECAYS, spellings=DECAY_SPELLINGS)] = key(
        None, "How it falls.", "怎样下降。", said=_AS_MAIN
    )
    decay_length: Annotated[Duration | None, duration()] = key(
        None, "How many of its last updates fall.", "最后多长一段下降。", said=_AS_MAIN
    )
    decay_shape: Annotated[str | None, choice(*FALLS)] = key(None, "How a wsd falls.", "wsd 怎样下降。", said=_AS_MAIN)
    floor: Annotated[Level | None, LEVEL] = key(
        None,
        "Its lowest rate: a share of its own peak, or a rate.",
        "最低学习率：占自己峰值的比例，或学习率。",
        said=_AS_MAIN,
    )
    power: Annotated[Fraction | None, EXPONENT] = key(
        None, "The exponent of a polynomial decay.", "多项式衰减的指数。", said=_AS_MAIN
    )
    cycles: Annotated[int | None, count(1, example=4)] = key(
        None, "How many cosines a decay with restarts has.", "带重启的衰减有几个余弦周期。", said=_AS_MAIN
    )
    timescale: Annotated[Duration | None, UPDATES] = key(
        None, "The timescale of an inverse square root.", "反平方根衰减的时间尺度。", said=_AS_MAIN
    )
    half_life: Annotated[Duration | None, UPDATES] = key(
        None, "The updates in which an exponential decay halves.", "指数衰减减半所需的更新步。", said=_AS_MAIN
    )

    SCHEDULE: ClassVar[tuple[str, ...]] = (
        "warmup",
        "warmup_shape",
        "warmup_start",
        "decay",
        "decay_length",
        "decay_shape",
        "floor",
        "power",
        "cycles",
        "timescale",
        "half_life",
    )
    """The keys that take the place of the schedule's, one by one."""


class Groups(Section):
    """The parts that do not follow the main curve."""

    title = Text(
        "The parts of the model that do not follow the main curve; each is `off`, a peak such as `5x`, or keys.",
        "不随主曲线的各部分；每一部分写 `off`、峰值（例如 `5x`）或若干键。",
    )

    new_rows: Group | None = key(
        None,
        "The rows of the pieces that the vocabulary gained.",
        "词表新增各词的行。",
        said=Text("as all", "随主曲线"),
    )
    old_rows: Group | None = key(
        None, "All other rows of embedding and head.", "词嵌入与输出层的其余各行。", said=Text("as all", "随主曲线")
    )
    body: Group | None = key(None, "All layers and norms.", "所有层与归一化。", said=Text("as all", "随主曲线"))
    adapters: Group | None = key(None, "The adapters of LoRA.", "LoRA 的适配器。", said=Text("as all", "随主曲线"))
    adapters_b: Group | None = key(
        None, "The matrices B of the adapters.", "适配器的矩阵 B。", said=Text("as adapters", "同 adapters")
    )

    def given(self) -> dict[str, Group]:
        """The groups that were written, by part."""
        return {part: group for part in PARTS if (group := getattr(self, part)) is not None}
