"""What each figure shows, before anybody draws it: the page draws it as SVG, ``--png`` by matplotlib.

Lines are thinned here. A column of the drawing keeps its lowest and its highest point, so that no spike is lost and a
run of a million updates draws as a run of a thousand does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from huohou.language import Text
from huohou.report import numbers
from huohou.report.axis import Axis
from huohou.report.heat import Strips, strips
from huohou.report.measures import dispersion, ema
from huohou.report.runs import Floats, Run, mapping, number
from huohou.report.thinning import even, thin

Role = Literal["planned", "intended", "applied", "raw", "smooth", "evaluation", "limit"]
EARLY = 0.3
"""The part of the run that the early figure shows: that of the early bump."""
LONG = 3000
"""Updates from which on the start of a run is too narrow to be seen on an even scale."""
FEW = 6
"""Up to so many runs are told one by one and drawn with their noise; of more, the smoothed lines and the table tell."""
_POINTS = 4400
"""Points of all noisy lines of one figure together."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one run; ``role`` decides how it is drawn."""

    run: int
    role: Role
    updates: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class Phase:
    """A named part of a run's plan, first and last update included."""

    run: int
    kind: str
    name: Text
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Figure:
    """Lines over updates. What lies beyond ``y`` is cut off at the frame."""

    key: str
    title: Text
    caption: Text
    unit: Text
    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    phases: tuple[Phase, ...]


def phases(runs: Sequence[Run]) -> tuple[Phase, ...]:
    """The phases that the plans name."""
    found: list[Phase] = []
    for index, run in enumerate(runs):
        for plain in cast(Sequence[Any], run.plan.get("phases") or ()):
            first, last = plain.get("first"), plain.get("last")
            if isinstance(first, int) and isinstance(last, int) and first <= last:
                kind = str(plain.get("name", ""))
                name = Text(str(plain.get("en") or kind)[:40], str(plain.get("zh") or kind)[:40])
                found.append(Phase(index, kind, name, first, last))
    return tuple(found)


def figures(runs: Sequence[Run]) -> tuple[Figure | Strips, ...]:
    """Every figure for which the runs hold something."""
    x = Axis(1.0, float(max(2, *(run.length for run in runs))))
    named = phases(runs)
    made: list[Figure | Strips | None] = [
        _rate(runs, x, named),
        _loss(runs, x, named),
        _early_loss(runs, named),
        _gradient_norm(runs, x, named),
        strips(runs, x),
        _dispersion(runs, x, named),
        _throughput(runs, x, named),
    ]
    return tuple(figure for figure in made if figure is not None)


