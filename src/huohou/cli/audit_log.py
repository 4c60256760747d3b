"""``huohou audit --log``: which curve explains a log, and whether a configuration agrees with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from huohou.errors import UserError
from huohou.language import Text

if TYPE_CHECKING:
    from huohou.audit.examine import Audit
    from huohou.audit.logs.examine import LogAudit
    from huohou.audit.reading import Given


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    group = parser.add_argument_group(str(Text("a log", "日志")))
    add = group.add_argument
    add(
        "--log",
        metavar="FILE",
        help=str(
            Text(
                "which curve explains this log, and whether the configuration agrees",
                "哪条曲线能解释这份日志，以及配置是否与之相符",
            )
        ),
    )
    add(
        "--log-as",
        metavar="FORM",
        help=str(Text("the form of the log, where it does not show", "日志的格式（看不出时）")),
    )


def run(
    options: argparse.Namespace, given: Given, examine: Callable[[Given], Audit] | None, show: Callable[[Any], None]
) -> Audit:
    """Audit a log. The answer holds the findings of the log and of the configuration."""
    from huohou.audit.document import Document
    from huohou.audit.examine import Audit
    from huohou.audit.logs.examine import examine_log
    from huohou.audit.logs.reading import read_log
    from huohou.audit.reading import SEVERITIES
    from huohou.audit.source import Source

    for flag in ("rates", "to", "png", "html"):
        if getattr(options, flag, None) is not None:
            raise UserError(f"--{flag} does not go with --log.", f"--{flag} 不能与 --log 同用。")
    audit = examine_log(read_log(options.log, options.log_as), given, examine)
    if options.csv:
        _write(audit, options.csv)
    if options.json:
        show(_plain(audit))
    elif options.csv != "-":
        _tell(audit)
    found = audit.findings if audit.config is None else [*audit.findings, *audit.config.findings]
    found = sorted(found, key=lambda each: SEVERITIES.index(each.severity))
    if audit.config is None:
        return Audit(Document(Source(audit.log.name, "")), "log", [], found)
    config = audit.config
    return Audit(config.document, config.dialect, config.readings, found, config.suppressed)


def _plain(audit: LogAudit) -> dict[str, Any]:
    from huohou.audit.logs.plain import curves, plain
    from huohou.audit.plain import plain as plain_config

    log = plain(audit)
    if audit.config is None:
        return {"curves": curves(audit), "findings": log["findings"], "log": log, "error": None}
    data = plain_config(audit.config)
    data["findings"] = [*log["findings"], *data["findings"]]
    return {**data, "log": log}


def _tell(audit: LogAudit) -> None:
    from huohou.audit.logs.text import render
    from huohou.audit.text import render as render_config
    from huohou.report.curve_drawing import draw, needs_ascii

    ascii = needs_ascii(sys.stdout)
    if audit.config is not None:
        print(render_config(audit.config))
        print()
    print(render(audit, lambda curve, updates: draw(curve, updates, height=8, ascii=ascii)))


def _write(audit: LogAudit, path: str) -> None:
    from huohou.audit.logs.rows import rows

    lines = rows(audit)
    if path == "-":
        sys.stdout.writelines(lines)
        return
    first = next(lines)
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(first)
            file.writelines(lines)
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"{path} could not be written: {why}.", f"无法写入 {path}：{why}。") from error
