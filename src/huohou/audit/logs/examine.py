"""The audit of a log: its tracks explained, compared with a configuration where one is given, and what was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from huohou.audit.examine import Audit
from huohou.audit.logs.agree import Agreement, agree, lengths
from huohou.audit.logs.explain import Explanation, explain
from huohou.audit.logs.findings import findings
from huohou.audit.logs.log import Log, Point, Track
from huohou.audit.plain import named_roles
from huohou.audit.reading import Finding, Given, Role
from huohou.errors import UserError

Examine = Callable[[Given], Audit]
"""The configuration's audit under other given facts."""

SPACINGS = (1, 10, 5, 20, 50, 100, 500, 2, 25, 200)
"""How many updates may lie between two lines of a log that does not say."""


@dataclass(slots=True)
class LogAudit:
    """What was found in a log.

    Attributes:
        log: What was read.
        explanations: One for each track.
        config: The configuration's audit, where one was given.
        agreements: Roles and their tracks.
        updates: The number of updates that the configuration was read for, where the log had to tell it.
        findings: What is wrong, worst first.
    """

    log: Log
    explanations: list[Explanation]
    config: Audit | None = None
    agreements: list[Agreement] = field(default_factory=list[Agreement])
    updates: int | None = None
    findings: list[Finding] = field(default_factory=list[Finding])


def examine_log(log: Log, given: Given, config: Examine | None = None) -> LogAudit:
    """Explain a log and compare it with a configuration.

    Raises:
        UserError: The configuration cannot be read, or has no role that the log could belong to.
    """
    audit = None if config is None else config(given)
    log = _spaced(log, audit)
    explanations = [explain(track, log) for track in log.tracks]
    found = LogAudit(log, explanations, audit)
    if config is not None and audit is not None:
        _compare(found, given, config)
    found.findings = findings(log, explanations, found.agreements)
    return found


def _spaced(log: Log, audit: Audit | None) -> Log:
    """A log whose lines do not count updates, with its numbers multiplied by what lies between two lines."""
    if log.counted:
        return log
    spacing = None
    if audit is not None:
        for reading in audit.readings:
            steps = reading.settings.number("logging_steps")
            spacing = int(steps) if steps is not None and steps >= 1 else spacing
    if spacing is None:
        for spacing in SPACINGS:
            wider = _times(log, spacing)
            if all(explain(track, wider).fits for track in wider.tracks):
                break
        else:
            spacing = 1
    return _times(log, spacing)


def _times(log: Log, spacing: int) -> Log:
    def wide(point: Point) -> Point:
        return replace(point, update=point.update * spacing)

    tracks = [
        Track(track.name, [wide(p) for p in track.points], track.resumed, track.changed, track.lost)
        for track in log.tracks
    ]
    return replace(log, tracks=tracks, spacing=spacing)


def _compare(found: LogAudit, given: Given, config: Examine) -> None:
    assert found.config is not None
    roles = named_roles(found.config)
    if not roles:
        # What the configuration does not know, the log may: how many updates there were to be.
        for updates in lengths(found.log, found.explanations):
            attempt = _with(config, given, updates)
            roles = [] if attempt is None else named_roles(attempt)
            if attempt is None or not roles:
                continue
            pairs = _pairs(roles, found, config, given)
            better = all(each.agrees for each in pairs)
            if better or not found.agreements:
                found.config, found.agreements, found.updates = attempt, pairs, updates
            if better:
                return
        if not found.agreements:
            missing = [text for reading in found.config.readings for text in reading.missing]
            name = found.config.document.source.name
            en = missing[0].en if missing else "it has no curve to compare with the log"
            zh = missing[0].zh if missing else "没有可与日志比较的曲线"
            raise UserError(f"{name}: {en}", f"{name}：{zh}")
        return
    found.agreements = _pairs(roles, found, config, given)


def _with(config: Examine, given: Given, updates: int) -> Audit | None:
    try:
        return config(replace(given, updates=updates))
    except UserError:
        return None


def _pairs(roles: list[tuple[str, Role]], found: LogAudit, config: Examine, given: Given) -> list[Agreement]:
    """Each track with the role of its name, or with the one that it agrees with best."""

    def again(name: str) -> Callable[[int], Role | None]:
        def other(updates: int) -> Role | None:
            audit = _with(config, given, updates)
            return None if audit is None else dict(named_roles(audit)).get(name)

        return other

    by_name = dict(roles)
    pairs: list[Agreement] = []
    for explanation in found.explanations:
        name = explanation.track.name
        chosen = [(name, by_name[name])] if name in by_name and len(roles) == len(found.explanations) else roles
        trials = [agree(role, explanation, found.log, again(each)) for each, role in chosen]
        order = ("same", "skips ignored", "length", "peak", "often", "seldom", "none")
        pairs.append(min(trials, key=lambda trial: (order.index(trial.how), trial.apart)))
    return pairs
