"""Megatron-LM's lines: ``iteration 100/ 5000 | … | learning rate: 1.500E-05 | …``."""

from __future__ import annotations

import re

from huohou.audit.logs.log import Lines, Log, Rows
from huohou.language import Text

name = "megatron"
title = Text("Megatron-LM's lines", "Megatron-LM 的日志行")

_LINE = re.compile(r"\biteration\s+(\d+)\s*/\s*(\d+)\s*\|.{0,600}?\blearning rate:\s*([-+0-9.eE]+|nan)", re.IGNORECASE)
_SKIPPED = re.compile(r"number of skipped iterations:\s*(\d+)")


def sees(log: Lines) -> int:
    """Its own line anywhere."""
    return 90 if _LINE.search(log.text) else 0


def read(log: Lines) -> Log:
    """The rates; skipped iterations are those since the line before and are added up."""
    rows, total, skipped, counts = Rows(), None, 0, False
    for number, line in enumerate(log.lines, 1):
        match = _LINE.search(line)
        if match is None:
            continue
        since = _SKIPPED.search(line)
        if since is not None:
            skipped, counts = skipped + int(since.group(1)), True
        rows.add("model", int(match.group(1)), match.group(3), number, skipped if counts else None)
        total = int(match.group(2))
    return Log(log.name, name, rows.tracks(), total=total)
