"""The audit of one source: its dialect, its readings, and what the rules find in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from huohou.audit.dialects.all import named, recognise
from huohou.audit.document import Document
from huohou.audit.reading import SEVERITIES, Finding, Given, Reading
from huohou.audit.rules.all import RULES
from huohou.audit.rules.base import Rule
from huohou.errors import UserError

_IGNORED = re.compile(r"huohou:\s*ignore\[([\w\-, ]+)\]\s*(.*)")


@dataclass(slots=True)
class Audit:
    """What was found in one source. ``suppressed`` are findings that a comment takes back, with its reason."""

    document: Document
    dialect: str
    readings: list[Reading] = field(default_factory=list[Reading])
    findings: list[Finding] = field(default_factory=list[Finding])
    suppressed: list[tuple[Finding, str]] = field(default_factory=list[tuple[Finding, str]])


def examine(document: Document, given: Given, *, dialect: str | None = None, rules: Iterable[Rule] = RULES) -> Audit:
    """Read a source and apply the rules.

    Raises:
        UserError: No dialect knows it, or the one that was named finds no run in it.
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
    audit = Audit(document, chosen.name, readings)
    comments = _comments(document)
    for reading in readings:
        reading.facts["document"] = document
        for rule in rules:
            for found in rule.check(reading):
                place = found.place
                finding = Finding(
                    rule.id,
                    rule.severity,
                    (place.file if place else "") or name,
                    place.line if place else found.line or reading.settings.line,
                    found.message,
                    found.fix,
                    found.edits,
                )
                reason = comments.get((rule.id, finding.line), comments.get((rule.id, 0)))
                if reason is not None and finding.file == name:
                    audit.suppressed.append((finding, reason))
                elif finding not in audit.findings:
                    audit.findings.append(finding)
    audit.findings.sort(key=lambda f: (SEVERITIES.index(f.severity), f.file, f.line, f.rule))
    return audit


def _comments(document: Document) -> dict[tuple[str, int], str]:
    """Suppressions: (rule, line) for the line of the comment and the one after it; a comment on line 1 to 3 that stands
    alone holds for the file."""
    found: dict[tuple[str, int], str] = {}
    for number, line in enumerate(document.source.text.split("\n"), 1):
        match = _IGNORED.search(line)
        if match is None:
            continue
        alone = line.strip().startswith(("#", "//"))
        for rule in match.group(1).split(","):
            key = rule.strip()
            found[key, number] = match.group(2).strip()
            if alone:
                found[key, number + 1] = match.group(2).strip()
                if number <= 3:
                    found[key, 0] = match.group(2).strip()
    return found
