"""Whole numbers below ten thousand as they are spoken in Chinese, and back."""

from __future__ import annotations

import re

_DIGITS = "零一二三四五六七八九"
_UNITS = ((1000, "千"), (100, "百"), (10, "十"))
_VALUES = {character: value for value, character in enumerate(_DIGITS)} | {"〇": 0, "两": 2}
_SIZES = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
_NUMERAL = re.compile("[零〇一二两三四五六七八九十][零〇一二两三四五六七八九十百千万]*")


def spoken(number: int) -> str:
    """The number in words: 15 is 十五, 105 is 一百零五, 210 is 二百一十."""
    if not 0 <= number < 10_000:
        raise ValueError(f"numbers from 0 to 9999 are spoken here, not {number}")
    if number < 10:
        return _DIGITS[number]
    out = ""
    rest = number
    for size, unit in _UNITS:
        digit, rest = divmod(rest, size)
        if digit:
            # Only a number that begins with ten drops its 一.
            out += unit if size == 10 and digit == 1 and not out else _DIGITS[digit] + unit
            if rest and rest < size // 10:
                out += "零"
    return out + (_DIGITS[rest] if rest else "")


def counted(number: int, measure: str) -> str:
    """The number with a measure word: 2 and 个 are 两个."""
    return ("两" if number == 2 else spoken(number)) + measure


def with_digits(text: str) -> str:
    """The text with every spoken number written in digits: 二十一个 becomes 21个, 二〇二六年 becomes 2026年."""
    return _NUMERAL.sub(lambda match: _value(match[0]), text)


def _value(numeral: str) -> str:
    if not any(character in _SIZES for character in numeral):
        return "".join(str(_VALUES[character]) for character in numeral)
    total = section = digit = 0
    for character in numeral:
        size = _SIZES.get(character)
        if size is None:
            digit = _VALUES[character]
        elif size == 10_000:
            total, section, digit = total + (section + digit) * size, 0, 0
        else:
            # 十 at the beginning means 一十.
            section, digit = section + (digit or 1) * size, 0
    return str(total + section + digit)
