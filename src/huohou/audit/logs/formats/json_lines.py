"""JSON lines: what several kinds of log have in common, and logs of that kind that nobody has a name for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from huohou.audit.logs.formats.columns import RATE, is_rate, is_skips, is_update
from huohou.audit.logs.log import Lines, Log, Rows
from huohou.language import Text

name = "json-lines"
title = Text("JSON lines with a step and a rate", "含步数与学习率的 JSON 行")


def sees(log: Lines) -> int:
    """A first line that is an object and has a rate among its keys."""
    for _, record in records(log, most=50):
        if any(map(is_rate, record)) and any(map(is_update, record)):
            return 40
    return 0


def records(log: Lines, most: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of each line that is one; numbers with a point stay as they are written."""
    for number, line in enumerate(log.lines[:most], 1):
        if not line.lstrip().startswith("{"):
            continue
        try:
            record: Any = json.loads(line, parse_float=str)
        except (ValueError, RecursionError):
            # A line that is still being written, or something else that was printed.
            continue
        if isinstance(record, dict):
            yield number, cast("dict[str, Any]", record)


def read(log: Lines) -> Log:
    """Every key that is a rate, beside the first one that counts updates."""
    rows = Rows()
    for number, record in records(log):
        counters = [key for key in record if is_update(key) and isinstance(record[key], int)]
        if not counters:
            continue
        skips = next((record[key] for key in record if is_skips(key) and isinstance(record[key], int)), None)
        found = [key for key in record if is_rate(key)]
        for key in found:
            role = "model" if len(found) == 1 else RATE.sub("", key).strip("_/-. ") or key
            rows.add(role, record[counters[0]], record[key], number, skips)
    return Log(log.name, name, rows.tracks())
