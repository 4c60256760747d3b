"""A command that goes on over several lines ends early."""

from __future__ import annotations

import re
from collections.abc import Iterator

from huohou.audit.document import Document
from huohou.audit.edits import line_of
from huohou.audit.reading import Edit, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.values import Value
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """A comment, or a blank behind the backslash, inside a command."""
    document = reading.facts.get("document")
    script = getattr(document, "script", None)
    for cut in script.cuts if script is not None else ():
        comment = cut.why == "comment"
        yield Found(
            None,
            Text(
                "a comment inside the command: bash ends it here, and the flags below are not given."
                if comment
                else "a blank behind the backslash: bash ends the command here, and the flags below are not given.",
                "命令中间有注释：bash 到此结束这条命令，下面的参数都不生效。"
                if comment
                else "反斜杠后面有空格：bash 到此结束这条命令，下面的参数都不生效。",
            ),
            Text("take it out.", "请删去。"),
            () if comment else _edit(reading, cut.line),
            line=cut.line,
        )


def _edit(reading: Reading, line: int) -> tuple[Edit, ...]:
    """The blanks behind the backslash taken out."""
    name = reading.settings.name
    document: Document = reading.facts["document"]
    text = line_of(reading, Value(None, line, "", document.source.name))
    blank = None if text is None else re.search(r"\\[ \t]+$", text)
    if text is None or blank is None or text.count(blank.group()) != 1 or not name:
        return ()
    return (Edit(document.source.name, line, blank.group(), "\\"),)


def _file(inside: str) -> Example:
    text = (
        "python run_clm.py --learning_rate 1e-4 --lr_scheduler_type cosine_warmup_with_min_lr \\\n"
        "  --warmup_steps 50 --max_steps 1000 \\\n"
        f"{inside}"
        "  --output_dir out\n"
    )
    return Example("run.sh", text)


RULE = Rule(
    id="command-cut-short",
    severity="error",
    title=Text("The command ends before its flags do.", "命令在参数写完之前就结束了。"),
    why=Text(
        "A backslash joins a line with the next one only when it is the last character, and a comment runs to "
        "the end of the "
        "joined line. The flags behind it become a command of their own, which fails while the training runs "
        "without them.",
        "反斜杠只有在行尾时才接续下一行，而注释会一直延伸到接续行的末尾。后面的参数成了另一条命令：它会失败，而"
        "训练在缺少这些参数的情况下照样进行。",
    ),
    victims=("OpenBMB/MiniCPM sft_finetune.sh",),
    check=check,
    bad=(
        _file("  # --seed 42 \\\n"),
        Example("run.sh", _file("  --seed 42 \\ \n").text, fixed=_file("  --seed 42 \\\n").text),
    ),
    good=(_file(""),),
)
