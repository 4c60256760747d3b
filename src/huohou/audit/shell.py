"""Shell scripts, read and never run: the commands in them, with variables put in where their values are written.

What would have to be run to be known, such as ``$(date)`` or an argument ``$1`` without a default, stays unknown and is
marked as such. A comment inside a command that goes on over several lines ends that command, as bash would have it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

UNKNOWN = "\ufffd"
"""Stands in a word for a part that only running the script could tell."""

_MOST_WORDS = 20_000
_LONGEST = 1_000_000
"""Characters of a script at most; those of its values are a tenth of that, or they are unknown."""
_DEEPEST = 20
_BETWEEN = "\x1f"
"""Stands between the words of an array, which come apart again where the array is used."""
_ARRAY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_BLANK = re.compile(r"\\[ \t]+(?=\n)")
_HERE = re.compile(r"<<-?[ \t]*['\"]?([A-Za-z_][A-Za-z0-9_]*)['\"]?")
_REDIRECTION = re.compile(r"[<>]+&?[ \t]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=(.*)", re.DOTALL)
_ENDS = {";", "&", "|", "&&", "||", "\n", "(", ")", ";;"}
_OPENERS = {
    "if",
    "then",
    "else",
    "elif",
    "fi",
    "for",
    "while",
    "until",
    "do",
    "done",
    "case",
    "esac",
    "{",
    "}",
    "!",
    "time",
}


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command after quotes and variables, and the line on which it begins (from 1)."""

    text: str
    line: int

    @property
    def known(self) -> bool:
        """Whether running the script could not make it another one."""
        return UNKNOWN not in self.text


@dataclass(frozen=True, slots=True)
class Command:
    """One simple command: its words, and the variables set before it (``A=1 python x.py``)."""

    words: tuple[Word, ...]
    environment: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def line(self) -> int:
        """Where it begins."""
        return self.words[0].line if self.words else 0


@dataclass(frozen=True, slots=True)
class Cut:
    """A line inside a command at which bash stops reading it: what stands after it is dropped."""

    line: int
    why: str
    """``comment`` or ``space after backslash``."""


@dataclass(slots=True)
class Script:
    """The commands of a script, in order, what its variables hold at its end, and where commands are cut off."""

    commands: list[Command] = field(default_factory=list[Command])
    variables: dict[str, str] = field(default_factory=dict[str, str])
    cuts: list[Cut] = field(default_factory=list[Cut])


