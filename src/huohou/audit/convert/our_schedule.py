"""The closest schedule of a run file: its words, and the curve that ``huohou plan`` makes of them.

Our warmup rises from before update 1 and our decay ends in the last update (at 0: one past it), so what lags by one
update elsewhere is met by one more update of warmup and by the floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from huohou.audit.convert.search import EXACT, Start, Values, closest, with_peak
from huohou.audit.convert.target import rate
from huohou.audit.convert.wanted import Apart, Wanted
from huohou.audit.looking import looked_at
from huohou.errors import UserError
from huohou.schedule.curve import Curve
from huohou.schedule.recipes import Schedule, build
from huohou.units import Level, decimal_text

_RISES = {"linear": "linear", "cosine": "cosine", "1-sqrt mirrored": "1-sqrt", "logarithmic": "logarithmic"}
_FALLS = {"linear": "linear", "cosine": "cosine", "1-sqrt": "1-sqrt", "power": "polynomial", "geometric": "exponential"}
_LAWS = ("restarts", "inverse sqrt")
"""Ways down that have a seed of their own."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The words of the section ``schedule``, in their order, and what they make."""

    words: dict[str, str]
    curve: Curve


def chosen(wanted: Wanted) -> Chosen | None:
    """The closest words; ``None`` where no schedule of ours fits the run."""
    found = _search(wanted)
    if found is not None and _distance(wanted, found) <= EXACT:
        return found
    if wanted.highest < wanted.peak * (1 - 1e-9):
        # The configured peak may lie outside the run; then the highest rate that is used is a peak as good.
        lower = with_peak(wanted, wanted.highest)
        other = _search(lower)
        if other is not None and (found is None or _distance(wanted, other) < _distance(wanted, found)):
            return other
    return found


def _search(wanted: Wanted) -> Chosen | None:
    def rates(values: Values) -> Callable[[int], float] | None:
        made = _made(values, wanted)
        return None if made is None else made.curve

    values = closest(wanted, _starts(wanted), rates)
    return None if values is None else _made(values, wanted)


def _distance(wanted: Wanted, found: Chosen) -> float:
    pairs = zip(wanted.sample, wanted.rates, strict=True)
    return max(abs(found.curve(update) - rate) for update, rate in pairs) / wanted.curve.peak


def apart(wanted: Wanted, curve: Curve) -> Apart:
    """Where our curve differs most from the wanted one, over every update."""
    places = {*looked_at(wanted.curve), *(k.update for k in curve.knots if 1 <= k.update <= wanted.updates)}
    largest, at = 0.0, 1
    for update in sorted(places):
        distance = abs(curve(update) - wanted.curve.rate(update)) / wanted.peak
        if not distance <= largest + 1e-13:
            largest, at = distance, update
    return Apart(largest, at)


def _starts(wanted: Wanted) -> Iterator[Start]:
    rising = wanted.rise is not None
    warmup = min(wanted.top, wanted.updates - 1) if rising else 0
    for start, shape in _rises(wanted) if rising else [(0.0, "linear")]:
        # Cut short or mirrored, a rise of another kind may still be the closest.
        strange = wanted.rise is not None and shape != _RISES.get(wanted.rise.shape, shape)
        base: dict[str, Any] = {"warmup": warmup, "warmup_start": start, "warmup_shape": shape}
        whole = ("warmup",) if rising else ()
        real = ("warmup_start",) if rising and start > 0 else ()
        if wanted.fall is None:
            yield Start({**base, "decay": "constant"}, whole, real, strange)
            continue
        for law in _laws(wanted, base, whole, real):
            yield replace(law, strange=strange)
        own = _FALLS.get(wanted.fall.shape)
        levels = dict.fromkeys((wanted.floor, wanted.last, 0.0))
        held = max(1, wanted.updates - wanted.turn)
        for fall in dict.fromkeys((*([own] if own else ()), "cosine", "linear", "1-sqrt", "polynomial")):
            for floor in levels:
                if fall == "exponential" and floor <= 0:
                    continue
                values = {**base, "decay": fall, "floor": floor}
                reals = ("floor", *real)
                if fall == "polynomial":
                    values["power"] = wanted.power if own == "polynomial" else 2.0
                    reals = ("floor", "power", *real)
                other = strange or (fall != own and (own is not None or wanted.fall.shape in _LAWS))
                yield Start(values, whole, reals, other)
                if held < wanted.updates - wanted.top:
                    yield Start({**values, "decay_length": held}, (*whole, "decay_length"), reals, other)


