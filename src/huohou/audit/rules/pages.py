"""The page of each rule, made from the rule itself: ``python -m huohou.audit.rules.pages docs``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePath

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Finding, Given, Severity
from huohou.audit.rules.all import RULES
from huohou.audit.rules.base import Example, Rule
from huohou.audit.rules.coverage import CATALOGUE
from huohou.audit.source import Source
from huohou.language import Language, Text

FOLDERS: Mapping[Language, str] = {"en": "rules", "zh": "zh/rules"}
"""The folder of each language's pages, below the documentation's."""

_SEVERITY: Mapping[Severity, Text] = {
    "error": Text("error", "错误"),
    "warning": Text("warning", "警告"),
    "note": Text("note", "提示"),
}
_CODE = {
    ".py": "python",
    ".sh": "bash",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".toml": "toml",
}
_MADE = Text(
    "<!-- Made by `make docs` from the rule itself. -->",
    "<!-- 由 `make docs` 从规则本身生成。 -->",
)


def pages(language: Language) -> dict[str, str]:
    """Every page of a language, by its file's name."""
    found = {f"{rule.id}.md": f"{_said(_MADE, language)}\n\n{page(rule, language)}" for rule in RULES}
    return found | {"README.md": _index(language), "coverage.md": _coverage(language)}


def page(rule: Rule, language: Language) -> str:
    """One rule: what it finds, why, a bad and a good example, the fix, public cases, and how to take it back."""

    def say(en: str, zh: str) -> str:
        return zh if language == "zh" else en

    bad = rule.bad[0]
    found = finding(rule, bad)
    parts = [
        f"# {rule.id}",
        f"**{_said(_SEVERITY[rule.severity], language)}** · {_said(rule.title, language)}",
        _said(rule.why, language),
        f"## {say('Bad', '有问题的写法')}",
        *_shown(bad, language),
        f"> {_said(found.message, language)}",
        f"## {say('Fix', '修复')}",
        _said(found.fix, language),
    ]
    if bad.fixed is not None:
        parts += [say("`huohou audit --fix` writes:", "`huohou audit --fix` 会改成："), _code(bad.name, bad.fixed)]
    parts += [f"## {say('Good', '正确的写法')}", *_shown(rule.good[0], language)]
    parts += [f"## {say('Public cases', '公开案例')}", "\n".join(f"- {case}" for case in rule.victims)]
    comment = f"# huohou: ignore[{rule.id}] {say('why it is meant so', '为什么有意如此')}"
    setting = f'[tool.huohou.audit.ignore]\n{rule.id} = "…"'
    parts += [
        f"## {say('To ignore it', '忽略')}",
        say(
            "A comment on the line, or on the one above it, with the reason:",
            "在该行或上一行写注释，并说明理由：",
        ),
        f"```text\n{comment}\n```",
        say(
            "For a whole project, in `pyproject.toml` (or `[audit.ignore]` in `huohou.toml`):",
            "对整个项目，写在 `pyproject.toml`（或 `huohou.toml` 的 `[audit.ignore]`）：",
        ),
        f"```toml\n{setting}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def finding(rule: Rule, example: Example) -> Finding:
    """What a rule says of its own example."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for other, text in example.beside:
            (folder / other).write_text(text, encoding="utf-8")
        (folder / example.name).write_text(example.text, encoding="utf-8", newline="\n")
        source = Source(example.name, example.text, folder / example.name)
        found = examine(Document(source), example.given, dialect=example.dialect).findings
    return next(each for each in found if each.rule == rule.id)


def _shown(example: Example, language: Language) -> list[str]:
    parts: list[str] = []
    for name, text in ((example.name, example.text), *example.beside):
        # A file alone is named by the command below it.
        parts += [f"`{name}`", _code(name, text)] if example.beside else [_code(name, text)]
    words = f"`{f'huohou audit {example.name} {_flags(example.given)}'.rstrip()}`"
    parts.append(f"审计命令：{words}" if language == "zh" else f"Audited with {words}.")
    return parts


def _code(name: str, text: str) -> str:
    return f"```{_CODE.get(PurePath(name).suffix, 'text')}\n{text.rstrip()}\n```"


def _flags(given: Given) -> str:
    words = [
        f"--{name} {value}"
        for name in ("updates", "samples", "tokens", "gpus", "accumulation")
        if (value := getattr(given, name)) is not None
    ]
    words += [f"--version {package}={version}" for package, version in given.versions.items()]
    return " ".join(words)


def _index(language: Language) -> str:
    def say(en: str, zh: str) -> str:
        return zh if language == "zh" else en

    rows: list[str] = []
    for rule in RULES:
        fix = "--fix" if any(example.fixed is not None for example in rule.bad) else ""
        cells = (
            f"[{rule.id}]({rule.id}.md)",
            _said(_SEVERITY[rule.severity], language),
            fix,
            _said(rule.title, language),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return (
        "\n\n".join(
            [
                _said(_MADE, language),
                say("# Rules of the audit", "# 审计规则"),
                say(
                    f"{len(RULES)} rules, each from public cases. Those with --fix can repair the file and leave its "
                    "comments and everything else as they are. [Coverage](coverage.md) says which documented failure "
                    "is found by which rule.",
                    f"共 {len(RULES)} 条规则，每条都来自公开案例。标有 --fix 的可以自动修改文件，注释和其他内容保持"
                    "不变。[覆盖情况](coverage.md)列出每个有记录的故障由哪条规则发现。",
                ),
                say("| rule | severity |  | what it finds |", "| 规则 | 级别 |  | 发现什么 |")
                + "\n|---|---|---|---|\n"
                + "\n".join(rows),
            ]
        )
        + "\n"
    )


def _coverage(language: Language) -> str:
    def say(en: str, zh: str) -> str:
        return zh if language == "zh" else en

    rows: list[str] = []
    for entry in CATALOGUE:
        by = ", ".join(f"[{rule}]({rule}.md)" for rule in entry.rules)
        why = "" if entry.beyond is None else _said(entry.beyond, language)
        rows.append(f"| {entry.number} | {_said(entry.text, language)} | {by} | {why} |")
    return (
        "\n\n".join(
            [
                _said(_MADE, language),
                say("# Which documented failure is found by which rule", "# 有记录的故障与规则的对应"),
                say(
                    "Every failure of the catalogue that this audit was made from: the rules that find it in a file, "
                    "and, where a file does not show it or only a part of it, why.",
                    "本审计所依据的故障目录中的每一条：由哪些规则从文件中发现；文件看不出来或只能看出一部分的，说明原因。",
                ),
                say("| no. | failure | rules | out of reach |", "| 编号 | 故障 | 规则 | 无法从文件看出的部分 |")
                + "\n|---|---|---|---|\n"
                + "\n".join(rows),
            ]
        )
        + "\n"
    )


def _said(text: Text, language: Language) -> str:
    return text.zh if language == "zh" else text.en


def main() -> None:
    """Write the pages below the folder that is named; pages of rules that are gone go too."""
    top = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for language, name in FOLDERS.items():
        folder = top / name
        folder.mkdir(parents=True, exist_ok=True)
        made = pages(language)
        for file in folder.glob("*.md"):
            if file.name not in made:
                file.unlink()
        for file, text in made.items():
            (folder / file).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
