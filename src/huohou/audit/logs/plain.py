"""The audit of a log as plain data: the key ``log`` of what ``huohou audit --json`` prints."""

from __future__ import annotations

import math
from typing import Any

from huohou.audit.logs.agree import Agreement
from huohou.audit.logs.examine import LogAudit
from huohou.audit.logs.explain import Explanation
from huohou.audit.logs.fit import Fit
from huohou.audit.looking import look
from huohou.audit.plain import finding


def plain(audit: LogAudit) -> dict[str, Any]:
    """The log, what explains each of its tracks, and how it stands to the configuration."""
    log = audit.log
    by_track = {id(each.track): each for each in audit.agreements}
    return {
        "file": log.name,
        "format": log.format,
        "unit": log.unit,
        "total": log.total,
        "spacing": log.spacing,
        "tracks": {
            explanation.track.name: _track(explanation, by_track.get(id(explanation.track)))
            for explanation in audit.explanations
        },
        "updates_from_log": audit.updates,
        "findings": [finding(each) for each in audit.findings],
    }


def curves(audit: LogAudit) -> dict[str, Any]:
    """The explained curves in the form in which those of a configuration are shown."""
    found: dict[str, Any] = {}
    for explanation in audit.explanations:
        best = explanation.best
        if best is None:
            continue
        last = explanation.points[-1].update
        total = int(best.shape.total) if best.kind.falls else last
        curve = best.curve(total)
        found[explanation.track.name] = {
            "model": None,
            "updates": total if best.kind.falls else None,
            "warmup_updates": int(best.shape.warmup),
            "peak": best.peak,
            "first": curve.rate(1),
            "last": curve.rate(total),
            "peak_at": look(curve).peak_at,
            "assumptions": ["read from the log"],
        }
    return found


def _track(explanation: Explanation, agreement: Agreement | None) -> dict[str, Any]:
    points = explanation.points
    return {
        "points": len(points),
        "first_update": points[0].update,
        "last_update": points[-1].update,
        "precision": explanation.precision.words.en,
        "skipped": explanation.skipped[-1],
        "skips": explanation.source,
        "resumed": [list(pair) for pair in explanation.track.resumed],
        "decay_seen": explanation.falls,
        "rising": explanation.rising,
        "explained_until": None if explanation.until is None else points[explanation.until - 1].update,
        "explanation": None if explanation.best is None else _fit(explanation.best, explanation),
        "others": [_fit(fit, explanation) for fit in explanation.fits[1:]],
        "nearest": None if explanation.nearest is None or explanation.fits else _fit(explanation.nearest, explanation),
        "agreement": None if agreement is None else _agreement(agreement),
    }


def _fit(fit: Fit, explanation: Explanation) -> dict[str, Any]:
    shape = fit.shape
    best = fit is explanation.best
    return {
        "curve": fit.member.name,
        "dialects": list(fit.member.who),
        "peak": fit.peak,
        "warmup": shape.warmup,
        "updates": shape.total if fit.kind.falls else None,
        "updates_between": list(explanation.totals) if best and explanation.totals else None,
        "decay": shape.decay if fit.kind.holds else None,
        "floor": float(f"{shape.floor * fit.peak:.12g}") if fit.kind.falls else None,
        "logged": fit.logged,
        "residual": fit.residual if math.isfinite(fit.residual) else None,
        "exact": fit.exact,
    }


def _agreement(each: Agreement) -> dict[str, Any]:
    points = each.track.points
    changes = [
        {"update": point.update, "skipped": now}
        for point, before, now in zip(points, [0, *each.skipped], each.skipped, strict=False)
        if now > before
    ]
    return {
        "role": each.role.name,
        "agrees": each.agrees,
        "how": each.how,
        "logged": each.logged,
        "skipped": each.skipped[-1] if each.skipped else 0,
        "skips": changes,
        "skips_from": "found" if each.found else "log",
        "factor": each.factor,
        "updates": each.role.applied.updates,
        "largest": each.apart,
        "at": each.at,
        "relative": each.relative,
    }
