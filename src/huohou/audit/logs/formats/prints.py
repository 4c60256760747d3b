"""What the Transformers Trainer prints: ``{'loss': 1.2, 'learning_rate': '9e-05', 'epoch': 0.1}``, no step beside it.

The update follows from the progress bar where it is in the text; else the lines are counted, and how many updates lie
between two of them is found later.
"""

from __future__ import annotations

import re
from itertools import pairwise

from huohou.audit.logs.log import Lines, Log, Rows
from huohou.language import Text

name = "prints"
title = Text("dictionaries that a Trainer printed", "Trainer 打印的字典")

_DICT = re.compile(r"\{['\"][^{}]{0,4000}['\"]learning_rate['\"]\s*:[^{}]*\}")
_RATE = re.compile(r"['\"]learning_rate['\"]\s*:\s*['\"]?([-+0-9.eE]+|nan)")
_BAR = re.compile(r"\|\s*(\d+)/(\d+)\s*\[")


def sees(log: Lines) -> int:
    """A printed dictionary with a rate."""
    return 60 if _DICT.search(log.text) else 0


def read(log: Lines) -> Log:
    """The rates in their order."""
    found: list[tuple[int | None, str, int]] = []
    bar: int | None = None
    total: int | None = None
    for number, line in enumerate(log.lines, 1):
        match = _DICT.search(line)
        for progress in _BAR.finditer(line if match is None else line[: match.start()]):
            bar, total = int(progress.group(1)), int(progress.group(2))
        rate = None if match is None else _RATE.search(match.group())
        if match is None or rate is None:
            continue
        found.append((bar, rate.group(1), number))
    rows = Rows()
    trusted = [at for at, _, _ in found]
    # A bar is believed where it moves between any two lines; where there is none the lines themselves are counted.
    counted = None not in trusted and all(a is not None and b is not None and a < b for a, b in pairwise(trusted))
    for place, (at, rate, number) in enumerate(found, 1):
        rows.add("model", at if counted and at is not None else place, rate, number)
    return Log(log.name, name, rows.tracks(), total=total, counted=counted)
