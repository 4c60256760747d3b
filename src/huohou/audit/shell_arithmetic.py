"""``$((A * 8))`` of a shell: whole numbers, the four operations and brackets. Whatever else it says is not computed."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\s*(?:(\d+)|\$?\{?([A-Za-z_]\w*)\}?|(\*\*|[-+*/%()]))")


def calculated(text: str, variables: Mapping[str, str]) -> str | None:
    """The value as text; ``None`` where it cannot be told."""
    tokens: list[str] = []
    place = 0
    text = text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or len(tokens) > 64:
            return None
        number, name, operator = match.groups()
        value = number or (variables.get(name, "") if name else operator)
        if name and not value.isdigit():
            return None
        tokens.append(value)
        place = match.end()
    try:
        value, rest = _sum(tokens)
    except (ValueError, IndexError, ZeroDivisionError):
        return None
    return None if rest or abs(value) > 10**18 else str(value)


def _sum(tokens: list[str]) -> tuple[int, list[str]]:
    value, tokens = _product(tokens)
    while tokens and tokens[0] in "+-":
        sign, (other, tokens) = tokens[0], _product(tokens[1:])
        value = value + other if sign == "+" else value - other
    return value, tokens


def _product(tokens: list[str]) -> tuple[int, list[str]]:
    value, tokens = _atom(tokens)
    while tokens and tokens[0] in ("*", "/", "%"):
        sign, (other, tokens) = tokens[0], _atom(tokens[1:])
        if sign == "*":
            value *= other
        else:
            # Bash rounds towards zero.
            quotient = abs(value) // abs(other) * (1 if (value < 0) == (other < 0) else -1)
            value = quotient if sign == "/" else value - quotient * other
        if abs(value) > 10**18:
            raise ValueError
    return value, tokens


def _atom(tokens: list[str]) -> tuple[int, list[str]]:
    if tokens[0] == "(":
        value, rest = _sum(tokens[1:])
        if rest[0] != ")":
            raise ValueError
        return value, rest[1:]
    if tokens[0] == "-":
        value, rest = _atom(tokens[1:])
        return -value, rest
    return int(tokens[0]), tokens[1:]
