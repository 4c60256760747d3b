"""How numbers are written for people: few digits, the same everywhere, in no language in particular."""

from __future__ import annotations

import math
from itertools import pairwise

from huohou.language import Text

MINUS = "−"


def rate(value: float) -> str:
    """A learning rate as people type it: 3e-4, 1.25e-5, 0.02."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if 1e-2 <= abs(value) < 1e4:
        return f"{value:.3g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}" if math.isfinite(value) else "–"


def short(value: float) -> str:
    """A number for an axis: 0.5, 200, 1.5k, 40k, 2M."""
    size = abs(value)
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{value / unit:.4g}{name}".replace("-", MINUS)
    if size and size < 1e-3:
        return rate(value).replace("-", MINUS, 1) if value < 0 else rate(value)
    return f"{value:.4g}".replace("-", MINUS)


def fixed(value: float, digits: int) -> str:
    """A measured number with so many digits after the point."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """A difference: its sign is always written."""
    text = fixed(value, digits).removeprefix(MINUS)
    if not math.isfinite(value) or not text.strip("0.,"):
        return text
    return (MINUS if value < 0 else "+") + text


def share(value: float) -> str:
    """A part of a whole in per cent."""
    if not math.isfinite(value):
        return "–"
    percent = value * 100
    return f"{percent:.3g} %" if 0 < abs(percent) < 10 else f"{percent:.1f} %" if percent % 1 else f"{percent:.0f} %"


def duration(seconds: float) -> Text:
    """A span of time as 41 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if not math.isfinite(seconds):
        return Text("–", "–")
    if seconds < 10:
        return Text(f"{seconds:.2g} s", f"{seconds:.2g} 秒")
    whole = round(seconds)
    units = ((86400, "d", "天"), (3600, "h", "小时"), (60, "min", "分"), (1, "s", "秒"))
    for (unit, en, zh), (part, part_en, part_zh) in pairwise(units):
        if whole >= unit:
            count, rest = whole // unit, whole % unit // part
            more = (f" {rest} {part_en}", f" {rest} {part_zh}") if rest else ("", "")
            return Text(f"{count} {en}{more[0]}", f"{count} {zh}{more[1]}")
    return Text(f"{whole} s", f"{whole} 秒")
