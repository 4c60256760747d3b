"""An audit as plain data: what ``huohou audit --json`` prints."""

from __future__ import annotations

import math
from typing import Any

from huohou.audit.examine import Audit
from huohou.audit.looking import beyond, look
from huohou.audit.reading import Finding, Reading, Role
from huohou.audit.said import said


def plain(audit: Audit) -> dict[str, Any]:
    """Everything that was found: the curve of each role, what was assumed, and the findings."""
    readings = [_reading(reading) for reading in audit.readings]
    curves = {name: _role(role, reading) for name, role, reading in _named(audit)}
    return {
        "file": audit.document.source.name,
        "dialect": audit.dialect,
        "curves": curves,
        "readings": readings,
        "findings": [finding(each) for each in audit.findings],
        "suppressed": [{**finding(each), "reason": reason} for each, reason in audit.suppressed],
        "error": None,
    }


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "title": reading.title,
        "written": {key: {"value": value.value, "line": value.line} for key, value in said(reading.settings)},
        "curves": {role.name: _role(role, reading) for role in reading.roles},
        "assumptions": [text.plain() for text in reading.assumptions],
        "missing": [text.plain() for text in reading.missing],
        "refused": reading.refused.plain() if reading.refused is not None else None,
        "other_eras": {era: _role(role, reading) for era, role in reading.other},
        "parts": [_reading(part) for part in reading.parts],
    }


def named_roles(audit: Audit) -> list[tuple[str, Role]]:
    """Each role of every reading under a name of its own: ``model``, and ``model-2`` for that of a second command.

    What two commands do alike (those of an ``if`` and its ``else``) is there once.
    """
    return [(name, role) for name, role, _ in _named(audit)]


def _named(audit: Audit) -> list[tuple[str, Role, Reading]]:
    found: list[tuple[str, Role, Reading]] = []
    taken: dict[str, int] = {}
    for reading in audit.readings:
        for role in reading.roles:
            if any(other.name == role.name and other.applied == role.applied for _, other, _ in found):
                continue
            taken[role.name] = taken.get(role.name, 0) + 1
            many = taken[role.name]
            found.append((role.name if many == 1 else f"{role.name}-{many}", role, reading))
    return found


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _role(role: Role, reading: Reading) -> dict[str, Any]:
    seen = look(role.applied)
    return {
        "model": role.model,
        "updates": role.applied.updates,
        "warmup_updates": int(role.warmup) if role.warmup == int(role.warmup) else role.warmup,
        "peak": _number(role.applied.peak),
        "first": _number(seen.first),
        "last": _number(seen.last),
        "highest": _number(seen.peak),
        "peak_at": seen.peak_at,
        "zero_updates": seen.zero,
        "negative_updates": seen.negative,
        "horizon": role.horizon,
        "past_end": beyond(role.applied, role.horizon),
        "tokens_per_update": reading.facts.get("tokens_per_update"),
        "assumptions": [text.en for text in reading.assumptions],
    }


def finding(found: Finding) -> dict[str, Any]:
    """One finding."""
    return {
        "rule": found.rule,
        "severity": found.severity,
        "file": found.file,
        "line": found.line,
        "message": str(found.message),
        "fix": str(found.fix),
    }
