"""A curve drawn in a terminal, in braille dots or in plain ASCII.

It only calls ``curve(update)`` and needs nothing beyond Python, because ``huohou plan`` answers before numpy could be
loaded. Whatever the length of the run, the number of evaluations is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from huohou.report import numbers

# A braille character is a cell of 2 x 4 dots; these are the bits of its left and its right column, top to bottom.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_WIDEST = 100
_MOST_KNOTS = 100
_MOST_SEEN = 20_000
"""Up to so many updates a curve that does not name its knots is seen at each of them."""


def needs_ascii(stream: TextIO) -> bool:
    """Whether the encoding of this stream cannot hold braille and box characters."""
    try:
        "⣿┤└─┴".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return False


def draw(
    curve: Callable[[int], float],
    updates: int,
    width: int = 64,
    height: int = 10,
    ascii: bool = False,
) -> str:
    """The rate of updates 1…``updates`` as text.

    ``width`` and ``height`` are the characters of the plotting area (8…100 and 3…40), to which the labels come: on
    the left the peak, the floor and 0, below the first update, W (the update that first uses the peak, where the
    curve names its knots) and T.
    """
    width = min(max(width, 8), _WIDEST)
    height = min(max(height, 3), 40)
    updates = max(updates, 1)
    across, down = (width, height * 3) if ascii else (width * 2, height * 4)
    lows, highs, peak_at, peak = _columns(curve, updates, across)
    top = peak if peak > 0 else 1.0
    last = curve(updates)
    spans = _spans([_level(v, top, down) for v in lows], [_level(v, top, down) for v in highs])
    rows = _ascii_rows(spans, width, height) if ascii else _braille_rows(spans, width, height)

    labels = {0: numbers.rate(peak)}
    floor_row = height - 1 - _level(last, top, down) // (3 if ascii else 4)
    if 0 < last < peak and 0 < floor_row < height:
        labels[floor_row] = numbers.rate(last)
    gutter = max(len(label) for label in [*labels.values(), "0"])
    tick, wall, corner, dash, foot = ("+", "|", "+", "-", "+") if ascii else ("┤", "│", "└", "─", "┴")
    lines = [
        f"{labels.get(r, ''):>{gutter}} {tick if r in labels else wall}{row}".rstrip() for r, row in enumerate(rows)
    ]

    marks = _marks(updates, peak_at if getattr(curve, "knots", ()) else 1, width)
    base = [dash] * width
    for column, _ in marks:
        base[column] = foot
    lines.append(f"{'0':>{gutter}} {corner}{''.join(base)}")
    lines.append(" " * (gutter + 2) + _written(marks, width))
    return "\n".join(line.rstrip() for line in lines)


def _columns(curve: Callable[[int], float], updates: int, across: int) -> tuple[list[float], list[float], int, float]:
    """Lowest and highest rate of every dot column, and where the highest rate of all is first used.

    Between two knots a curve only rises or only falls, so that the ends of a column and the knots inside it hold its
    extremes. A curve without knots is seen at every update of a short run; of a long one at the ends of the columns
    and at the updates that it names itself as its ``seams``.
    """
    seen: dict[int, float] = {}

    def at(update: int) -> float:
        if update not in seen:
            value = float(curve(update))
            seen[update] = value if math.isfinite(value) else 0.0
        return seen[update]

    knots = sorted({u for k in _knots(curve) for u in (math.floor(k), math.floor(k) + 1) if 1 <= u <= updates})
    every = updates <= _MOST_SEEN and not hasattr(curve, "knots")
    lows: list[float] = []
    highs: list[float] = []
    for column in range(across):
        first = min(1 + column * updates // across, updates)
        last = max(first, min((column + 1) * updates // across, updates))
        inside = range(first, last) if every else [u for u in knots if first <= u <= last]
        values = [at(first), at(last), *map(at, inside)]
        lows.append(min(values))
        highs.append(max(values))
    peak = max(highs)
    return lows, highs, min(u for u, value in seen.items() if value == peak), peak


def _knots(curve: Any) -> Iterable[float]:
    knots = [float(knot.update) for knot in getattr(curve, "knots", ())] or [*map(float, getattr(curve, "seams", ()))]
    stride = math.ceil(len(knots) / _MOST_KNOTS) or 1
    return knots[::stride]


def _level(value: float, top: float, down: int) -> int:
    """The dot row of a value, counted from the bottom."""
    return min(max(round(value / top * (down - 1)), 0), down - 1)


def _spans(lows: list[int], highs: list[int]) -> list[tuple[int, int]]:
    """The dots of every column, stretched to meet the column before, so that the line has no holes."""
    spans: list[tuple[int, int]] = []
    for low, high in zip(lows, highs, strict=True):
        if spans:
            before_low, before_high = spans[-1]
            if low > before_high + 1:
                low = before_high + 1
            elif high < before_low - 1:
                high = before_low - 1
        spans.append((low, high))
    return spans


def _braille_rows(spans: list[tuple[int, int]], width: int, height: int) -> list[str]:
    cells = [[0] * width for _ in range(height)]
    for x, (low, high) in enumerate(spans):
        for level in range(low, high + 1):
            row, dot = divmod(height * 4 - 1 - level, 4)
            cells[row][x // 2] |= _DOTS[x % 2][dot]
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in row) for row in cells]


def _ascii_rows(spans: list[tuple[int, int]], width: int, height: int) -> list[str]:
    cells = [[" "] * width for _ in range(height)]
    for x, (low, high) in enumerate(spans):
        for row in range(low // 3, high // 3 + 1):
            inside = [level for level in range(row * 3, row * 3 + 3) if low <= level <= high]
            cells[height - 1 - row][x] = "_-'"[inside[0] % 3] if len(inside) == 1 else "|" if len(inside) == 3 else ":"
    return ["".join(row) for row in cells]


def _marks(updates: int, peak_at: int, width: int) -> list[tuple[int, str]]:
    """Where the foot of the drawing carries a label, left to right."""

    def column(update: int) -> int:
        return min((update - 1) * width // updates, width - 1)

    marks = [(0, "1")]
    if 1 < peak_at < updates:
        marks.append((column(peak_at), f"W={peak_at}"))
    if updates > 1:
        marks.append((width - 1, f"T={updates}"))
    return marks


def _written(marks: list[tuple[int, str]], width: int) -> str:
    """The labels under their marks, moved sideways where they would meet; the last one ends at the right edge."""
    line = [" "] * width
    free_from = 0
    last_start = width - len(marks[-1][1]) if len(marks) > 1 else width
    for index, (column, label) in enumerate(marks):
        is_last = index == len(marks) - 1 and index > 0
        start = max(last_start, free_from) if is_last else max(column - len(label) // 2, free_from)
        if not is_last and index > 0:
            start = min(start, last_start - len(label) - 1)
            if start < free_from:  # There is no room: W is said elsewhere, T and 1 matter more.
                continue
        line[start : start + len(label)] = label
        free_from = start + len(label) + 1
    return "".join(line)
