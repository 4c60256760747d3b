"""A curve for each part of a model: peaks, clocks and ratios of their own become curves over the updates of the run.

A part that waits has a rate of exactly 0 before its start, and its schedule is built on a clock of its own: the shares
of a warmup and a decay, and the position in both, count from there. Staged unfreezing is nothing but such curves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from huohou.errors import UserError
from huohou.language import Text
from huohou.schedule.curve import Curve, hold
from huohou.schedule.operations import join, shift
from huohou.schedule.recipes import Built, Phase, ScheduleSpec, build
from huohou.units import Duration, Level, decimal_text

WHOLE = Level(Fraction(1))
WAIT = Text("waits at 0", "等待（学习率 0）")
DONE = Text("off", "已停")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """What was asked for one part.

    Attributes:
        peak: Its highest rate: a rate, or a multiple of the main peak; ``None`` where the part never moves.
        start: How long it waits.
        length: How long its schedule runs from there; ``None`` for all that remains.
        after: ``hold`` or ``off``: what follows a schedule that ends before the run.
        said: What takes the place of the main schedule's values, by the names of :class:`ScheduleSpec`.
    """

    peak: Level | None = WHOLE
    start: Duration | None = None
    length: Duration | None = None
    after: str = "hold"
    said: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What all parts of one run have in common.

    Attributes:
        spec: The main schedule that was asked for.
        built: The main schedule as it was built.
        updates: T.
        length: Turns a duration into updates; a share is one of ``of`` updates.
        default: The warmup of a schedule of so many updates where nobody asked for one.
    """

    spec: ScheduleSpec
    built: Built
    updates: int
    length: Callable[[Duration, str, int], int]
    default: Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Own:
    """A part's own schedule.

    Attributes:
        spec: The schedule on the part's own clock, complete; its peak is a rate.
        curve: The rate of every update of the run.
        phases: In updates of the run.
        start: Updates that the part waits.
        warmup: Updates of its warmup.
    """

    spec: ScheduleSpec
    curve: Curve
    phases: tuple[Phase, ...]
    start: int
    warmup: int


def own_curve(part: str, group: GroupSpec, run: Run) -> Own:
    """The curve of a part that has one of its own.

    Raises:
        UserError: It does not fit into the run; the sentence names the part.
    """
    try:
        return _own_curve(group, run)
    except UserError as error:
        raise UserError(f"groups.{part}: {error.text.en}", f"groups.{part}：{error.text.zh}") from error


def _own_curve(group: GroupSpec, run: Run) -> Own:
    assert group.peak is not None
    t = run.updates
    start = 0 if group.start is None else run.length(group.start, "start", t)
    if start >= t:
        raise UserError(
            f"start is {group.start}, which is {start} updates, but the run makes {t}; the part would never move: "
            "write a shorter start, or off in place of the keys.",
            f"start 的值是 {group.start}，即 {start} 步，而全程只有 {t} 步，这一部分永远不会动："
            "请缩短 start，或直接写 off。",
        )
    last = t
    if group.length is not None:
        last = start + run.length(group.length, "length", t)
        if not start < last <= t:
            raise UserError(
                f"start and length are {start} and {last - start} updates, but the run makes {t}; together they may "
                "have at most that, and length at least 1.",
                f"start 与 length 分别是 {start} 步和 {last - start} 步，而全程是 {t} 步；两者之和不能超过它，"
                "length 至少为 1。",
            )
    own = last - start
    spec = replace(run.spec, peak=_peak(group.peak, run.spec.peak), **group.said)
    built = build_on(spec, own, run, whole=own == t and "warmup" not in group.said)
    curve, phases = shift(built.curve, start), tuple(_later(phase, start) for phase in built.phases)
    if start:
        curve = join(Curve(curve.peak, (hold(1, 0),)), curve, start + 1)
        phases = (Phase("wait", WAIT, 1, start), *phases)
    if last < t:
        if group.after == "off":
            curve = join(curve, Curve(curve.peak, (hold(last + 1, 0),)), last + 1)
            phases = (*phases, Phase("off", DONE, last + 1, t))
        else:
            phases = (*phases, Phase("hold", Text("hold", "保持"), last + 1, t))
    return Own(spec, Curve(curve.peak, curve.knots, t), phases, start, built.warmup)


