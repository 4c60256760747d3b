"""What ``huohou audit`` does with its rules besides finding: list them, explain one, and make their repairs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from huohou.errors import UserError
from huohou.language import Text, language

if TYPE_CHECKING:
    from huohou.audit.examine import Audit
    from huohou.audit.reading import Given


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    group = parser.add_argument_group(str(Text("rules and repairs", "规则与修复")))
    add = group.add_argument
    add(
        "--fix",
        action="store_true",
        help=str(Text("edit the files where that is mechanical", "自动修改能机械修复的地方")),
    )
    add(
        "--dry-run",
        action="store_true",
        help=str(Text("with --fix: show the edits and write none", "与 --fix 连用：只显示修改，不写入")),
    )
    add("--rules", action="store_true", help=str(Text("list the rules", "列出规则")))
    add("--explain", metavar="RULE", help=str(Text("what a rule finds, and why", "解释一条规则")))


def asked(options: argparse.Namespace) -> bool:
    """Print what was asked about the rules themselves; whether anything was.

    Raises:
        UserError: There is no such rule.
    """
    if not options.rules and options.explain is None:
        return False
    from huohou.audit.rules.all import RULES
    from huohou.audit.rules.pages import page

    if options.explain is not None:
        found = next((rule for rule in RULES if rule.id == options.explain), None)
        if found is None:
            import difflib

            near = difflib.get_close_matches(options.explain, [rule.id for rule in RULES], 1, 0)[0]
            raise UserError(
                f"--explain {options.explain}: there is no such rule; did you mean {near}?",
                f"--explain {options.explain}：没有这条规则；是不是 {near}？",
            )
        print(page(found, language()), end="")
        return True
    wide = max(len(rule.id) for rule in RULES)
    for rule in RULES:
        fix = "--fix" if any(example.fixed is not None for example in rule.bad) else ""
        print(f"{rule.id:<{wide}}  {rule.severity:<7}  {fix:<5}  {rule.title}")
    return True


def fix(options: argparse.Namespace, given: Given) -> None:
    """Make the edits that the findings carry, or show them; what remains is found by the audit that follows.

    Raises:
        UserError: What is audited is no file, or one cannot be read or written.
    """
    if not options.fix:
        if options.dry_run:
            raise UserError("--dry-run goes with --fix.", "--dry-run 须与 --fix 连用。")
        return
    if options.command or "-" in options.files:
        raise UserError(
            "--fix edits files; a command or standard input is none.", "--fix 只修改文件；命令或标准输入不是文件。"
        )
    from huohou.audit.folder import audit_all
    from huohou.audit.repair import changes, repairs, write

    audits = audit_all(options.files, given, options.dialect).audits
    made = repairs(finding for audit in audits for finding in audit.findings)
    for repair in made:
        if repair.changed and not options.dry_run:
            write(repair)
    text = changes(made, written=not options.dry_run)
    # Under --json standard output is one object.
    print(text, end="\n\n", file=sys.stderr if options.json else sys.stdout)


def fails(audits: list[Audit], asked: str | None) -> bool:
    """Whether a finding is at or above the severity that was asked for, else that of the project's configuration."""
    from huohou.audit.reading import SEVERITIES

    for audit in audits:
        settled = audit.configuration
        level = asked or (settled.fail_on if settled is not None else None) or "error"
        if level != "never" and any(
            SEVERITIES.index(finding.severity) <= SEVERITIES.index(level)  # pyright: ignore[reportArgumentType]
            for finding in audit.findings
        ):
            return True
    return False
