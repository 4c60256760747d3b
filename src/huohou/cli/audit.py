"""``huohou audit``: which learning rate another framework's configuration really applies, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huohou.cli import audit_log, audit_outputs, audit_rules
from huohou.cli.arguments import Parser, dashes
from huohou.errors import UserError
from huohou.language import Text
from huohou.units import whole

if TYPE_CHECKING:
    from huohou.audit.examine import Audit
    from huohou.audit.reading import Given, Role

HELP = Text(
    "Say which learning rate another framework's configuration really applies, and what is wrong with it.",
    "说明其他框架的配置实际使用的学习率，以及其中的问题。",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add = parser.add_argument
    add(
        "files",
        nargs="*",
        metavar="FILE",
        help=str(
            Text(
                "configurations or folders; - reads standard input; two files are compared",
                "配置文件或文件夹；- 读标准输入；两个文件则进行比较",
            )
        ),
    )
    add(
        "--command",
        metavar="TEXT",
        help=str(
            Text("a command as one text; or write it behind -- as it is", "一条命令（一段文本）；也可原样写在 -- 之后")
        ),
    )
    add(
        "--as",
        dest="dialect",
        metavar="DIALECT",
        help=str(Text("the framework, where the file does not say", "框架名（文件看不出时）")),
    )
    add(
        "--each",
        action="store_true",
        help=str(
            Text(
                "every file by itself, however many; those that train nothing are passed over",
                "逐个审计给出的文件；不含训练配置的略过",
            )
        ),
    )
    known = parser.add_argument_group(str(Text("what the file does not hold", "文件里没有的事实")))
    add = known.add_argument
    add("--updates", help=str(Text("updates that the run makes", "训练的更新步数")))
    add("--samples", help=str(Text("training samples", "训练样本数")))
    add("--tokens", help=str(Text("training tokens", "训练词元数")))
    add("--gpus", help=str(Text("processes", "进程数")))
    add("--accumulation", help=str(Text("micro-batches of an update", "每步的微批数")))
    add(
        "--version",
        action="append",
        default=[],
        metavar="transformers=4.57",
        help=str(Text("a framework's version", "框架的版本")),
    )
    out = parser.add_argument_group(str(Text("what to show", "输出")))
    add = out.add_argument
    add("--json", action="store_true", help=str(Text("one JSON object", "一个 JSON 对象")))
    add("--rates", metavar="1,500,…", help=str(Text("only these updates' rates", "只输出这些步的学习率")))
    add("--csv", metavar="FILE", help=str(Text("every update's rate", "每一步的学习率")))
    add("--sarif", metavar="FILE", help=str(Text("the findings as SARIF", "以 SARIF 写出问题")))
    add(
        "--github",
        action="store_true",
        help=str(Text("the findings as annotations of GitHub Actions", "以 GitHub Actions 注解输出问题")),
    )
    add(
        "--fail-on",
        choices=("error", "warning", "note", "never"),
        help=str(
            Text(
                "the severity from which the exit status is 1 (error)",
                "从哪一级起退出状态为 1（默认 error）",
            )
        ),
    )
    audit_outputs.arguments(parser)
    audit_rules.arguments(parser)
    audit_log.arguments(parser)


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Read the flags; what stands behind ``--`` is a command. A mistake under ``--json`` waits for :func:`run`."""
    words = list(words)
    command: list[str] = []
    if "--" in words:
        place = words.index("--")
        words, command = words[:place], words[place + 1 :]
    try:
        options = parser.parse(dashes(words))
    except UserError as error:
        if "--json" not in words:
            raise
        return argparse.Namespace(json=True, mistake=error)
    if command:
        options.command = shlex.join(command)
    return options


def run(options: argparse.Namespace) -> int:
    """Audit one source, compare two, or go over many."""
    try:
        mistake = getattr(options, "mistake", None)
        if mistake is not None:
            raise mistake
        return _run(options)
    except UserError as error:
        if not options.json:
            raise
        _print({"curves": {}, "findings": [], "error": str(error)})
        return 2