@dataclass(slots=True)
class _Reader:
    """One pass over the text, a character at a time."""

    text: str
    script: Script
    place: int = 0
    line: int = 1
    words: list[Word] = field(default_factory=list[Word])
    count: int = 0
    continued: bool = False
    """Whether the present command reached this line by a backslash."""
    depth: int = 0

    def read(self) -> None:
        while self.place < len(self.text) and self.count < _MOST_WORDS:
            character = self.text[self.place]
            if character in " \t":
                self.place += 1
            elif character == "\\" and self._next() == "\n":
                self.place += 2
                self.line += 1
                self.continued = True
            elif character == "\\" and (blank := _BLANK.match(self.text, self.place)):
                # The backslash escapes the blank and not the end of the line, so the command ends here.
                self.script.cuts.append(Cut(self.line, "space after backslash"))
                self.place = blank.end()
            elif character == "\n":
                self._finish()
                self.place += 1
                self.line += 1
            elif character == "#":
                if self.continued and self.words:
                    self.script.cuts.append(Cut(self.line, "comment"))
                while self.place < len(self.text) and self.text[self.place] != "\n":
                    self.place += 1
            elif character in ";&|()":
                self._finish()
                self.place += 1
            elif character in "<>":
                self._redirection()
            else:
                words = self.word()
                self.words += words
                self.count += max(1, len(words))
                if (
                    self.words
                    and _ARRAY.fullmatch(self.words[-1].text)
                    and self.text[self.place : self.place + 1] == "("
                ):
                    self._array(self.words.pop())
        self._finish()

    def _array(self, name: Word) -> None:
        """``NAME=( … )``: its words are kept as one value with marks between them."""
        self.place += 1
        values: list[str] = []
        while self.place < len(self.text) and self.text[self.place] != ")":
            character = self.text[self.place]
            if character in " \t\n":
                self.line += character == "\n"
                self.place += 1
            elif character == "\\" and self._next() == "\n":
                self.line += 1
                self.place += 2
            elif character == "#":
                while self.place < len(self.text) and self.text[self.place] != "\n":
                    self.place += 1
            elif character in ";&|(<>":
                self.place += 1
            else:
                values += [word.text for word in self.word()]
            if len(values) > _MOST_WORDS:
                break
        self.place += 1
        more = name.text.endswith("+=")
        key = name.text.rstrip("=").rstrip("+")
        before = [self.script.variables[key]] if more and key in self.script.variables else []
        self.script.variables[key] = _bounded(_BETWEEN.join([*before, *values]))

    def _next(self) -> str:
        return self.text[self.place + 1 : self.place + 2]

    def _redirection(self) -> None:
        """``> file``, ``2>&1``, ``<<EOF`` say nothing about the command; a here-document is skipped."""
        here = _HERE.match(self.text, self.place)
        if here:
            end = re.search(rf"^\t*{re.escape(here.group(1))}[ \t]*$", self.text[self.place :], re.MULTILINE)
            skipped = self.text[self.place : self.place + end.end()] if end else self.text[self.place :]
            first, newline, rest = skipped.partition("\n")
            self._here_document(rest)
            self.place += len(first)
            if newline:
                self._finish()
                self.line += skipped.count("\n")
                self.place += len(newline) + len(rest)
            return
        match = _REDIRECTION.match(self.text, self.place)
        self.place = match.end() if match else self.place + 1
        if self.words and self.words[-1].text.isdigit() and len(self.words[-1].text) == 1:
            self.words.pop()
        if self.place < len(self.text) and self.text[self.place] not in "\n;&|":
            self.word()

    def _here_document(self, body: str) -> None:
        """``read -r -d '' NAME <<EOF``: a common way to write a command down before it is started."""
        if len(self.words) < 2 or self.words[0].text != "read" or self.depth >= _DEEPEST:
            return
        name = next((w.text for w in reversed(self.words) if _NAME.fullmatch(w.text)), None)
        lines = body.rsplit("\n", 1)[0]
        inner = _Reader(lines, Script(variables=dict(self.script.variables)), depth=self.depth + 1)
        inner.read()
        if name is not None:
            words = [word.text for command in inner.script.commands for word in command.words]
            self.script.variables[name] = _bounded(" ".join(words))

    def word(self) -> list[Word]:
        """The next word; several where an unquoted variable holds blanks, or an array is spelled out."""
        line, texts, any_part = self.line, [""], False
        while self.place < len(self.text):
            character = self.text[self.place]
            if character in " \t\n;&|()<>":
                break
            split = False
            if character == "'":
                end = self.text.find("'", self.place + 1)
                end = len(self.text) if end < 0 else end
                part = self.text[self.place + 1 : end]
                self.line += part.count("\n")
                self.place = end + 1
            elif character == '"':
                part = self._quoted()
            elif character == "\\":
                if _BLANK.match(self.text, self.place):
                    break
                part = self._next()
                if part == "\n":
                    self.line += 1
                    part = ""
                    if texts == [""] and not any_part:
                        self.place += 2
                        continue
                self.place += 2
            elif character == "$":
                part, split = self._dollar(), True
            elif character == "`":
                end = self.text.find("`", self.place + 1)
                self.place = len(self.text) if end < 0 else end + 1
                part = UNKNOWN
            else:
                part = character
                self.place += 1
            any_part = any_part or not split or bool(part)
            pieces = re.split(r"[\s\x1f]+" if split else _BETWEEN, part)
            texts[-1] += pieces[0]
            texts += pieces[1:]
            if len(texts) > _MOST_WORDS or len(texts[-1]) > _LONGEST:
                break
        return [Word(text, line) for text in texts if text or (any_part and len(texts) == 1)]

    def _quoted(self) -> str:
        parts = list[str]()
        self.place += 1
        while self.place < len(self.text):
            character = self.text[self.place]
            if character == '"':
                self.place += 1
                break
            if character == "\\":
                following = self._next()
                if following == "\n":
                    self.line += 1
                else:
                    parts.append(following if following in '"\\$`' else "\\" + following)
                self.place += 2
            elif character == "$":
                parts.append(self._dollar())
            elif character == "`":
                end = self.text.find("`", self.place + 1)
                self.place = len(self.text) if end < 0 else end + 1
                parts.append(UNKNOWN)
            else:
                self.line += character == "\n"
                parts.append(character)
                self.place += 1
        return "".join(parts)

    def _dollar(self) -> str:
        text, place = self.text, self.place
        if text.startswith("$((", place):
            return self._arithmetic()
        if text.startswith("$(", place):
            self.place = _closing(text, place + 1, "(", ")")
            return UNKNOWN
        if text.startswith("${", place):
            self.place = _closing(text, place + 1, "{", "}")
            return self._braces(text[place + 2 : self.place - 1])
        name = _NAME.match(text, place + 1)
        if name:
            self.place = name.end()
            return self._value(name.group())
        special = text[place + 1 : place + 2]
        if special and special in "0123456789@*#?$!-":
            self.place += 2
            return UNKNOWN
        self.place += 1
        return "$"

    def _braces(self, inner: str) -> str:
        name = _NAME.match(inner)
        if name is None:
            # ${1:-default}, ${#x}, ${!x}
            default = re.fullmatch(r"\d+:?[-=](.*)", inner, re.DOTALL)
            return self._expanded(default.group(1)) if default else UNKNOWN
        rest = inner[name.end() :]
        if not rest:
            return self._value(name.group())
        default = re.fullmatch(r":?[-=](.*)", rest, re.DOTALL)
        if default:
            value = self.script.variables.get(name.group())
            return value if value else self._expanded(default.group(1))
        # An array: ${ARGS[@]} gives its words, which were kept with blanks between them.
        if rest in ("[@]", "[*]"):
            return self._value(name.group())
        return UNKNOWN

    def _value(self, name: str) -> str:
        return self.script.variables.get(name, UNKNOWN)

    def _expanded(self, text: str) -> str:
        if not text:
            return ""
        if self.depth >= _DEEPEST:
            return UNKNOWN
        inner = _Reader(text, Script(variables=self.script.variables), depth=self.depth + 1)
        return " ".join(word.text for word in inner.word())

    def _arithmetic(self) -> str:
        start = self.place
        self.place = _closing(self.text, start + 1, "(", ")")
        return _calculated(self.text[start + 3 : self.place - 2], self.script.variables)

    def _finish(self) -> None:
        self.continued = False
        words, self.words = self.words, []
        environment = dict[str, str]()
        while words and words[0].text in _OPENERS:
            words = words[1:]
        if words and words[0].text in ("export", "declare", "local", "readonly", "set", "env"):
            words = words[1:]
            while words and words[0].text.startswith("-"):
                words = words[1:]
        while words:
            assignment = _ASSIGNMENT.fullmatch(words[0].text)
            if assignment is None:
                break
            name, more, value = assignment.groups()
            environment[name] = _bounded(self.script.variables.get(name, "") + value if more else value)
            words = words[1:]
        if not words:
            self.script.variables.update(environment)
            return
        self.script.commands.append(Command(tuple(words), environment))


