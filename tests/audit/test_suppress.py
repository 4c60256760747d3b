"""Findings are taken back by comments and by a project's configuration, each with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import Audit, examine
from huohou.audit.reading import Given
from huohou.audit.rules.all import RULES
from huohou.audit.source import read_source
from huohou.audit.suppress import comments, configuration, taken_back
from huohou.cli.main import main
from huohou.errors import UserError

YAML = (
    "stage: sft\ndo_train: true\nmodel_name_or_path: m\nfinetuning_type: lora\nlearning_rate: 1.0e-4\n"
    "lr_scheduler_type: cosine\nwarmup_steps: 50\nmax_steps: 1000\noutput_dir: out\n"
)
"""One note: the first update is at rate 0."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "old" / "sft").mkdir(parents=True)
    (tmp_path / "old" / "sft" / "run.yaml").write_text(YAML, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audited(name: str = "old/sft/run.yaml") -> Audit:
    return examine(Document(read_source(name)), Given())


def said(audit: Audit) -> list[tuple[str, str]]:
    return [(finding.rule, reason) for finding, reason in audit.suppressed]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[tool.huohou.audit]\nignore = {updates-at-zero = "as the library does"}\n'),
        ("huohou.toml", '[audit.ignore]\nupdates-at-zero = "as the library does"\n'),
        (".huohou.toml", '[audit.paths."old/**"]\nupdates-at-zero = "as the library does"\n'),
        ("old/huohou.toml", '[audit.paths."sft/*.yaml"]\nupdates-at-zero = "as the library does"\n'),
        (
            "old/sft/pyproject.toml",
            '[tool.huohou.audit.paths]\n"run.yaml" = {updates-at-zero = "as the library does"}\n',
        ),
    ],
)
def test_configuration_above_a_file_takes_rules_back(project: Path, name: str, text: str) -> None:
    (project / name).write_text(text, encoding="utf-8")
    audit = audited()
    assert audit.findings == []
    assert said(audit) == [("updates-at-zero", "as the library does")]


def test_the_nearest_configuration_holds_and_a_path_that_does_not_fit_does_not(project: Path) -> None:
    (project / "huohou.toml").write_text('[audit.ignore]\nupdates-at-zero = "far"\n', encoding="utf-8")
    (project / "old" / "huohou.toml").write_text('[audit.paths."dpo/**"]\nupdates-at-zero = "near"\n', encoding="utf-8")
    assert [finding.rule for finding in audited().findings] == ["updates-at-zero"]


def test_a_pyproject_without_a_word_for_the_audit_is_passed_by(project: Path) -> None:
    (project / "huohou.toml").write_text('[audit.ignore]\nupdates-at-zero = "far"\n', encoding="utf-8")
    (project / "old" / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n", encoding="utf-8")
    assert said(audited()) == [("updates-at-zero", "far")]


@pytest.mark.parametrize("text", [b"\xff\xfe", b"x = [" * 5000, b"a" * 2_000_000, b"[tool]\nhuohou = 3\n"])
def test_a_pyproject_that_cannot_be_read_says_nothing(project: Path, text: bytes) -> None:
    (project / "pyproject.toml").write_bytes(text)
    assert len(audited().findings) == 1


def test_configuration_beyond_the_repository_does_not_hold(project: Path) -> None:
    (project / "huohou.toml").write_text('[audit.ignore]\nupdates-at-zero = "far"\n', encoding="utf-8")
    (project / "old" / ".git").mkdir()
    assert len(audited().findings) == 1


@pytest.mark.parametrize("text", ["[audit]\nignore = ['updates-at-zero']\n", '[audit.ignore]\nupdates-at-zero = " "\n'])
def test_configuration_without_a_reason_holds_and_is_said(project: Path, text: str) -> None:
    (project / "huohou.toml").write_text(text, encoding="utf-8")
    audit = audited()
    (finding,) = audit.findings
    assert (finding.rule, finding.severity) == ("suppression-without-reason", "note")
    assert finding.file == str(project / "huohou.toml")
    assert said(audit) == [("updates-at-zero", "")]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[audit.ignore]\nupdates-at-zeros = "x"\n', "updates-at-zero?"),
        ('[audit.severity]\nno-such-thing = "note"\n', "no-such-thing"),
        ('[audit.severity]\nno-warmup = "bad"\n', "severity.no-warmup"),
        ('[audit]\nfail-on = "often"\n', "fail-on"),
        ("[audit]\nignore = 3\n", "ignore"),
        ("[audit.ignore]\nno-warmup = 3\n", "no-warmup"),
        ("[audit]\nignored = {}\n", "ignored"),
        ("[audit\n", "TOML"),
        ("x = " + "[" * 5000 + "]" * 5000 + "\n", "TOML"),
    ],
)
def test_what_the_configuration_cannot_mean_is_one_clear_sentence(project: Path, text: str, word: str) -> None:
    (project / "huohou.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        audited()
    assert word in caught.value.text.en
    assert "huohou.toml" in caught.value.text.zh
    assert main(["audit", "old/sft/run.yaml"]) == 2


def test_severity_and_exit_status_are_the_projects_own(project: Path) -> None:
    assert main(["audit", "old/sft/run.yaml"]) == 0
    (project / "huohou.toml").write_text('[audit.severity]\nupdates-at-zero = "error"\n', encoding="utf-8")
    assert main(["audit", "old/sft/run.yaml"]) == 1
    (project / "huohou.toml").write_text('[audit]\nfail-on = "note"\n', encoding="utf-8")
    assert main(["audit", "old/sft/run.yaml"]) == 1
    assert main(["audit", "old"]) == 1
    assert main(["audit", "old/sft/run.yaml", "--fail-on", "error"]) == 0


def test_what_has_no_file_is_held_to_the_working_folder(project: Path) -> None:
    (project / "huohou.toml").write_text('[audit.ignore]\nupdates-at-zero = "here"\n', encoding="utf-8")
    command = ["audit", "--fail-on", "note", "--", "python", "t.py", "--learning_rate", "1e-4", "--warmup_steps", "5"]
    assert main([*command, "--max_steps", "100", "--lr_scheduler_type", "cosine"]) == 0


def test_a_comment_holds_for_its_line_and_the_next_and_at_the_top_for_the_file() -> None:
    text = "a: 1  # huohou: ignore[one, two] both\n\n\n# huohou: ignore[three] alone\nb: 2\n"
    assert [(each.rule, each.line, each.reason) for each in comments(text)] == [
        ("one", 1, "both"),
        ("two", 1, "both"),
        ("three", 4, "alone"),
    ]
    assert set(taken_back(text)) == {("one", 1), ("two", 1), ("three", 4), ("three", 5)}
    assert ("one", 0) in taken_back("# huohou: ignore[one] all of it\n")


def test_every_rule_may_be_named_in_a_configuration(project: Path) -> None:
    lines = "\n".join(f'{rule.id} = "why"' for rule in RULES)
    (project / "huohou.toml").write_text(f"[audit.ignore]\n{lines}\n", encoding="utf-8")
    settled = configuration(read_source("old/sft/run.yaml"), [rule.id for rule in RULES])
    assert settled is not None
    assert set(settled.ignore) == {rule.id for rule in RULES}
