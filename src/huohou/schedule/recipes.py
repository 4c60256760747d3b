"""The named schedules: what a person asks for, and the knots that it means.

With T updates, a warmup of W and ``x`` the share of the decay that has been made, the value is

- in the warmup: the start value plus the rest times ``w(u / W)``, where ``w`` is ``x`` (linear), ``(1 - cos(pi x))/2``
  (cosine), ``1 - sqrt(1 - x)`` (1-sqrt), ``((W + 1)**x - 1) / W`` (exponential) or ``log(1 + W x) / log(1 + W)``
  (logarithmic);
- in the decay, with floor f:

=================  ==========================================================================
``constant``       1
``linear``         f + (1 - f) (1 - x)
``cosine``         f + (1 - f) (1 + cos(pi x)) / 2
``1-sqrt``         f + (1 - f) (1 - sqrt x)
``polynomial``     f + (1 - f) (1 - x) ** power
``exponential``    f ** x; with a half-life h: max(f, 2 ** (-k / h)) after k updates
``inverse_sqrt``   max(f, sqrt(s / (s + k))) after k updates, s the timescale (W, or 10000)
``wsd``            1 until ``decay_length`` updates are left, then ``decay_shape`` (linear)
``restarts``       ``cycles`` cosines, each from 1 to f
``open``           1; the decay is decided later with :func:`close`
=================  ==========================================================================

``decay_length`` makes any of the first kinds hold the peak and fall in the last so many updates only. Worked example,
peak 3e-4, T = 1000, W = 100, floor 10 % (rates of updates 1, 100, 550 and 1000):

=================  ========  ========  =========  =========
recipe             first     peak      middle     last
=================  ========  ========  =========  =========
``constant``       3e-06     0.0003    0.0003     0.0003
``linear``         3e-06     0.0003    0.000165   3e-05
``cosine``         3e-06     0.0003    0.000165   3e-05
``1-sqrt``         3e-06     0.0003    0.0001091  3e-05
``polynomial`` 2   3e-06     0.0003    9.75e-05   3e-05
``exponential``    3e-06     0.0003    9.487e-05  3e-05
``inverse_sqrt``   3e-06     0.0003    0.0001279  9.487e-05
``wsd`` 20 %       3e-06     0.0003    0.0003     3e-05
``restarts`` 2     3e-06     0.0003    0.0003     3e-05
=================  ========  ========  =========  =========
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import huohou.schedule.decay as _decay
from huohou.errors import UserError
from huohou.language import Text
from huohou.schedule.curve import LONGEST, Curve, Knot, hold
from huohou.schedule.operations import join, value_of_rate, with_peak
from huohou.schedule.shapes import Shape
from huohou.schedule.warmup import rise, warmup_knots
from huohou.units import Duration, Level, Number, exact

DECAYS = (
    "cosine",
    "linear",
    "constant",
    "1-sqrt",
    "polynomial",
    "inverse_sqrt",
    "exponential",
    "wsd",
    "restarts",
    "open",
)
"""The names that ``decay`` may have."""

DEFAULT_FLOOR = Level(Fraction(1, 10))
DEFAULT_START = Level(Fraction(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """What was asked of a schedule, before it is known how many updates there are.

    Attributes:
        peak: The highest rate.
        warmup: Its length; ``None`` where nothing was said.
        warmup_shape: How it rises.
        warmup_start: The level at the origin.
        decay: One of :data:`DECAYS`.
        decay_length: How many of the last updates lie below the peak; ``None`` for all after the warmup.
        decay_shape: How a ``wsd`` falls.
        floor: The lowest level.
        power: Of a polynomial decay.
        cycles: Of restarts.
        timescale: Of an inverse square root, in updates.
        half_life: Of an exponential decay with a law of its own.
    """

    peak: Fraction
    warmup: Duration | None = None
    warmup_shape: str = "linear"
    warmup_start: Level = DEFAULT_START
    decay: str = "cosine"
    decay_length: Duration | None = None
    decay_shape: str = "linear"
    floor: Level = DEFAULT_FLOOR
    power: Fraction | None = None
    cycles: int | None = None
    timescale: Duration | None = None
    half_life: Duration | None = None


def Schedule(*, peak: Number, **said: Number | Duration | Level | None) -> ScheduleSpec:
    """A :class:`ScheduleSpec` from plain words, as they would stand in a run file.

    Example:
        >>> build(Schedule(peak="3e-4", warmup="10%", decay="cosine", floor="10%"), 1000).curve(1)
        3e-06
    """
    read: dict[str, object] = {"peak": exact(peak, key="peak")}
    for key, value in said.items():
        if value is None or isinstance(value, Duration | Level):
            read[key] = value
        elif key in ("warmup", "decay_length", "half_life", "timescale"):
            read[key] = Duration.parse(value, key=key)
        elif key in ("floor", "warmup_start"):
            read[key] = Level.parse(value, key=key)
        elif key == "power":
            read[key] = exact(value, key=key)
        else:
            read[key] = value
    return ScheduleSpec(**read)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, slots=True)
class Phase:
    """A named stretch of updates.

    Attributes:
        name: ``warmup``, ``hold``, ``decay``, ``cycle`` or ``re-warm``.
        text: What it is called on screens.
        first: Its first update.
        last: Its last update.
    """

    name: str
    text: Text
    first: int
    last: int


_PHASES = {
    "warmup": Text("warmup", "预热"),
    "hold": Text("hold", "保持"),
    "decay": Text("decay", "衰减"),
    "re-warm": Text("re-warm", "再预热"),
}


def _phase(name: str, first: int, last: int) -> list[Phase]:
    return [Phase(name, _PHASES[name], first, last)] if last >= first else []


@dataclass(frozen=True, slots=True)
class Built:
    """A schedule fitted to a run.

    Attributes:
        curve: The rate of every update.
        phases: In order; together they cover 1 … T.
        warmup: W, in updates.
        decay: D, the updates after the last one at the peak (0 where the rate never falls).
    """

    curve: Curve
    phases: tuple[Phase, ...]
    warmup: int
    decay: int


def build(
    spec: ScheduleSpec,
    updates: int,
    *,
    warmup: int | None = None,
    tokens_per_update: Fraction | None = None,
    updates_per_epoch: Fraction | None = None,
) -> Built:
    """Fit a schedule to a run of ``updates``.

    Args:
        warmup: W where the specification says none; 0 if not given either.
        tokens_per_update: What durations in tokens need.
        updates_per_epoch: What durations in epochs need.

    Raises:
        UserError: Something does not fit; the sentence has both numbers.
    """

    def length(duration: Duration, key: str) -> int:
        return duration.resolve(
            key=key, updates=updates, tokens_per_update=tokens_per_update, updates_per_epoch=updates_per_epoch
        )

    _check(spec, updates)
    floor = spec.floor.of(spec.peak, key="floor")
    start = spec.warmup_start.of(spec.peak, key="warmup_start")
    w = length(spec.warmup, "warmup") if spec.warmup is not None else (warmup or 0)
    if w >= updates:
        raise UserError(
            f"the warmup is {w} update{'' if w == 1 else 's'} long, but the run makes only {updates}; it must be "
            "shorter than the run.",
            f"预热长 {w} 个更新步，而整个训练只有 {updates} 个；预热必须短于训练。",
        )
    top = max(w, 1)
    turn = top
    if spec.decay_length is not None:
        d = length(spec.decay_length, "decay_length")
        if top + d > updates:
            raise UserError(
                f"the warmup of {w} and the decay of {d} updates do not fit into {updates}; together they may have "
                f"at most {updates if w else updates - 1}.",
                f"预热 {w} 步加衰减 {d} 步超过了全程 {updates} 步；两者之和最多为 {updates if w else updates - 1}。",
            )
        turn = updates - d
    falling = _fall(spec, top, turn, updates, floor, w, length)
    rising = warmup_knots(w, start, spec.warmup_shape)[:-1]
    curve = Curve(spec.peak, (*rising, *falling), updates)
    return Built(curve, _phases(spec, w, top, turn, updates, falling), w, _below(spec, turn, updates, floor))


def _check(spec: ScheduleSpec, updates: int) -> None:
    if not 1 <= updates <= LONGEST:
        raise UserError(
            f"the run makes {updates} updates; it must make between 1 and {LONGEST}.",
            f"训练共 {updates} 个更新步；应在 1 到 {LONGEST} 之间。",
        )
    if spec.peak <= 0:
        raise UserError(
            f"peak is {float(spec.peak)}, but a rate must be above 0; write for example 3e-4.",
            f"peak 的值是 {float(spec.peak)}，学习率必须大于 0；请写成例如 3e-4。",
        )
    if spec.decay not in DECAYS:
        raise UserError(
            f"decay is {spec.decay!r}; it can be {', '.join(DECAYS)}.",
            f"decay 的值是 {spec.decay!r}；可以是 {'、'.join(DECAYS)}。",
        )
    belongs = {"power": "polynomial", "cycles": "restarts", "timescale": "inverse_sqrt", "half_life": "exponential"}
    for key, owner in belongs.items():
        wsd_power = key == "power" and spec.decay == "wsd" and spec.decay_shape == "polynomial"
        if getattr(spec, key) is not None and spec.decay != owner and not wsd_power:
            raise UserError(
                f"{key} belongs to decay: {owner}, but decay is {spec.decay}; remove {key} or change decay.",
                f"{key} 属于 decay: {owner}，而 decay 是 {spec.decay}；请去掉 {key} 或改 decay。",
            )
    if spec.power is not None and spec.power <= 0:
        raise UserError(
            f"power is {float(spec.power)}, but it must be above 0.", f"power 的值是 {float(spec.power)}，应大于 0。"
        )
    if spec.decay_length is not None and spec.decay in ("constant", "open", "restarts"):
        raise UserError(
            f"decay_length does not go with decay: {spec.decay}, which has no decay of its own length; remove it.",
            f"decay_length 不适用于 decay: {spec.decay}；请去掉它。",
        )
    if spec.decay == "wsd" and spec.decay_length is None:
        raise UserError(
            "decay is wsd, which holds the peak and then decays: say for how long with decay_length, such as 20%.",
            "decay 是 wsd，即先保持峰值再衰减：请用 decay_length 写出衰减的长度，例如 20%。",
        )
    if spec.decay == "wsd" and spec.decay_shape not in _decay.FALLS:
        shapes = ", ".join(_decay.FALLS)
        raise UserError(
            f"decay_shape is {spec.decay_shape!r}; it can be {shapes}.",
            f"decay_shape 的值是 {spec.decay_shape!r}；可以是 {shapes}。",
        )
    if spec.decay == "restarts" and spec.cycles is None:
        raise UserError(
            "decay is restarts: say how many with cycles, such as cycles: 4.",
            "decay 是 restarts：请用 cycles 写出周期数，例如 cycles: 4。",
        )


def _fall(
    spec: ScheduleSpec,
    top: int,
    turn: int,
    updates: int,
    floor: Fraction,
    warmup: int,
    length: Callable[[Duration, str], int],
) -> list[Knot]:
    if spec.decay in ("constant", "open"):
        return [hold(top, 1)]
    if spec.decay == "restarts":
        return _decay.restarts(top, updates, floor, spec.cycles or 1)
    if spec.decay == "inverse_sqrt":
        scale = (
            Fraction(length(spec.timescale, "timescale")) if spec.timescale else Fraction(warmup or _decay.TIMESCALE)
        )
        return _decay.inverse_sqrt(top, turn, updates, floor, _positive(scale, "timescale"))
    if spec.decay == "exponential" and spec.half_life is not None:
        return _decay.halving(
            top, turn, updates, floor, _positive(Fraction(length(spec.half_life, "half_life")), "half_life")
        )
    shape = spec.decay_shape if spec.decay == "wsd" else spec.decay
    return _decay.fall(top, turn, updates, floor, shape, spec.power or Fraction(1))


def _positive(number: Fraction, key: str) -> Fraction:
    if number <= 0:
        raise UserError(f"{key} is {number}, but it must be above 0.", f"{key} 的值是 {number}，应大于 0。")
    return number


def _below(spec: ScheduleSpec, turn: int, updates: int, floor: Fraction) -> int:
    return 0 if spec.decay in ("constant", "open") or floor == 1 else updates - turn


def _phases(
    spec: ScheduleSpec, warmup: int, top: int, turn: int, updates: int, falling: list[Knot]
) -> tuple[Phase, ...]:
    made = _phase("warmup", 1, warmup)
    if spec.decay in ("constant", "open") or len(falling) == 1:
        return (*made, *_phase("hold", warmup + 1, updates))
    if spec.decay == "restarts":
        begins = [knot.update for knot in falling if knot.value == 1]
        begins[0] = warmup + 1
        for i, (begin, after) in enumerate(zip(begins, [*begins[1:], updates + 1], strict=True), start=1):
            made.append(Phase("cycle", Text(f"cycle {i}", f"第 {i} 周期"), begin, after - 1))
        return tuple(made)
    # With the warmup off the single update at the peak is no phase of its own.
    begin = turn + 1 if turn > top or warmup else 1
    return (*made, *_phase("hold", warmup + 1, begin - 1), *_phase("decay", begin, updates))


def close(curve: Curve, after: int, length: int, *, floor: Level = DEFAULT_FLOOR, shape: str = "linear") -> Curve:
    """Decide the decay of an open curve: hold it through update ``after``, then fall in ``length`` updates.

    The run then makes ``after + length`` updates. The fall begins at the rate that update ``after`` uses.
    """
    last = after + length
    low = floor.of(curve.peak, key="floor")
    high = value_of_rate(curve, curve(after))
    if low > high:
        raise UserError(
            f"floor is {floor}, which is above the rate of {curve(after)} that update {after} uses.",
            f"floor 的值是 {floor}，高于更新步 {after} 使用的学习率 {curve(after)}。",
        )
    if shape == "exponential" and low == 0:
        raise _decay.exponential_to_zero()
    end = last if low > 0 else last + 1
    tail = (Knot(after, high, Shape(_decay.FALLS[shape], after, end, high, low)), hold(end, low))
    return join(curve, Curve(curve.peak, tail, last), after)


def rewarm(curve: Curve, after: int, length: int, updates: int, spec: ScheduleSpec) -> Built:
    """Rise again on purpose: leave ``curve`` after update ``after`` and climb to ``spec.peak`` in ``length`` updates.

    The climb begins at the rate that update ``after`` uses; ``spec`` says its shape, the new peak and the decay to
    update ``updates``, the new T.

    Raises:
        UserError: It does not fit, or the new peak is below the rate already in use.
    """
    _check(spec, updates)
    rate = curve(after)
    if Fraction(repr(rate)) > spec.peak:
        raise UserError(
            f"the new peak is {float(spec.peak)}, but update {after} already uses {rate}; re-warming must rise.",
            f"新的峰值是 {float(spec.peak)}，而更新步 {after} 已在用 {rate}；再预热必须上升。",
        )
    if length < 1 or after + length >= updates:
        raise UserError(
            f"re-warming for {length} updates after update {after} does not fit into a run of {updates}.",
            f"在更新步 {after} 之后再预热 {length} 步，超出了全程 {updates} 步。",
        )
    floor = spec.floor.of(spec.peak, key="floor")
    rising = rise(after, after + length, Fraction(repr(rate)) / spec.peak, Fraction(1), spec.warmup_shape)[:-1]
    top = after + length
    rest = build(
        ScheduleSpec(
            peak=spec.peak,
            warmup=Duration(Fraction(top), "updates"),
            decay=spec.decay,
            decay_length=spec.decay_length,
            decay_shape=spec.decay_shape,
            floor=Level(floor),
            power=spec.power,
            cycles=spec.cycles,
            timescale=spec.timescale
            or (Duration(Fraction(length), "updates") if spec.decay == "inverse_sqrt" else None),
            half_life=spec.half_life,
        ),
        updates,
    )
    falling = tuple(knot for knot in rest.curve.knots if knot.update >= top)
    later = Curve(spec.peak, (*rising, *falling), updates)
    joined = join(with_peak(curve, max(curve.peak, later.peak)), later, after)
    phases = (*_phase("re-warm", after + 1, top), *(p for p in rest.phases if p.first > top))
    return Built(joined, phases, length, rest.decay)
