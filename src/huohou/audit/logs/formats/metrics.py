"""``metrics.jsonl`` of huohou's own runs; a skipped update keeps its number, so numbers count applied updates."""

from __future__ import annotations

from typing import Any, cast

from huohou.audit.logs.formats.json_lines import records
from huohou.audit.logs.log import Lines, Log, Rows
from huohou.language import Text

name = "metrics"
title = Text("metrics.jsonl of huohou", "huohou 的 metrics.jsonl")


def sees(log: Lines) -> int:
    """Its keys."""
    for _, record in records(log, most=20):
        if "update" in record and "rate" in record and ("tokens" in record or "gradient_norm" in record):
            return 99
    return 0


def read(log: Lines) -> Log:
    """The rates; by group where there are several."""
    rows = Rows()
    for number, record in records(log):
        update, rate = record.get("update"), record.get("rate")
        if not isinstance(update, int) or rate is None or record.get("skipped") is True:
            continue
        if isinstance(rate, dict):
            for group, value in cast("dict[str, Any]", rate).items():
                rows.add(group, update, value, number)
        else:
            rows.add("model", update, rate, number)
    return Log(log.name, name, rows.tracks(), logged="used")
