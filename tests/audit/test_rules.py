"""Each rule finds what is wrong in its bad examples and nothing in its good ones; the same for every other rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import Audit, examine
from huohou.audit.reading import SEVERITIES
from huohou.audit.rules.all import RULES
from huohou.audit.rules.base import Example, Rule
from huohou.audit.source import read_source
from huohou.audit.text import render

BAD = [pytest.param(rule, example, id=f"{rule.id}-{n}") for rule in RULES for n, example in enumerate(rule.bad)]
GOOD = [pytest.param(rule, example, id=f"{rule.id}-{n}") for rule in RULES for n, example in enumerate(rule.good)]


def audit(example: Example, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    monkeypatch.chdir(folder)
    for name, text in ((example.name, example.text), *example.beside):
        (folder / name).write_text(text, encoding="utf-8")
    return examine(Document(read_source(example.name)), example.given, dialect=example.dialect)


@pytest.mark.parametrize(("rule", "example"), BAD)
def test_a_bad_example_fires_its_rule_alone(
    rule: Rule, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = audit(example, tmp_path, monkeypatch)
    assert {each.rule for each in found.findings} == {rule.id}
    assert all(each.line > 0 for each in found.findings)
    assert rule.id in render(found)


@pytest.mark.parametrize(("rule", "example"), GOOD)
def test_a_good_example_fires_none(
    rule: Rule, example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = audit(example, tmp_path, monkeypatch)
    assert not [(each.rule, str(each.message)) for each in found.findings]
    assert any(reading.roles for reading in found.readings)


def test_rules_are_told_apart_and_said_in_both_languages() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.severity in SEVERITIES
        assert rule.bad and rule.good and rule.victims
        for text in (rule.title, rule.why):
            assert text.en != text.zh and text.en.strip() and text.zh.strip()


def test_a_comment_takes_a_finding_back_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = next(rule for rule in RULES if rule.id == "warmup-not-shorter-than-run")
    bad = rule.bad[0]
    line = "    warmup_steps=2000,"
    text = bad.text.replace(line, line + f"  # huohou: ignore[{rule.id}] a smoke test")
    found = audit(Example(bad.name, text, bad.given), tmp_path, monkeypatch)
    assert not found.findings
    assert [(each.rule, why) for each, why in found.suppressed] == [(rule.id, "a smoke test")]