def span_of(run: Run) -> int:
    """Over how many updates the smoothed lines average: 1 % of the run, at least 10."""
    return max(10, run.length // 100)


def _columns(runs: Sequence[Run]) -> int:
    return min(400, max(40, _POINTS // (2 * len(runs))))


def _noisy(runs: Sequence[Run], x: Axis, series: Sequence[Floats], span: int | None = None) -> list[Line]:
    """Every update faintly and its average on top."""
    lines: list[Line] = []
    columns = _columns(runs)
    for index, (run, values) in enumerate(zip(runs, series, strict=True)) if len(runs) <= FEW else ():
        lines.append(Line(index, "raw", *thin(run.updates, values, columns, x)))
    for index, (run, values) in enumerate(zip(runs, series, strict=True)):
        lines.append(Line(index, "smooth", *even(run.updates, ema(values, span or span_of(run)), columns, x)))
    return [line for line in lines if len(line.updates)]


def _reach(lines: Sequence[Line], log: bool, begin: float = 0.0) -> Axis:
    """An axis that shows the smoothed lines whole, from update ``begin`` on, and the noise but for its rarest reach."""
    parts: list[Floats] = []
    for line in lines:
        values = line.values[(line.updates >= begin) & ((line.values > 0) | (not log))]
        if len(values):
            parts.append(np.quantile(values, [0.003, 0.997]) if line.role == "raw" else values)
    if not parts:
        return Axis(0.1, 1.0, log)
    values = np.concatenate(parts)
    low, high = float(values.min()), float(values.max())
    if log:
        room = max((high / low) ** 0.04, 1.02)
        return Axis(low / room, high * room, True)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return Axis(low - room, high + room)


def _figure(
    key: str, texts: tuple[Text, Text, Text], x: Axis, y: Axis, lines: Sequence[Line], named: Sequence[Phase]
) -> Figure | None:
    if not lines:
        return None
    return Figure(key, *texts, x, y, tuple(lines), tuple(phase for phase in named if phase.first <= x.high))


def _planned(run: Run, index: int, x: Axis, points: int) -> list[Line]:
    """The curve of every group at its knots and at a few hundred updates between them."""
    lines: list[Line] = []
    for curve in run.curves().values():
        last = run.planned_updates or int(x.high)
        places = {round(u) for u in np.linspace(1, last, points).tolist()}
        knots = [knot.update for knot in curve.knots][: points // 2]
        places |= {u + d for u in knots for d in (-1, 0, 1) if 1 <= u + d <= last}
        updates = sorted(places)
        values = np.array([curve(u) for u in updates], dtype=np.float64)
        lines.append(Line(index, "planned", np.array(updates, dtype=np.float64), values))
    return lines


def _replanned(run: Run, index: int, points: int, top: float) -> list[Line]:
    """For each change of the plan an upright line, and from there on the curve that it took the place of."""
    lines: list[Line] = []
    for replan in run.replans():
        update = replan.update
        lines.append(Line(index, "limit", np.array([update, update], dtype=np.float64), np.array([0.0, top])))
        if replan.before is not None and replan.last > update:
            places = sorted({round(u) for u in np.linspace(update + 1, replan.last, points // 2).tolist()})
            values = np.array([min(replan.before(u), top) for u in places], dtype=np.float64)
            lines.append(Line(index, "limit", np.array(places, dtype=np.float64), values))
    return lines


def _rate(runs: Sequence[Run], x: Axis, named: Sequence[Phase]) -> Figure | None:
    points = max(60, 480 // len(runs))
    lines = [line for index, run in enumerate(runs) for line in _planned(run, index, x, points)]
    columns = _columns(runs) // 2
    for index, run in enumerate(runs):
        for rates in run.rates.values():
            lines.append(Line(index, "applied", *thin(run.updates, rates, columns, x)))
    lines = [line for line in lines if len(line.updates)]
    top = max((float(line.values.max()) for line in lines), default=0.0) or 1.0
    changed = [line for index, run in enumerate(runs) for line in _replanned(run, index, points, top)]
    note = (
        Text(
            " Dotted: where the plan was changed on the way, and what it was before.",
            "虚线：计划中途改变之处，以及原来的计划。",
        )
        if changed
        else Text("", "")
    )
    lines += changed
    return _figure(
        "rate",
        (
            Text("Learning rate", "学习率"),
            Text(
                f"The pale band is the plan, the thin line on it what every update used.{note.en}",
                f"浅色宽线为计划，其上细线为每个更新步实际使用的学习率。{note.zh}",
            ),
            Text("rate", "学习率"),
        ),
        x,
        Axis(0.0, top * 1.06),
        lines,
        named,
    )


def _evaluations(runs: Sequence[Run], x: Axis) -> list[Line]:
    most = max(8, 60 // len(runs))
    lines: list[Line] = []
    for index, run in enumerate(runs):
        updates, loss = run.evaluations.updates, run.evaluations.loss
        lines.append(Line(index, "evaluation", *even(updates, loss, most, x)))
    return [line for line in lines if len(line.updates)]


_NATS = Text("nats per token", "nat/词元")


def _loss(runs: Sequence[Run], x: Axis, named: Sequence[Phase]) -> Figure | None:
    span = numbers.count(max(span_of(run) for run in runs))
    lines = _noisy(runs, x, [run.loss for run in runs]) + _evaluations(runs, x)
    en, zh = (
        f"Bold: exponential average over {span} updates. Circles: evaluation.",
        f"粗线：{span} 步指数平均；圆点：评估。",
    )
    if any(line.role == "raw" for line in lines):
        en, zh = "Faint: every update. " + en, "浅色：每个更新步；" + zh
    begin = 0.0
    if x.high > LONG:  # The fall of the first updates would leave no height for the rest.
        begin = x.high / 100
        en += " The first 1 % may leave the frame."
        zh += "最初 1 % 可能超出画框。"
    return _figure("loss", (Text("Loss", "损失"), Text(en, zh), _NATS), x, _reach(lines, False, begin), lines, named)


def _early_loss(runs: Sequence[Run], named: Sequence[Phase]) -> Figure | None:
    """The start on a scale of its own: this is where schedules part."""
    end = max(run.length for run in runs) * EARLY
    if end < 12:
        return None
    x = Axis(1.0, float(math.ceil(end)), log=end > LONG * EARLY)
    lines = _noisy(runs, x, [run.loss for run in runs], 3)
    en, zh = "Bold: EMA3, from which the oscillation is counted.", "粗线：EMA3，早期震荡由它计算。"
    if x.log:
        en, zh = en + " Updates on a log scale.", zh + "横轴为对数刻度。"
    texts = (Text("Loss, the first 30 %", "损失（前 30 %）"), Text(en, zh), _NATS)
    return _figure("early_loss", texts, x, _reach(lines, False), lines, named)


def _limit(run: Run) -> float | None:
    """The norm at which gradients were clipped, as the plan says it."""
    for section in (run.plan, mapping(run.plan.get("config"))):
        value = number(mapping(section.get("optimizer")).get("max_grad_norm"))
        if 0 < value < math.inf:
            return value
    return None


def _gradient_norm(runs: Sequence[Run], x: Axis, named: Sequence[Phase]) -> Figure | None:
    lines = _noisy(runs, x, [np.where(run.gradient_norm > 0, run.gradient_norm, np.nan) for run in runs])
    limits = {limit for run in runs if (limit := _limit(run)) is not None}
    if lines and len(limits) == 1:
        limit = limits.pop()
        lines.append(Line(-1, "limit", np.array([x.low, x.high]), np.array([limit, limit])))
    return _figure(
        "gradient_norm",
        (
            Text("Gradient norm", "梯度范数"),
            Text(
                "Global norm before clipping; gradients above the dotted limit are scaled down to it.",
                "裁剪前的全局范数；超过虚线上限的梯度会被缩小到该上限。",
            ),
            Text("norm", "范数"),
        ),
        x,
        _reach(lines, True),
        lines,
        named,
    )


def _dispersion(runs: Sequence[Run], x: Axis, named: Sequence[Phase]) -> Figure | None:
    lines: list[Line] = []
    for index, run in enumerate(runs):
        if len(run.layers.names) > 1:
            spread = ema(dispersion(run), 5)
            lines.append(Line(index, "smooth", *even(run.layers.updates, spread, _columns(runs), x)))
    lines = [line for line in lines if len(line.updates)]
    high = max((float(line.values.max()) for line in lines), default=1.0)
    return _figure(
        "dispersion",
        (
            Text("Spread of gradients over layers", "各层梯度的离散程度"),
            Text(
                "Standard deviation over layers of ln(gradient norm), averaged over 5 measurements; 0 means balance.",
                "各层 ln(梯度范数) 的标准差，取 5 次测量的平均；0 表示各层均衡。",
            ),
            Text("sd of ln norm", "ln 范数的标准差"),
        ),
        x,
        Axis(0.0, high * 1.08 or 1.0),
        lines,
        named,
    )


def _throughput(runs: Sequence[Run], x: Axis, named: Sequence[Phase]) -> Figure | None:
    speeds = [run.tokens / np.where(run.seconds > 0, run.seconds, np.nan) for run in runs]
    for speed in speeds:
        speed[:1] = np.nan  # The first update also compiles and warms caches: it would bend the average for long.
    lines = _noisy(runs, x, speeds)
    return _figure(
        "throughput",
        (
            Text("Throughput", "吞吐量"),
            Text(
                "Tokens of an update over its own wall time; update 1, which also compiles, is left out.",
                "每个更新步的词元数除以其耗时；第 1 步含编译，故略去。",
            ),
            Text("tokens/s", "词元/秒"),
        ),
        x,
        Axis(0.0, _reach(lines, False).high),
        lines,
        named,
    )
