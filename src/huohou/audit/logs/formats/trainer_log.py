"""``trainer_log.jsonl`` of LLaMA-Factory: a line for each time that its Trainer logged."""

from __future__ import annotations

from huohou.audit.logs.formats.json_lines import records
from huohou.audit.logs.log import Lines, Log, Rows
from huohou.language import Text

name = "trainer-log"
title = Text("trainer_log.jsonl of LLaMA-Factory", "LLaMA-Factory 的 trainer_log.jsonl")


def sees(log: Lines) -> int:
    """Its two counters."""
    return 95 if log.head.lstrip().startswith("{") and '"current_steps"' in log.head else 0


def read(log: Lines) -> Log:
    """The rates, called ``lr`` and in old versions ``learning_rate``."""
    rows, total = Rows(), None
    for number, record in records(log):
        update = record.get("current_steps")
        rate = record.get("lr", record.get("learning_rate"))
        if isinstance(update, int) and rate is not None:
            rows.add("model", update, rate, number)
        steps = record.get("total_steps")
        if isinstance(steps, int) and steps > 0:
            total = steps
    return Log(log.name, name, rows.tracks(), total=total)