def _run(options: argparse.Namespace) -> int:
    if audit_rules.asked(options):
        return 0
    given = _given(options)
    if options.json and options.csv == "-":
        raise UserError("--csv - and --json both want standard output.", "--csv - 与 --json 都要占用标准输出。")
    files: list[str] = options.files
    if options.log is not None:
        return _with_log(options, given)
    if not files and not options.command:
        raise UserError(
            "name a configuration, - for standard input, or a command behind --.",
            "请给出配置文件、用 - 读标准输入，或在 -- 之后写命令。",
        )
    if options.command and files:
        raise UserError("give files or a command, not both.", "请只给文件或只给命令。")
    audit_rules.fix(options, given)
    if options.each or any(Path(file).is_dir() for file in files if file != "-") or len(files) > 2:
        return _several(options, given)
    audit_outputs.check(options, one=len(files) < 2)
    if len(files) == 2:
        return _two(options, given)
    audit = _audit(files[0] if files else None, options, given)
    if options.csv:
        _write_csv(audit, options.csv)
    audit_outputs.pictures([audit], options, given)
    converted = audit_outputs.conversions(audit, options, given) if options.to else []
    if options.json:
        from huohou.audit.plain import plain

        data = plain(audit)
        if converted:
            data["converted"] = {each.role: each.plain() for each in converted}
        if options.rates is not None:
            data["rates"] = [
                {"update": update, **{name: role.applied.rate(update) for name, role in _need_roles(audit)}}
                for update in _updates(options.rates)
            ]
        _print(data)
    elif options.rates is not None:
        roles = _need_roles(audit)
        for update in _updates(options.rates):
            print(update, *(repr(role.applied.rate(update)) for _, role in roles))
    elif converted:
        audit_outputs.tell(converted, audit, options)
    elif options.csv != "-":
        from huohou.audit.text import render
        from huohou.report.curve_drawing import draw, needs_ascii

        ascii = needs_ascii(sys.stdout)
        print(render(audit, lambda curve, updates: draw(curve, updates, ascii=ascii)))
    return _end([audit], options)


def _with_log(options: argparse.Namespace, given: Given) -> int:
    files: list[str] = options.files
    if len(files) + bool(options.command) > 1:
        raise UserError("--log goes with one configuration at most.", "--log 最多与一个配置同用。")

    def config(known: Given) -> Audit:
        return _audit(files[0] if files else None, options, known)

    return _end([audit_log.run(options, given, config if files or options.command else None, _print)], options)


def _two(options: argparse.Namespace, given: Given) -> int:
    from huohou.audit import compare
    from huohou.audit.plain import finding, plain
    from huohou.audit.text import findings

    left, right = (_audit(file, options, given) for file in options.files)
    for audit in (left, right):
        _need_roles(audit)
    differences = compare.compare(left, right)
    audit_outputs.pictures([left, right], options, given)
    found = [*left.findings, *right.findings]
    if options.json:
        audits = [plain(left), plain(right)]
        _print(
            {
                "curves": {},
                "files": audits,
                "differences": compare.plain(differences),
                "findings": [finding(each) for each in found],
                "error": None,
            }
        )
    else:
        print(compare.text(options.files[0], options.files[1], differences))
        print()
        print(findings(found))
    return _end([left, right], options)


