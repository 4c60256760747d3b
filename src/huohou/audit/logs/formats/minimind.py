"""minimind's lines: ``Epoch:[1/2](100/1000) loss:5.1 lr:0.000499900000 epoch_Time:3.0min:`` in all their versions.

It counts micro-batches within an epoch and sets a rate for each of them.
"""

from __future__ import annotations

import re

from huohou.audit.logs.log import Lines, Log, Rows
from huohou.language import Text

name = "minimind"
title = Text("minimind's lines", "minimind 的日志行")

_LINE = re.compile(
    r"Epoch:?\s*\[(\d+)/(\d+)\]\s*\((\d+)/(\d+)\).{0,300}?\b(?:lr|learning_rate)\s*:\s*([-+0-9.eE]+)", re.IGNORECASE
)


def sees(log: Lines) -> int:
    """Its own line anywhere."""
    return 90 if _LINE.search(log.text) else 0


def read(log: Lines) -> Log:
    """The rates, beside the number of the micro-batch over all epochs."""
    rows, total = Rows(), None
    for number, line in enumerate(log.lines, 1):
        match = _LINE.search(line)
        if match is None:
            continue
        epoch, epochs, step, length = (int(match.group(place)) for place in range(1, 5))
        rows.add("model", (epoch - 1) * length + step, match.group(5), number)
        total = epochs * length
    return Log(log.name, name, rows.tracks(), unit="micro-batch", total=total, logged="used")