def _bounded(value: str) -> str:
    """A value that doubles itself often enough would fill the memory."""
    return value if len(value) <= _LONGEST // 10 else UNKNOWN


def _closing(text: str, start: int, opening: str, closing: str) -> int:
    """The place behind the bracket that closes the one at ``start``."""
    depth = 0
    for index in range(start, len(text)):
        if text[index] == opening:
            depth += 1
        elif text[index] == closing:
            depth -= 1
            if depth == 0:
                return index + 1
    return len(text)


_TOKEN = re.compile(r"\s*(?:(\d+)|\$?\{?([A-Za-z_]\w*)\}?|(\*\*|[-+*/%()]))")


def _calculated(text: str, variables: dict[str, str]) -> str:
    """``$((A * 8))`` of whole numbers; whatever else it says is unknown."""
    tokens: list[str] = []
    place = 0
    text = text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or len(tokens) > 64:
            return UNKNOWN
        number, name, operator = match.groups()
        value = number or (variables.get(name, "") if name else operator)
        if name and not value.isdigit():
            return UNKNOWN
        tokens.append(value)
        place = match.end()
    try:
        value, rest = _sum(tokens)
    except (ValueError, IndexError, ZeroDivisionError):
        return UNKNOWN
    return UNKNOWN if rest or abs(value) > 10**18 else str(value)


def _sum(tokens: list[str]) -> tuple[int, list[str]]:
    value, tokens = _product(tokens)
    while tokens and tokens[0] in "+-":
        sign, (other, tokens) = tokens[0], _product(tokens[1:])
        value = value + other if sign == "+" else value - other
    return value, tokens


def _product(tokens: list[str]) -> tuple[int, list[str]]:
    value, tokens = _atom(tokens)
    while tokens and tokens[0] in ("*", "/", "%"):
        sign, (other, tokens) = tokens[0], _atom(tokens[1:])
        if sign == "*":
            value *= other
        else:
            # Bash rounds towards zero.
            quotient = abs(value) // abs(other) * (1 if (value < 0) == (other < 0) else -1)
            value = quotient if sign == "/" else value - quotient * other
        if abs(value) > 10**18:
            raise ValueError
    return value, tokens


def _atom(tokens: list[str]) -> tuple[int, list[str]]:
    if tokens[0] == "(":
        value, rest = _sum(tokens[1:])
        if rest[0] != ")":
            raise ValueError
        return value, rest[1:]
    if tokens[0] == "-":
        value, rest = _atom(tokens[1:])
        return -value, rest
    return int(tokens[0]), tokens[1:]


def read_shell(text: str, variables: dict[str, str] | None = None) -> Script:
    """The commands of a script. ``variables`` are those that its environment is known to hold."""
    script = Script(variables=dict(variables or {}))
    _Reader(text[:_LONGEST], script).read()
    return script
