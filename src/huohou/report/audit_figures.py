"""The curves of an audit as figures: what is applied on the pale band of what was meant, and their beginning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from huohou.audit.applied import Applied
from huohou.audit.looking import looked_at
from huohou.audit.reading import Role
from huohou.errors import UserError
from huohou.language import Text
from huohou.report.axis import Axis
from huohou.report.figures import Figure, Line, Phase
from huohou.report.figures import Role as How
from huohou.report.runs import Floats, Ints
from huohou.report.thinning import thin

_COLUMNS = 400
_MOST = 4000
"""Updates of a curve that a drawing looks at, besides the seams."""
EARLY = 0.05
"""The part of the run that the second figure shows."""
_LEAST_EARLY = 12


@dataclass(frozen=True, slots=True)
class Drawn:
    """A curve with a name and a colour: a role of one configuration, or one of two that are compared."""

    name: str
    applied: Applied
    intended: Applied | None
    warmup: float

    @classmethod
    def of(cls, name: str, role: Role) -> Drawn:
        """A role under the name that it has among the others."""
        return cls(name, role.applied, role.intended, role.warmup)


def figures(curves: Sequence[Drawn], key: str = "") -> list[Figure]:
    """The whole run, and its beginning where the run is long enough to have one; of a single update none.

    ``key`` tells the figures of several files on one page apart.
    """
    last = max(curve.applied.updates for curve in curves)
    if last < 2:
        return []
    meant = any(curve.intended is not None for curve in curves)
    band = (
        Text(
            "The pale band is what the words mean, the thin line what is applied.",
            "浅色宽带是本意，细线是实际使用的学习率。",
        )
        if meant
        else Text("What every update uses.", "每个更新步使用的学习率。")
    )
    made = [_figure(curves, f"rate-whole{key}", Text("Learning rate", "学习率"), band, 1, last)]
    # The beginning is worth seeing as far as to the peak.
    early = max(math.ceil(last * EARLY), _LEAST_EARLY, math.ceil(1.2 * max(curve.warmup for curve in curves)))
    if early * 2 <= last:
        caption = Text(f"Updates 1 to {early:,}, each as it is.", f"第 1 至 {early:,} 步，逐步显示。")
        made.append(_figure(curves, f"rate-early{key}", Text("The beginning", "开头"), caption, 1, early))
    return made


def apart(left: Drawn, right: Drawn, key: str = "") -> Figure | None:
    """The second curve minus the first, in per cent of the higher peak."""
    last = min(left.applied.updates, right.applied.updates)
    peak = max(abs(left.applied.peak), abs(right.applied.peak))
    if last < 2 or not peak:
        return None
    x = Axis(1.0, float(last))
    updates, one = _values(left.applied, 1, last, right.applied)
    other = np.array([_rate(right.applied, int(u)) for u in updates.tolist()], dtype=np.float64)
    share = (other - one) / peak * 100
    lines = (Line(-1, "smooth", *thin(updates, share, _COLUMNS, x)),)
    low, high = min(0.0, float(share.min())), max(0.0, float(share.max()))
    room = (high - low) * 0.06 or 1e-9
    return Figure(
        f"apart{key}",
        Text("Difference", "差异"),
        Text("The second minus the first, in per cent of the higher peak.", "第二条减第一条，占较高峰值的百分比。"),
        Text("% of the peak", "峰值的 %"),
        x,
        Axis(low - room, high + room),
        lines,
        (),
    )


def _figure(curves: Sequence[Drawn], key: str, title: Text, caption: Text, first: int, last: int) -> Figure:
    x = Axis(float(first), float(last))
    lines: list[Line] = []
    shown: list[float] = [0.0]
    hows: tuple[How, How] = ("intended", "applied")
    for how in hows:
        for number, curve in enumerate(curves):
            drawn = curve.intended if how == "intended" else curve.applied
            end = min(last, curve.applied.updates)
            if drawn is None or end < first:
                continue
            updates, values = thin(*_values(drawn, first, end), _COLUMNS, x)
            if len(updates):
                lines.append(Line(number, how, updates, values))
                shown += [float(values.min()), float(values.max())]
    low, high = min(shown), max(shown)
    high = high if high > low else max(abs(low), 1e-9)
    room = (high - low) * 0.06
    phases = tuple(
        Phase(number, "warmup", Text("warmup", "预热"), 1, min(last, math.ceil(curve.warmup)))
        for number, curve in enumerate(curves)
        if curve.warmup >= 1
    )
    y = Axis(low - room if low < 0 else 0.0, high + room)
    return Figure(key, title, caption, Text("rate", "学习率"), x, y, tuple(lines), phases)


def _values(curve: Applied, first: int, last: int, other: Applied | None = None) -> tuple[Ints, Floats]:
    """Rates of every update, or of a long run at an even share of them and at the seams."""
    if last - first < _MOST:
        places = list(range(first, last + 1))
    else:
        found = {first + (last - first) * step // _MOST for step in range(_MOST + 1)}
        for each in (curve, other):
            if each is not None:
                found |= _seams(each, first, last)
        places = sorted(found)
    rates = [_rate(curve, update) for update in places]
    return np.array(places, dtype=np.int64), np.array(rates, dtype=np.float64)


def _seams(curve: Applied, first: int, last: int) -> set[int]:
    """The updates beside the bends of a curve: what a long run's own grid of the audit has beyond an even one."""
    if curve.updates <= 200_000:
        places: list[int] = []
        for part in (curve, *curve.factors):
            for piece in part.pieces:
                origin = piece.first if piece.origin is None else piece.origin
                for position in (piece.first, origin + piece.span):
                    if part.scale and abs(position) < 1e15:
                        places.append(int((position - part.offset) * part.held / part.scale) + 1)
        return {u + d for u in places for d in (-1, 0, 1) if first <= u + d <= last}
    return {u for u in looked_at(curve)[::10] if first <= u <= last}


def _rate(curve: Applied, update: int) -> float:
    try:
        return curve.rate(update)
    except (UserError, ArithmeticError, ValueError):
        # Past an end at which the framework raises there is nothing to draw.
        return math.nan
