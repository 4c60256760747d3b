"""The words of a shell script: quotes, variables, defaults and arithmetic, put in where they are known."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from huohou.audit.shell_arithmetic import calculated
from huohou.audit.shell_script import BETWEEN, LONGEST, UNKNOWN, Script, Word, bounded

MOST_WORDS = 20_000
DEEPEST = 20
OPENERS = {
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
DECLARES = ("export", "declare", "local", "readonly", "typeset")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=(.*)", re.DOTALL)
ARRAY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
BLANK = re.compile(r"\\[ \t]+(?=\n)")
_ORDINARY = re.compile(r"[^\s'\"\\$`;&|()<>\x1f]+")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_WRITTEN = re.compile(r"\s*cat[ \t]*<<-?[ \t]*['\"]?(\w+)['\"]?[ \t]*\n(.*?)\n[ \t]*\1\s*", re.DOTALL)
_PLACE = re.compile(r"[1-9]|[@*](?=:?[-=]|$)")
_MEMBER = re.compile(r"\[(\d{1,4})\]")
_DEFAULT = re.compile(r":?([-=?+])(.*)", re.DOTALL)


@dataclass(slots=True)
class Words:
    """One pass over the words of a text, a character at a time."""

    text: str
    script: Script
    place: int = 0
    line: int = 1
    words: list[Word] = field(default_factory=list[Word])
    """Those of the present command."""
    depth: int = 0
    """How many texts this one stands in."""

    def following(self) -> str:
        return self.text[self.place + 1 : self.place + 2]

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
                if BLANK.match(self.text, self.place):
                    break
                part = self.following()
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
                run = _ORDINARY.match(self.text, self.place)
                part = run.group() if run else character
                self.place += len(part)
            # What is assigned does not fall apart: A=$B is one word.
            if BETWEEN in part or split:
                assigns = len(texts) == 1 and ARRAY.match(texts[0][:80]) is not None and self._only_assigns()
                part = part.replace(BETWEEN, " ") if assigns else part
                split = split and not assigns
            any_part = any_part or not split or bool(part)
            pieces = re.split(r"[\s\x1f]+" if split else BETWEEN, part)
            texts[-1] += pieces[0]
            texts += pieces[1:]
            if len(texts) > MOST_WORDS or len(texts[-1]) > LONGEST:
                break
        return [Word(text, line) for text in texts if text or (any_part and len(texts) == 1)]

    def _only_assigns(self) -> bool:
        """Whether the command has nothing but assignments so far."""
        words = [word.text for word in self.words if word.text not in OPENERS]
        return all(ASSIGNMENT.fullmatch(word) or word in DECLARES or word.startswith("-") for word in words[:4])

    def _quoted(self) -> str:
        parts = list[str]()
        self.place += 1
        while self.place < len(self.text):
            character = self.text[self.place]
            if character == '"':
                self.place += 1
                break
            if character == "\\":
                following = self.following()
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
            self.place = closing(text, place + 1, "(", ")")
            # $(cat <<EOF … EOF) is a way to write a long text down; every other command would have to be run.
            written = _WRITTEN.fullmatch(text[place + 2 : self.place - 1])
            self.line += text[place : self.place].count("\n")
            return UNKNOWN if written is None else self.filled(written.group(2).replace("\\\n", " "))
        if text.startswith("${", place):
            self.place = closing(text, place + 1, "{", "}")
            return self._braces(text[place + 2 : self.place - 1])
        name = NAME.match(text, place + 1)
        if name:
            self.place = name.end()
            return self._value(name.group())
        special = text[place + 1 : place + 2]
        if special and special in "0123456789@*#?$!-":
            self.place += 2
            return self._value(special) if special in "123456789@*" else UNKNOWN
        if special in ("'", '"') and special:
            # $'…' and $"…" are quoted texts.
            self.place += 1
            return ""
        self.place += 1
        return "$"

    def _braces(self, inner: str) -> str:
        name = NAME.match(inner) or _PLACE.match(inner)
        if name is None:
            # ${#x}, ${!x}
            return UNKNOWN
        value, rest = self.script.variables.get(name.group()), inner[name.end() :]
        if not rest:
            return UNKNOWN if value is None else value
        # An array: ${ARGS[@]} gives its words, which were kept with marks between them.
        if rest in ("[@]", "[*]"):
            return UNKNOWN if value is None else value
        member = _MEMBER.fullmatch(rest)
        if member is not None and value is not None:
            members = value.split(BETWEEN)
            return members[int(member.group(1))] if int(member.group(1)) < len(members) else ""
        default = _DEFAULT.fullmatch(rest)
        if default is None:
            return UNKNOWN
        sign, other = default.groups()
        if sign in "-=":
            return value if value else self._expanded(other)
        if sign == "?":
            return UNKNOWN if value is None else value
        # ${X:+other}: the other one where X is set.
        return "" if not value else self._expanded(other)

    def _value(self, name: str) -> str:
        return self.script.variables.get(name, UNKNOWN)

    def _expanded(self, text: str) -> str:
        if not text:
            return ""
        if self.depth >= DEEPEST:
            return UNKNOWN
        inner = Words(text, Script(variables=self.script.variables), depth=self.depth + 1)
        return " ".join(word.text for word in inner.word())

    def _arithmetic(self) -> str:
        start = self.place
        self.place = closing(self.text, start + 1, "(", ")")
        value = calculated(self.text[start + 3 : self.place - 2], self.script.variables)
        return UNKNOWN if value is None else value

    def filled(self, text: str) -> str:
        """A here-document's text with the variables that are known."""
        known = self.script.variables
        return bounded(_VARIABLE.sub(lambda match: known.get(match.group(1) or match.group(2), UNKNOWN), text))


def closing(text: str, start: int, opening: str, closing: str) -> int:
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
