"""The summary as plain data: what ``huohou report --json`` prints."""

from __future__ import annotations

import math
from typing import Any

from huohou.report.measures import FOR_GOOD
from huohou.report.settings import seed
from huohou.report.words import Findings, of_difference, of_run, of_trust


def plain(found: Findings) -> dict[str, Any]:
    """One object; a value that was not recorded is null."""
    trust = of_trust(found)
    return {
        "format": 1,
        "runs": [_run(found, index) for index in range(len(found.runs))],
        "differences": [
            {
                "run": found.runs[d.run].name,
                "beside": found.runs[0].name,
                "final_loss": _number(d.final_loss),
                "final_evaluation_loss": _number(d.final_evaluation_loss),
                "lower_from": d.lower,
                "higher_from": d.higher,
                "text": of_difference(found, d).plain(),
            }
            for d in found.differences
        ],
        "different_settings": found.settings,
        "trust": trust.plain() if trust else None,
        "definitions": {m.key: m.definition.plain() for m in found.measures[0]} | {"lower_from": FOR_GOOD.plain()},
    }


def _run(found: Findings, index: int) -> dict[str, Any]:
    run, held = found.runs[index], found.applied[index]
    return {
        "name": run.name,
        "path": run.path.as_posix(),
        "seed": seed(run),
        "planned_updates": run.planned_updates,
        "updates": len(run.updates),
        "complete": run.complete,
        "skipped": len(run.skipped),
        "remade": run.remade,
        "unreadable_lines": run.unreadable,
        "fingerprint": run.plan.get("fingerprint"),
        "plan_fingerprint": run.plan.get("plan_fingerprint"),
        "applied": {"compared": held.compared, "equal": held.equal, "largest_difference": held.largest, "at": held.at},
        "measures": {m.key: _number(m.value) for m in found.measures[index]},
        "text": of_run(found, index).plain(),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
