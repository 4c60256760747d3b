"""Findings where machines show them: SARIF 2.1.0 for code scanning, and the workflow commands of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from huohou.audit.logs.rules import LOG_RULES, LogRule
from huohou.audit.reading import Finding
from huohou.audit.rules.all import RULES
from huohou.audit.rules.base import Rule

_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}


def sarif(findings: Iterable[Finding], version: str) -> dict[str, Any]:
    """One run of SARIF; every rule is described, those for logs too, whether it found something or not."""
    rules = [
        *({**_described(rule), "fullDescription": {"text": str(rule.why)}} for rule in RULES),
        *(_described(rule) for rule in LOG_RULES.values()),
    ]
    results = [
        {
            "ruleId": found.rule,
            "level": found.severity,
            "message": {"text": f"{found.message} {found.fix}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": found.file.replace("\\", "/")},
                        "region": {"startLine": max(1, found.line)},
                    }
                }
            ],
        }
        for found in findings
    ]
    driver = {"name": "huohou", "version": version, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def _described(rule: Rule | LogRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": str(rule.title)},
        "defaultConfiguration": {"level": rule.severity},
    }


def github(findings: Iterable[Finding]) -> str:
    """A workflow command for each finding, which GitHub shows beside the line."""
    return "\n".join(
        f"::{_LEVELS[found.severity]} file={_escaped(found.file, True)},line={max(1, found.line)},"
        f"title={_escaped(found.rule, True)}::{_escaped(f'{found.message} {found.fix}')}"
        for found in findings
    )


def _escaped(text: str, inside: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if inside else text
