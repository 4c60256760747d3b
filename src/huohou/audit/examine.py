"""The audit of one source: its dialect, its readings, and what the rules find in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from huohou.audit.dialects.all import named, recognise
from huohou.audit.document import Document
from huohou.audit.reading import SEVERITIES, Finding, Given, Reading
from huohou.audit.rules.all import RULES
from huohou.audit.rules.base import Found, Rule
from huohou.audit.suppress import Configuration, configuration, taken_back
from huohou.errors import UserError
from huohou.language import Text


@dataclass(slots=True)
class Audit:
    """What was found in one source. ``suppressed`` are findings that somebody takes back, with the reason.

    Attributes:
        configuration: What the project says of the audit, where it says something.
    """

    document: Document
    dialect: str
    readings: list[Reading] = field(default_factory=list[Reading])
    findings: list[Finding] = field(default_factory=list[Finding])
    suppressed: list[tuple[Finding, str]] = field(default_factory=list[tuple[Finding, str]])
    configuration: Configuration | None = None


def examine(document: Document, given: Given, *, dialect: str | None = None, rules: Iterable[Rule] = RULES) -> Audit:
    """Read a source and apply the rules.

    Raises:
        UserError: No dialect knows it, or the one that was named finds no run in it; or the project's configuration
            names a rule that does not exist.
    """
    chosen = named(dialect) if dialect is not None else recognise(document)
    name = document.source.name
    if chosen is None:
        raise UserError(
            f"{name} is in none of the languages that the audit knows; say which by --as.",
            f"无法识别 {name} 的类型；请用 --as 指明。",
        )
    try:
        readings = chosen.read(document, given)
    except (ArithmeticError, ValueError, RecursionError):
        # Numbers that no framework could compute with either: a peak of 0, a length of 1e300.
        raise UserError(
            f"{name} holds numbers from which no learning rate can be computed.",
            f"{name} 中的数值无法算出学习率。",
        ) from None
    if not readings:
        raise UserError(
            f"{name} configures no training that {chosen.title} would start.",
            f"{name} 中没有 {chosen.title} 会启动的训练配置。",
        )
    settled = configuration(document.source, [rule.id for rule in RULES])
    audit = Audit(document, chosen.name, readings, configuration=settled)
    back = taken_back(document.source.text)
    for number, reading in enumerate(readings):
        reading.facts |= {"document": document, "given": given, "first": number == 0}
        for rule in rules:
            for found in rule.check(reading):
                _take(audit, _finding(rule, found, reading, audit), back)
    if settled is not None and settled.unreasoned:
        _take(audit, _without_reason(settled), back)
    # Several readings of a file find the same in it.
    audit.suppressed = list(dict.fromkeys(audit.suppressed))
    audit.findings = sorted(
        dict.fromkeys(audit.findings), key=lambda f: (SEVERITIES.index(f.severity), f.file, f.line, f.rule)
    )
    return audit


def _finding(rule: Rule, found: Found, reading: Reading, audit: Audit) -> Finding:
    place, settled = found.place, audit.configuration
    return Finding(
        rule.id,
        rule.severity if settled is None else settled.severity.get(rule.id, rule.severity),
        (place.file if place else "") or audit.document.source.name,
        place.line if place else found.line or reading.settings.line,
        found.message,
        found.fix,
        found.edits,
    )


def _take(audit: Audit, finding: Finding, back: Mapping[tuple[str, int], str]) -> None:
    """A finding is one of the audit's, or one that was taken back."""
    source = audit.document.source
    reason = None
    if finding.file == source.name:
        reason = back.get((finding.rule, finding.line), back.get((finding.rule, 0)))
    if reason is None and audit.configuration is not None:
        reason = audit.configuration.reason(finding.rule, source.path)
    if reason is not None:
        audit.suppressed.append((finding, reason))
    else:
        audit.findings.append(finding)


def _without_reason(settled: Configuration) -> Finding:
    names = ", ".join(settled.unreasoned)
    return Finding(
        "suppression-without-reason",
        settled.severity.get("suppression-without-reason", "note"),
        str(settled.file),
        0,
        Text(f"{names} is ignored here and nobody says why.", f"此处忽略了 {names}，却没有说明理由。"),
        Text('write the reason: rule = "why".', '请写明理由：rule = "理由"。'),
    )