def build_on(spec: ScheduleSpec, updates: int, run: Run, *, whole: bool) -> Built:
    """A schedule on a clock of its own; ``whole``: it is the run's own clock, and its warmup is the main one."""
    warmup = run.built.warmup if whole else None
    if warmup is None:
        warmup = run.length(spec.warmup, "warmup", updates) if spec.warmup is not None else run.default(updates)
    settled = replace(settle(spec, updates, run), warmup=Duration(Fraction(warmup), "updates"))
    return build(settled, updates)


def settle(spec: ScheduleSpec, updates: int, run: Run) -> ScheduleSpec:
    """The schedule with every length but the warmup's in updates of a clock of so many."""

    def fixed(duration: Duration | None, key: str) -> Duration | None:
        return None if duration is None else Duration(Fraction(run.length(duration, key, updates)), "updates")

    return replace(
        spec,
        decay_length=fixed(spec.decay_length, "decay_length"),
        timescale=fixed(spec.timescale, "timescale"),
        half_life=fixed(spec.half_life, "half_life"),
    )


def _peak(asked: Level, main: Fraction) -> Fraction:
    return asked.number if asked.absolute else asked.number * main


def _later(phase: Phase, updates: int) -> Phase:
    return Phase(phase.name, phase.text, phase.first + updates, phase.last + updates)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a model: which move and which curve each of them follows, and which never move."""

    follows: dict[str, str]
    frozen: tuple[str, ...]


ROW_MODULES = ("embed_tokens", "lm_head")
"""The modules that hold the rows of the vocabulary, under Hugging Face's names."""


def parts_of(groups: Mapping[str, GroupSpec], *, lora: Mapping[str, Any] | None, grown: bool) -> Parts:
    """Which parts there are, which of them move, and by which curve.

    Args:
        groups: What was asked for parts, by part.
        lora: The settings of adapters, where there are any.
        grown: Whether the vocabulary gains rows.

    Raises:
        UserError: A part has a curve but does not exist, or nothing would move.
    """
    rows = [*(["new_rows"] if grown else []), "old_rows"]
    if lora is None:
        there, moving = [*rows, "body"], {*rows, "body"}
    else:
        there = [*rows, "body", "adapters", "adapters_b"]
        moving = {"adapters", "adapters_b", *_rows_that_move(lora)}
    for part in groups:
        if part not in there and groups[part].peak is not None:
            raise UserError(
                f"groups.{part} has a curve, but this run has no such part: "
                + ("the tokenizer adds no pieces to the model's." if part == "new_rows" else "there are no adapters.")
                + f" Remove groups.{part}.",
                f"groups.{part} 有曲线，而本次训练没有这一部分："
                + ("分词器没有给模型增加新词。" if part == "new_rows" else "没有适配器。")
                + f"请去掉 groups.{part}。",
            )
    follows: dict[str, str] = {}
    for part in there:
        group = groups.get(part)
        if part not in moving or (group is not None and group.peak is None):
            continue
        follows[part] = part if group is not None else "all"
    if follows.get("adapters_b") == "all":
        follows["adapters_b"] = follows.get("adapters", "all")
    if not follows:
        raise UserError(
            "every part of the model is off, so nothing would be trained; give one of the groups a rate.",
            "模型的各部分都已关闭，什么也不会训练；请给其中一组学习率。",
        )
    return Parts(follows, tuple(part for part in there if part not in follows))


def _rows_that_move(lora: Mapping[str, Any]) -> set[str]:
    moving = {"none": set[str](), "new": {"new_rows"}, "all": {"new_rows", "old_rows"}}[lora["rows"]]
    saved = {str(name).rpartition(".")[2] for name in lora["save"]}
    if saved & set(ROW_MODULES):
        moving = moving | {"new_rows", "old_rows"}
    if saved - set(ROW_MODULES):
        moving = moving | {"body"}
    return moving


def with_plus_ratio(groups: Mapping[str, GroupSpec], ratio: Fraction | None) -> dict[str, GroupSpec]:
    """The groups with LoRA+'s: B follows the adapters' schedule at ``ratio`` times their peak (Hayou et al. 2024)."""
    made = dict(groups)
    if ratio is not None:
        adapters = made.get("adapters", GroupSpec())
        if adapters.peak is not None:
            peak = Level(adapters.peak.number * ratio, adapters.peak.absolute)
            made["adapters_b"] = replace(adapters, peak=peak)
    return made


def ratio_text(peak: float, main: float) -> str:
    """How many times the main peak a part's peak is, such as ``5x``."""
    return f"{decimal_text(Fraction(repr(peak)) / Fraction(repr(main)))}x"
