"""How many columns a text takes in a terminal."""

from __future__ import annotations

import unicodedata


def width(text: str) -> int:
    """Columns that a text takes in a terminal; 汉字 take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, columns: int) -> str:
    """The text, filled with spaces to so many columns."""
    return text + " " * max(0, columns - width(text))
