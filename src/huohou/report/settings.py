"""The settings of runs as flat rows: what one run was told, and in which rows several runs differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from huohou.report.runs import Run, mapping

# Values of keys with these names are secrets of whoever wrote the run file; a page is made to be handed around.
_SECRET = re.compile(
    r"(^|_)(api_?key|secret|password|passwd|passphrase|credentials?|(access|auth|api|hf|bearer)_?token)($|_)", re.I
)
HIDDEN = "•••"
_LONGEST_KEY = 100
# What names a run or says where it lies is no setting.
_NAMES = frozenset({"name", "output"})


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested plain data as ``{"a.b": "text"}``; secrets are hidden."""
    if isinstance(value, Mapping) and value:
        rows: dict[str, str] = {}
        for key, inner in cast(Mapping[str, Any], value).items():
            path = (f"{prefix}.{key}" if prefix else str(key))[:_LONGEST_KEY]
            if _SECRET.search(str(key)) and inner not in (None, ""):
                rows[path] = HIDDEN
            else:
                rows.update(flat(inner, path))
        return rows
    return {prefix: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)} if prefix else {}


def settings(run: Run) -> dict[str, str]:
    """The run file as resolved; for a plan made from flags, what the plan itself says of model, batch and optimizer."""
    config = run.plan.get("config")
    if isinstance(config, Mapping) and config:
        return flat(config)
    chosen = ("peak", "floor", "warmup_updates", "decay_updates", "updates", "batch", "model", "optimizer", "execution")
    told = flat({key: run.plan[key] for key in chosen if run.plan.get(key) is not None})
    shapes = [str(mapping(knot).get("shape")) for knot in cast(Sequence[Any], run.plan.get("knots") or ())[:20]]
    return told | ({"shapes": " → ".join(shapes)} if shapes else {})


def different(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The settings in which the runs differ: key → one value a run, ``–`` where a run does not have the key."""
    tables = [settings(run) for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = {key: [table.get(key, "–") for table in tables] for key in keys if key not in _NAMES}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def seed(run: Run) -> str | None:
    """The seed of the run, as text."""
    for section in (run.plan.get("config"), run.plan.get("execution"), run.plan):
        if isinstance(section, Mapping):
            value = cast(Mapping[str, Any], section).get("seed")
            if value is not None:
                return str(value)
    return None
