"""The summary as Markdown, in the language in force: for a pull request, a forum, a diary."""

from __future__ import annotations

import math
import re

from huohou.language import Text
from huohou.report.svg import clean
from huohou.report.words import Findings, of_difference, of_run, of_trust

_ACTIVE = re.compile(r"([\\`*_{}\[\]<>#|~$!&@])")


def plain(text: object) -> str:
    """Text from a run, on one line, with nothing in it that Markdown or HTML would act on."""
    return _ACTIVE.sub(r"\\\1", " ".join(clean(str(text)).split()))


def render(found: Findings) -> str:
    """A heading, the summary in words, and one table; ends with a newline."""
    names = [plain(run.name) for run in found.runs]
    lines = [f"# {' / '.join(names)}", ""]
    for index in range(len(found.runs)):
        lines += [plain(of_run(found, index)), ""]
    for difference in found.differences:
        lines += [plain(of_difference(found, difference)), ""]
    trust = of_trust(found)
    if trust:
        lines += [f"> {plain(trust)}", ""]
    lines += [f"| {Text('measure', '指标')} | {' | '.join(names)} | {Text('definition', '定义')} |"]
    lines += ["|---|" + "---:|" * len(names) + "---|"]
    for k, first in enumerate(found.measures[0]):
        column = [run[k] for run in found.measures]
        if any(math.isfinite(m.value) for m in column):
            lines.append(f"| {first.name} | {' | '.join(str(m) for m in column)} | {first.definition} |")
    if found.settings:
        lines += [
            "",
            f"| {Text('differing setting', '不同的设置')} | {' | '.join(names)} |",
            "|---|" + "---|" * len(names),
        ]
        lines += [
            f"| {plain(key)} | {' | '.join(plain(v)[:200] for v in values)} |"
            for key, values in list(found.settings.items())[:40]
        ]
    return "\n".join(lines) + "\n"
