"""``trainer_state.json`` of the Transformers Trainer: ``log_history`` with a rate beside its ``step``.

Trainers before 4.50 wrote the rate of the next update beside an update, later ones the rate that it used.
"""

from __future__ import annotations

import json
from typing import Any, cast

from huohou.audit.logs.log import Lines, Log, Rows
from huohou.errors import UserError
from huohou.language import Text

name = "trainer-state"
title = Text("trainer_state.json of the Transformers Trainer", "Transformers Trainer 的 trainer_state.json")


def sees(log: Lines) -> int:
    """Its list and its counters."""
    if not log.head.lstrip().startswith("{"):
        return 0
    return 95 if '"log_history"' in log.text and '"global_step"' in log.text else 0


def read(log: Lines) -> Log:
    """The rates of ``log_history``."""
    try:
        # Numbers stay as they are written: their digits tell how exactly they were kept.
        data: Any = json.loads(log.text, parse_float=_Written)
    except (ValueError, RecursionError):
        raise UserError(f"{log.name} is no complete JSON.", f"{log.name} 不是完整的 JSON。") from None
    state = cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    history = state.get("log_history")
    rows = Rows()
    for number, each in enumerate(cast("list[Any]", history) if isinstance(history, list) else [], 1):
        if not isinstance(each, dict):
            continue
        entry = cast("dict[str, Any]", each)
        update, rate = entry.get("step"), entry.get("learning_rate")
        if isinstance(update, int) and rate is not None:
            rows.add("model", update, rate, number)
    total = state.get("max_steps")
    return Log(log.name, name, rows.tracks(), total=total if isinstance(total, int) and total > 0 else None)


class _Written(str):
    """A number as it is written."""

    __slots__ = ()