def _rises(wanted: Wanted) -> Iterator[tuple[float, str]]:
    """(level at the origin, shape): the source's own first."""
    assert wanted.rise is not None
    own = _RISES.get(wanted.rise.shape)
    origin = min(max(wanted.rise.at(0.0), 0.0), 1.0) if wanted.rise.shape == "linear" else wanted.start
    for start in dict.fromkeys((origin, wanted.start, 0.0)):
        if own:
            yield start, own
    for shape in ("linear", "cosine", "1-sqrt", "exponential", "logarithmic"):
        if shape != own:
            yield 0.0, shape


def _laws(wanted: Wanted, base: dict[str, Any], whole: tuple[str, ...], real: tuple[str, ...]) -> Iterator[Start]:
    assert wanted.fall is not None
    if wanted.fall.shape == "inverse sqrt":
        scale = max(1, round(wanted.fall.parameter))
        yield Start({**base, "decay": "inverse_sqrt", "floor": 0.0, "timescale": scale}, (*whole, "timescale"), real)
    if wanted.fall.shape in ("geometric", "stairs") and 0 < wanted.fall.parameter < 1:
        span = 1.0 if wanted.fall.shape == "geometric" else wanted.fall.end_at - wanted.fall.start_at
        half = max(1, round(-span * math.log(2) / math.log(wanted.fall.parameter)))
        values = {**base, "decay": "exponential", "half_life": half, "floor": max(1e-6, wanted.last / 2)}
        yield Start(values, (*whole, "half_life"), real)
    if wanted.fall.shape == "restarts" and wanted.fall.parameter >= 1:
        values = {**base, "decay": "restarts", "cycles": round(wanted.fall.parameter), "floor": wanted.floor}
        yield Start(values, whole, ("floor", *real))


def _made(values: Values, wanted: Wanted) -> Chosen | None:
    """The words of a candidate and their curve; ``None`` where they do not fit the run."""
    words: dict[str, str] = {"peak": repr(float(wanted.peak))}
    words["warmup"] = f"{values['warmup']} step{'' if values['warmup'] == 1 else 's'}" if values["warmup"] else "off"
    if values["warmup"]:
        if values["warmup_shape"] != "linear":
            words["warmup_shape"] = values["warmup_shape"]
        if values["warmup_start"]:
            words["warmup_start"] = _share(values["warmup_start"])
    held, decay = values.get("decay_length"), values["decay"]
    words["decay"] = "wsd" if held else decay
    if held:
        words |= {"decay_length": f"{held} step{'' if held == 1 else 's'}", "decay_shape": decay}
    if "floor" in values:
        words["floor"] = _share(values["floor"])
    if "power" in values and values["power"] > 0:
        words["power"] = decimal_text(Fraction(repr(float(values["power"]))))
    for key in ("timescale", "half_life"):
        if key in values:
            words[key] = f"{values[key]} step{'' if values[key] == 1 else 's'}"
    if "cycles" in values:
        words["cycles"] = str(values["cycles"])
    try:
        said: dict[str, Any] = {**words, "peak": wanted.peak}
        if "cycles" in values:
            said["cycles"] = values["cycles"]
        return Chosen(words, build(Schedule(**said), wanted.updates).curve)
    except (UserError, ArithmeticError, ValueError):
        return None


def _share(level: float) -> str:
    """A share of the peak in per cent, without the digits that only arithmetic made."""
    return str(Level(Fraction(repr(rate(min(max(level, 0.0), 1.0), 1.0)))))
