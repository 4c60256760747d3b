"""What a person most likely did where YAML only says that it cannot go on.

A parser notices a slip where its grammar ends, often a line later and in words about tokens. The slips that people
really make are few; each is looked for in the lines around the place, and named as what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from huohou.errors import UserError
from huohou.language import Text

Found = tuple[int, int, Text]
"""Line and column, counted from 0 as the parser does, and what is wrong there."""


def _sign(character: str, en: str, zh: str, instead: str, instead_zh: str | None = None) -> Text:
    return Text(
        f"{character} is a full-width {en}, which YAML does not read; type {instead}",
        f"{character} 是全角{zh}，YAML 不认；请改为半角 {instead_zh or instead}",
    )


UNUSUAL: dict[str, Text] = {
    # Full-width digits are not here: numbers that are written with them are read as the numbers they are.
    "：": _sign("：", "colon", "冒号", ": and a space", ": 加空格"),
    "，": _sign("，", "comma", "逗号", ","),
    "、": _sign("、", "comma", "顿号", ","),
    "；": _sign("；", "semicolon", "分号", "a comma or a new line", "逗号或换行"),
    "“": _sign("“", "quote", "引号", '"'),
    "”": _sign("”", "quote", "引号", '"'),
    "‘": _sign("‘", "quote", "引号", "'"),
    "’": _sign("’", "quote", "引号", "'"),
    "＂": _sign("＂", "quote", "引号", '"'),
    "＇": _sign("＇", "quote", "引号", "'"),
    "［": _sign("［", "bracket", "方括号", "["),
    "］": _sign("］", "bracket", "方括号", "]"),
    "【": _sign("【", "bracket", "方括号", "["),
    "】": _sign("】", "bracket", "方括号", "]"),
    "｛": _sign("｛", "brace", "花括号", "{"),
    "｝": _sign("｝", "brace", "花括号", "}"),
    "＃": _sign("＃", "number sign", "井号", "#"),
    "－": _sign("－", "hyphen", "连字符", "-"),
    "．": _sign("．", "full stop", "句点", "."),
    "。": _sign("。", "full stop", "句号", "."),
    "\u3000": Text(
        "there is a full-width space (U+3000) here; type a plain one", "这里有一个全角空格（U+3000）；请改为半角空格"
    ),
    "\u00a0": Text(
        "there is a non-breaking space (U+00A0) here; type a plain one",
        "这里有一个不换行空格（U+00A0）；请改为普通空格",
    ),
}

_FULL_WIDTH_COLON = re.compile(r"\s*(?:- +)?[\w.-]+\s*(：)")
_NO_SPACE = re.compile(r"\s*(?:- +)?([A-Za-z_]\w*)(:)([^\s/\\:].*)")
_OPENED = re.compile(r"""[^'"#]*[:,\[{-]\s*(["'])""")


def found_at(name: str, line: int, column: int, text: Text) -> UserError:
    """The error at a line and a column, counted from 0 here and from 1 in the sentence."""
    where = f"{name}:{line + 1}:{column + 1}: "
    return UserError(f"{where}{text.en}.", f"{where}{text.zh}。")


def diagnose(text: str, line: int, column: int, error: Any) -> Found | None:
    """The slip that made YAML stop at this place, or ``None`` where it is none of the known ones.

    Args:
        text: The whole file.
        line: Where the parser stopped, from 0.
        column: Likewise.
        error: The parser's error, or ``None`` where the text is YAML but no mapping.
    """
    lines = text.split("\n")
    context = error.context_mark.line if error is not None and error.context_mark else line
    blamed = sorted(n for n in {context, line} if n < len(lines))
    near = sorted({*blamed, max(line - 1, 0)})
    return (
        _tab(lines, line, column)
        or _unclosed_to_the_end(error)
        or next((found for n in near for found in _slips_of_a_line(lines[n], n)), None)
        or next((found for n in blamed if (found := _full_width(lines[n], n))), None)
        or (_by_message(lines, line, column, error) if error is not None else None)
    )


def _tab(lines: list[str], line: int, column: int) -> Found | None:
    """A tab where the parser stopped."""
    if line >= len(lines) or lines[line][column : column + 1] != "\t":
        return None
    return (
        line,
        column,
        Text("there is a tab here; YAML indents with spaces only", "这里有一个制表符（Tab）；YAML 只能用空格缩进"),
    )


def _unclosed_to_the_end(error: Any) -> Found | None:
    if error is None or "quoted scalar" not in (error.context or "") or "end of stream" not in (error.problem or ""):
        return None
    mark = error.context_mark
    return mark.line, mark.column, _UNCLOSED_QUOTE


_UNCLOSED_QUOTE = Text("the quote that opens here is never closed", "这里开始的引号没有闭合")


def _slips_of_a_line(line: str, number: int) -> Iterator[Found]:
    if match := _FULL_WIDTH_COLON.match(line):
        yield number, match.start(1), UNUSUAL["："]
    if match := _NO_SPACE.match(line):
        key, value = match[1], match[3].strip()
        yield (
            number,
            match.start(2),
            Text(
                f"there is no space after the colon; write {key}: {value}",
                f"冒号后面缺少空格；请写成 {key}: {value}",
            ),
        )
    if match := _OPENED.match(line):
        rest = line[match.end(1) :]
        if match[1] not in rest:
            yield number, match.start(1), _UNCLOSED_QUOTE


def _full_width(line: str, number: int) -> Found | None:
    """A full-width sign outside quotes and comments."""
    quoted: str | None = None
    for column, character in enumerate(line):
        if quoted is None and character == "#" and (column == 0 or line[column - 1] in " \t"):
            return None
        if character in "\"'" and quoted in (None, character):
            quoted = None if quoted else character
        elif quoted is None and character in UNUSUAL:
            return number, column, UNUSUAL[character]
    return None


def _by_message(lines: list[str], line: int, column: int, error: Any) -> Found | None:
    """What the parser's own words mean for a run file."""
    context, problem = error.context or "", error.problem or ""
    here = lines[line] if line < len(lines) else ""
    opened: Any = error.context_mark
    if "another document" in problem:
        return (
            line,
            column,
            Text(
                "a second document begins here (---); a run file is one",
                "这里开始了第二个文档（---）；配置文件只能有一个",
            ),
        )
    if "undefined alias" in problem:
        return (
            line,
            column,
            Text(
                "this alias (*name) names nothing; put quotes around a text that begins with *",
                "这个别名（*name）没有定义；以 * 开头的文字请加引号",
            ),
        )
    if "duplicate anchor" in problem or "anchor" in context or "alias" in context:
        return opened.line, opened.column, _needs_quotes(lines, opened.line, opened.column)
    if "escape" in problem or "escape" in context or "hexadecimal" in problem:
        return (
            line,
            column,
            Text(
                r"inside double quotes \ begins an escape; use single quotes, as in 'C:\data'",
                r"双引号内的 \ 是转义符；请改用单引号，例如 'C:\data'",
            ),
        )
    if "cannot start any token" in problem or "directive" in context or "tag" in context:
        return line, column, _needs_quotes(lines, line, column)
    if "flow sequence" in context or "flow mapping" in context:
        sign = "[" if "sequence" in context else "{"
        return (
            opened.line,
            opened.column,
            Text(
                f"the {sign} that opens here is not closed, or a comma is missing in it",
                f"这里的 {sign} 没有闭合，或其中缺少逗号",
            ),
        )
    if "mapping values are not allowed" in problem:
        above = next((one for one in reversed(lines[:line]) if one.strip()), "")
        if len(here) - len(here.lstrip()) > len(above) - len(above.lstrip()):
            return line, len(here) - len(here.lstrip()), _INDENTATION
        if above and ":" not in above and ":" not in here[:column]:
            return max(line - 1, 0), 0, _no_pair(above.strip())
        return (
            line,
            column,
            Text(
                "there is a second colon in this line; put quotes around a text that holds one",
                "这一行有第二个冒号；含冒号的文字请加引号",
            ),
        )
    if "could not find expected ':'" in problem and opened is not None:
        return opened.line, opened.column, _no_pair(lines[int(opened.line)].strip())
    if "block" in context and "expected <block end>" in problem:
        return line, column, _INDENTATION
    return None


_INDENTATION = Text(
    "this line is not indented like the lines it belongs to; keys of one section begin in one column",
    "这一行的缩进与同级的行不一致；同一节的键应左对齐",
)


def _needs_quotes(lines: list[str], line: int, column: int) -> Text:
    sign = lines[line][column : column + 1] if line < len(lines) else ""
    return Text(
        f"a text that begins with {sign} needs quotes around it",
        f"以 {sign} 开头的文字需要加引号",
    )


def _no_pair(line: str) -> Text:
    short = line if len(line) <= 60 else line[:57] + "…"
    return Text(f"{short} is not of the form key: value", f"{short} 不是“键: 值”的形式")
