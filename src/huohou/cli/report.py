"""``huohou report RUN…``: run folders as one page, as pictures, as Markdown, as JSON."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from huohou.language import Text

if TYPE_CHECKING:
    from huohou.report.runs import Run

HELP = Text(
    "one self-contained page for one or more run folders: rates, loss, gradients, and what set them apart",
    "把一个或多个训练目录变成一页自包含的报告：学习率、损失、梯度，以及它们的差异",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help=str(Text("run folder, such as runs/demo", "训练目录，例如 runs/demo")))
    add(
        "--output",
        metavar="FILE",
        help=str(
            Text(
                "the page (default: RUN/report.html for one run, ./report.html for several)",
                "页面文件（默认：单个训练为 RUN/report.html，多个为 ./report.html）",
            )
        ),
    )
    add(
        "--png", metavar="DIR", help=str(Text("also draw each figure as PNG into DIR", "同时把每张图存为 DIR 中的 PNG"))
    )
    add(
        "--json",
        action="store_true",
        help=str(Text("print the summary as one JSON object", "以一个 JSON 对象打印摘要")),
    )
    add("--md", action="store_true", help=str(Text("print the summary as Markdown", "以 Markdown 打印摘要")))
    add("--open", action="store_true", help=str(Text("open the page in a browser", "在浏览器中打开页面")))


def run(options: argparse.Namespace) -> int:
    """Read the runs and write what was asked for.

    With ``--json`` or ``--md`` standard output holds that and nothing else, and a page is written only where
    ``--output`` or ``--open`` asks for it.
    """
    from huohou.errors import UserError
    from huohou.report.runs import load_runs

    if options.json and options.md:
        raise UserError(
            "--json and --md exclude each other: ask for one of them.", "--json 与 --md 不能同时使用：请只选其一。"
        )
    if options.output and Path(options.output).is_dir():
        raise UserError(
            f"--output {options.output} is a folder; name a file, such as report.html.",
            f"--output {options.output} 是目录；请给出文件名，例如 report.html。",
        )
    runs = load_runs(options.runs)
    quiet = options.json or options.md
    if options.png:
        from huohou.report import png

        written = png.write(runs, Path(options.png))
        if written.note:
            print(written.note, file=sys.stderr)
        if not quiet:
            for path in written.files:
                print(path)
    if quiet:
        _print_summary(runs, options.json)
    if options.output or options.open or not quiet:
        from huohou.report import page

        target = Path(options.output or (Path(options.runs[0]) / "report.html" if len(runs) == 1 else "report.html"))
        command = "huohou report " + " ".join(shlex.quote(str(r)) for r in options.runs)
        page.write(runs, target, command)
        if not quiet:
            print(target)
        if options.open:
            import webbrowser

            webbrowser.open(target.resolve().as_uri())
    return 0


def _print_summary(runs: Sequence[Run], as_json: bool) -> None:
    from huohou.report import markdown, summary
    from huohou.report.words import findings

    found = findings(runs)
    if as_json:
        text = json.dumps(summary.plain(found), ensure_ascii=False, indent=2, allow_nan=False)
    else:
        text = markdown.render(found).rstrip("\n")
    # A lone surrogate in a name must not break the output; neither must a console that lacks a character.
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))
