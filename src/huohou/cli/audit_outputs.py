"""What ``huohou audit`` writes besides what it says: the run in another language, pictures and pages."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from huohou.errors import UserError
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.audit.convert.conversion import Converted
    from huohou.audit.examine import Audit
    from huohou.audit.folder import Several
    from huohou.audit.reading import Given


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    group = parser.add_argument_group(str(Text("the same run elsewhere", "换到别处")))
    add = group.add_argument
    add(
        "--to",
        metavar="TARGET",
        help=str(
            Text(
                "the same run as a run file (huohou), or as the closest arguments of a framework",
                "转换为配置文件（huohou），或某个框架中最接近的参数",
            )
        ),
    )
    add("--output", metavar="FILE", help=str(Text("where --to writes it", "--to 写到哪个文件")))
    add(
        "--intended",
        action="store_true",
        help=str(Text("convert what was meant, not what is applied", "按本意转换，而不是按实际使用的曲线")),
    )
    group = parser.add_argument_group(str(Text("pictures and pages", "图片与页面")))
    add = group.add_argument
    add("--png", metavar="FILE", help=str(Text("a picture of the curves", "曲线图")))
    add("--html", metavar="FILE", help=str(Text("everything as one page", "整份审计写成一个页面")))


def check(options: argparse.Namespace, *, one: bool) -> None:
    """Refuse flags that say nothing together.

    Raises:
        UserError: ``--to`` with more than one source, or its companions without it.
    """
    if options.to is not None and not one:
        raise UserError("--to is for one file.", "--to 只用于单个文件。")
    for flag, given in (("--output", options.output is not None), ("--intended", options.intended)):
        if given and options.to is None:
            raise UserError(
                f"{flag} belongs to --to: say to what, such as --to huohou.",
                f"{flag} 须与 --to 一起使用，例如 --to huohou。",
            )


def conversions(audit: Audit, options: argparse.Namespace, given: Given) -> list[Converted]:
    """The conversions that ``--to`` asks for, written where ``--output`` says."""
    from huohou.audit.convert.conversion import convert

    found = convert(audit, options.to, given, intended=options.intended)
    if options.output is not None:
        for each in found:
            _write(_place(options.output, each, len(found) > 1), each.text)
    return found


def tell(found: list[Converted], audit: Audit, options: argparse.Namespace) -> None:
    """Print the texts; what is said of them goes to standard error, so that the output can be taken as it is."""
    _several(found, options)
    for number, each in enumerate(found):
        if options.output is None:
            print(("\n" if number else "") + each.text, end="")
        else:
            place = _place(options.output, each, len(found) > 1)
            print(Text(f"written: {place}", f"已写出：{place}"))
        prefix = f"{each.role}: " if len(found) > 1 else ""
        print(f"{prefix}{each.said()}", file=sys.stderr if options.output is None else sys.stdout)
    many = len(audit.findings)
    if many:
        note = Text(
            f"huohou: note: {many} finding{'' if many == 1 else 's'} in the source; without --to they are shown.",
            f"huohou: 注意：来源中有 {many} 个发现；去掉 --to 即可看到。",
        )
        print(note, file=sys.stderr)


def _several(found: list[Converted], options: argparse.Namespace) -> None:
    if len(found) > 1 and options.output is None:
        note = Text(
            f"huohou: note: {len(found)} curves, so {len(found)} texts; --output FILE writes a file for each.",
            f"huohou: 注意：共 {len(found)} 条曲线，即 {len(found)} 份文本；--output FILE 会各写一个文件。",
        )
        print(note, file=sys.stderr)


def _place(output: str, each: Converted, several: bool) -> str:
    """One file for each role: run.yaml becomes run.actor.yaml and run.critic.yaml."""
    place = Path(output)
    return str(place.with_name(f"{place.stem}.{each.role}{place.suffix}")) if several else output


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"{path} could not be written: {why}.", f"无法写入 {path}：{why}。") from error


def pictures(audits: list[Audit], options: argparse.Namespace, given: Given, several: Several | None = None) -> None:
    """Write the picture and the page that were asked for; of two audits, one against the other."""
    if options.png is not None:
        _png(audits, options.png, several)
    if options.html is not None:
        _html(audits, options, given, several)


def _png(audits: list[Audit], path: str, several: Several | None) -> None:
    from huohou.audit.plain import named_roles
    from huohou.report.audit_figures import Drawn
    from huohou.report.audit_png import write_png

    if several is not None:
        raise UserError(
            "--png is for one file or two; --html takes a folder.", "--png 只用于一两个文件；文件夹请用 --html。"
        )
    if len(audits) == 1:
        curves = [Drawn.of(name, role) for name, role in named_roles(audits[0])]
    else:
        from huohou.audit import compare

        names = [audit.document.source.name for audit in audits]
        curves = [
            Drawn(f"{name} ({each.role})" if each.role != "model" else name, role.applied, None, 0.0)
            for each in compare.compare(audits[0], audits[1])
            for name, role in zip(names, (each.left, each.right), strict=True)
        ]
    if not curves:
        raise UserError("--png: no curve is known.", "--png：没有已知的曲线。")
    title = " / ".join(f"{audit.document.source.name} · {audit.readings[0].title}" for audit in audits)
    write_png(title, curves, Path(path))


def _html(audits: list[Audit], options: argparse.Namespace, given: Given, several: Several | None) -> None:
    from huohou.report import audit_page

    command = shlex.join(["huohou", *sys.argv[1:]]) if sys.argv[1:2] == ["audit"] else "huohou audit"
    if several is not None:
        page = audit_page.of_several(several, options.files, command)
    elif len(audits) == 2:
        page = audit_page.of_pair(audits[0], audits[1], command)
    else:
        page = audit_page.of_one(audits[0], _in_ours(audits[0], given), command)
    audit_page.write(page, options.html)


def _in_ours(audit: Audit, given: Given) -> list[Converted]:
    """The run file that the page shows; nothing where there is none."""
    from huohou.audit.convert.conversion import convert

    try:
        return convert(audit, "huohou", given)
    except UserError:
        return []