def _several(options: argparse.Namespace, given: Given) -> int:
    from huohou.audit.folder import audit_all, counts, rule_table, table
    from huohou.audit.plain import finding, plain
    from huohou.audit.text import findings

    if options.csv or options.rates is not None:
        raise UserError("--csv and --rates are for one file.", "--csv 与 --rates 只用于单个文件。")
    audit_outputs.check(options, one=False)
    several = audit_all(options.files, given, options.dialect, each=options.each)
    audit_outputs.pictures(several.audits, options, given, several)
    found = [each for audit in several.audits for each in audit.findings]
    if options.json:
        _print(
            {
                "curves": {},
                "files": [plain(audit) for audit in several.audits],
                "not_understood": [{"file": name, "error": str(text)} for name, text in several.errors],
                "skipped": [{"file": name, "error": str(text)} for name, text in several.skipped],
                "others": several.others,
                "rules": counts(several),
                "findings": [finding(each) for each in found],
                "error": None,
            }
        )
    else:
        print(table(several))
        if found:
            print()
            print(rule_table(several))
            print()
            print(findings(found))
    return _end(several.audits, options) or (2 if several.errors and not several.audits else 0)


def _print(data: dict[str, Any]) -> None:
    print(json.dumps(data, ensure_ascii=False, allow_nan=False))


def _given(options: argparse.Namespace) -> Given:
    from huohou.audit.reading import Given

    def number(name: str) -> int | None:
        text = getattr(options, name)
        return None if text is None else whole(text, key=f"--{name}", least=1)

    versions: dict[str, str] = {}
    for text in options.version:
        package, sign, version = text.partition("=")
        if not sign or not version[:1].isdigit():
            raise UserError(
                f"--version {text}: write a package and its version, such as transformers=4.57.",
                f"--version {text}：请写包名和版本，例如 transformers=4.57。",
            )
        versions[package] = version
    return Given(
        updates=number("updates"),
        samples=number("samples"),
        tokens=number("tokens"),
        gpus=number("gpus"),
        accumulation=number("accumulation"),
        versions=versions,
    )


def _audit(file: str | None, options: argparse.Namespace, given: Given) -> Audit:
    from huohou.audit.document import Document
    from huohou.audit.examine import examine
    from huohou.audit.source import COMMAND, Source, read_source

    source = Source(COMMAND, options.command) if file is None else read_source(file)
    return examine(Document(source), given, dialect=options.dialect)


def _updates(text: str) -> list[int]:
    return [whole(part.strip(), key="--rates", least=1) for part in text.split(",")]


def _need_roles(audit: Audit) -> list[tuple[str, Role]]:
    from huohou.audit.plain import named_roles

    roles = named_roles(audit)
    if not roles:
        missing = [text for reading in audit.readings for text in reading.missing]
        first = missing[0] if missing else Text("no curve is known", "没有已知的曲线")
        name = audit.document.source.name
        raise UserError(f"{name}: {first.en}", f"{name}：{first.zh}")
    return roles


def _write_csv(audit: Audit, path: str) -> None:
    roles = _need_roles(audit)
    header = ["update", "rate"] if len(roles) == 1 else ["update", *(name for name, _ in roles)]
    if path == "-":
        sys.stdout.writelines(_rows(header, roles))
        return
    try:
        with open(path, "w", encoding="ascii", newline="") as file:
            file.writelines(_rows(header, roles))
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"{path} could not be written: {why}.", f"无法写入 {path}：{why}。") from error


def _rows(header: list[str], roles: list[tuple[str, Role]]) -> Iterator[str]:
    yield ",".join(header) + "\n"
    for update in range(1, max(role.applied.updates for _, role in roles) + 1):
        rates = (repr(role.applied.rate(update)) if update <= role.applied.updates else "" for _, role in roles)
        yield ",".join([str(update), *rates]) + "\n"


def _end(audits: list[Audit], options: argparse.Namespace) -> int:
    """Write the findings where machines look for them, and give the exit status."""
    found = [each for audit in audits for each in audit.findings]
    if options.sarif:
        from importlib.metadata import version

        from huohou.audit.annotations import sarif

        with open(options.sarif, "w", encoding="utf-8") as file:
            json.dump(sarif(found, version("huohou")), file, ensure_ascii=False, indent=1)
    if options.github and found:
        from huohou.audit.annotations import github

        print(github(found), file=sys.stderr if options.json else sys.stdout)
    return int(audit_rules.fails(audits, options.fail_on))
