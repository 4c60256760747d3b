"""Each rule has a page in both languages, made from the rule; the catalogue of failures is covered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from huohou.audit.rules.all import RULES
from huohou.audit.rules.coverage import CATALOGUE
from huohou.audit.rules.pages import FOLDERS, finding, pages
from huohou.cli.main import main
from huohou.language import Language, choose_language

DOCS = Path(__file__).resolve().parents[2] / "docs"
LANGUAGES: tuple[Language, Language] = ("en", "zh")
NUMBERS = {"A": 8, "B": 10, "C": 9, "D": 14, "E": 7, "F": 2, "G": 5, "H": 3}
"""How many failures each class of the catalogue has."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_are_those_that_the_rules_make(language: Language) -> None:
    made, folder = pages(language), DOCS / FOLDERS[language]
    assert sorted(made) == sorted(file.name for file in folder.glob("*.md"))
    stale = [name for name, text in made.items() if (folder / name).read_text(encoding="utf-8") != text]
    assert not stale, "run make docs"


def test_every_finding_is_said_in_both_languages() -> None:
    for rule in RULES:
        for example in rule.bad:
            found = finding(rule, example)
            for text in (found.message, found.fix):
                assert text.en.strip() and text.zh.strip()
                assert text.en != text.zh
                assert re.search("[一-鿿]", text.zh), rule.id
                assert not re.search("[一-鿿]", text.en), rule.id


def test_the_catalogue_is_covered_entry_by_entry() -> None:
    assert [entry.number for entry in CATALOGUE] == [
        f"{letter}{n}" for letter, most in NUMBERS.items() for n in range(1, most + 1)
    ]
    known = {rule.id for rule in RULES}
    for entry in CATALOGUE:
        assert entry.rules or entry.beyond, entry.number
        assert set(entry.rules) <= known, entry.number
        for text in (entry.text, *([] if entry.beyond is None else [entry.beyond])):
            assert text.en != text.zh


@pytest.mark.external
def test_the_catalogue_is_the_one_of_the_facts(shared_data: Path) -> None:
    facts = shared_data.parent / "facts" / "schedules.md"
    if not facts.exists():
        pytest.skip("no facts beside the data")
    text = facts.read_text(encoding="utf-8").split("## 3.")[1].split("\n## 4")[0]
    numbers = re.findall(r"(?:^|(?<=[.\]] ))([A-H]\d+) ", text.split("Suggested rule")[0], re.MULTILINE)
    assert {entry.number for entry in CATALOGUE} == set(numbers)


def test_rules_are_listed_and_explained_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--rules"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == [rule.id for rule in RULES]
    assert main(["audit", "--explain", "two-warmups"]) == 0
    english = capsys.readouterr().out
    assert english.startswith("# two-warmups\n")
    choose_language("zh")
    try:
        main(["audit", "--explain", "two-warmups"])
    finally:
        choose_language(None)
    chinese = capsys.readouterr().out
    assert "## 修复" in chinese
    assert chinese != english


def test_a_rule_that_does_not_exist_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--explain", "two-warmup"]) == 2
    assert "two-warmups" in capsys.readouterr().err
