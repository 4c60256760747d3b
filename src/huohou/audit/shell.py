"""Shell scripts, read and never run: the commands in them, with variables put in where their values are written.

What would have to be run to be known, such as ``$(date)`` or an argument ``$1`` without a default, stays unknown and is
marked as such. The body of a loop over written words is read for each of them, that of a function where it is called.
A comment inside a command that goes on over several lines ends that command, as bash would have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from huohou.audit.shell_script import BETWEEN, LONGEST, UNKNOWN, Command, Cut, Function, Script, Word, bounded
from huohou.audit.shell_words import (
    ARRAY,
    ASSIGNMENT,
    BLANK,
    DECLARES,
    DEEPEST,
    MOST_WORDS,
    NAME,
    OPENERS,
    Words,
    closing,
)

__all__ = ["UNKNOWN", "Command", "Cut", "Script", "Word", "read_shell"]

_MOST_TURNS = 64
"""Times that loops are gone around in one script, and calls of its functions; what is left is read once, unknown."""
_HERE = re.compile(r"<<-?[ \t]*['\"]?([A-Za-z_][A-Za-z0-9_]*)['\"]?")
_FLAG_FOLLOWS = re.compile(r"(?:[^\n]*\n[ \t]*#)*[^\n]*\n[ \t]*-")
"""From inside a line: whether the next line that is no comment goes on with a flag."""
_TARGET = re.compile(r">+[ \t]*(\S+)")
_FUNCTION = re.compile(r"\([ \t]*\)\s*\{")
_REDIRECTION = re.compile(r"[<>]+&?[ \t]*")
_SHELLS = {"bash", "sh", "zsh", "eval"}
_RATE = re.compile(r"--(?:[\w.\-]{0,40}[\-_.])?(?:lr|learning[\-_]rate)\b")
_FLAGS = re.compile(r"(?:^|\s)--[A-Za-z][\w.\-]*")


@dataclass(slots=True)
class _Loop:
    """A loop over written words: where its body begins, and the words that are still to come."""

    name: str
    values: list[str]
    place: int
    line: int


@dataclass(slots=True)
class _Reader(Words):
    """One pass over the commands of a text."""

    count: int = 0
    continued: bool = False
    """Whether the present command reached this line by a backslash."""
    loops: list[_Loop | None] = field(default_factory=list["_Loop | None"])
    """Those that are open; ``None`` for one that is gone through once."""
    target: str | None = None
    """The file into which the present command writes."""
    waiting: _Loop | None = None
    """A ``for`` whose ``do`` is still to come."""

    def read(self) -> None:
        while self.place < len(self.text) and self.count < MOST_WORDS:
            character = self.text[self.place]
            if character in " \t":
                self.place += 1
            elif character == "\\" and self.following() == "\n":
                self.place += 2
                self.line += 1
                self.continued = True
            elif character == "\\" and (blank := BLANK.match(self.text, self.place)):
                # The backslash escapes the blank and not the end of the line, so the command ends here.
                if _FLAG_FOLLOWS.match(self.text, blank.end()):
                    self.script.cuts.append(Cut(self.line, "space after backslash"))
                self.place = blank.end()
            elif character == "\n":
                self._finish()
                self.place += 1
                self.line += 1
            elif character == "#":
                if self.continued and self.words and _FLAG_FOLLOWS.match(self.text, self.place):
                    self.script.cuts.append(Cut(self.line, "comment"))
                while self.place < len(self.text) and self.text[self.place] != "\n":
                    self.place += 1
            elif character == "(" and self._function():
                continue
            elif character in ";&|()":
                self._finish()
                self.place += 1
            elif character in "<>":
                self._redirection()
            else:
                words = self.word()
                self.words += words
                self.count += max(1, len(words))
                if len(self.words) == 1 and words and words[0].text in ("do", "done"):
                    self._turn(words[0].text)
                if (
                    self.words
                    and ARRAY.fullmatch(self.words[-1].text)
                    and self.text[self.place : self.place + 1] == "("
                ):
                    self._array(self.words.pop())
        self._finish()

    def _function(self) -> bool:
        """``name() { … }``: the body is kept for its calls."""
        name = self.words[-1].text if self.words and len(self.words) <= 2 else ""
        head = _FUNCTION.match(self.text, self.place)
        if head is None or not NAME.fullmatch(name):
            return False
        end = closing(self.text, head.end() - 1, "{", "}")
        line = self.line + self.text[self.place : head.end()].count("\n")
        self.script.functions[name] = Function(self.text[head.end() : end - 1], line)
        self.line += self.text[self.place : end].count("\n")
        self.place = end
        self.words = []
        return True

    def _turn(self, word: str) -> None:
        """The beginning or the end of a loop's body: with words left it is gone through again."""
        self.words = []
        if word == "do":
            loop, self.waiting = self.waiting, None
            if loop is not None:
                loop.place, loop.line = self.place, self.line
                self.script.variables[loop.name] = loop.values.pop(0)
            self.loops.append(loop)
            return
        loop = self.loops.pop() if self.loops else None
        if loop is None or not loop.values:
            return
        self.script.turns += 1
        if self.script.turns > _MOST_TURNS:
            return
        self.script.variables[loop.name] = loop.values.pop(0)
        self.place, self.line = loop.place, loop.line
        self.loops.append(loop)

    def _array(self, name: Word) -> None:
        """``NAME=( … )``: its words are kept as one value with marks between them."""
        self.place += 1
        values: list[str] = []
        while self.place < len(self.text) and self.text[self.place] != ")":
            character = self.text[self.place]
            if character in " \t\n":
                self.line += character == "\n"
                self.place += 1
            elif character == "\\" and self.following() == "\n":
                self.line += 1
                self.place += 2
            elif character == "#":
                while self.place < len(self.text) and self.text[self.place] != "\n":
                    self.place += 1
            elif character in ";&|(<>":
                self.place += 1
            else:
                values += [word.text for word in self.word()]
            if len(values) > MOST_WORDS:
                break
        self.place += 1
        more = name.text.endswith("+=")
        key = name.text.rstrip("=").rstrip("+")
        before = [self.script.variables[key]] if more and key in self.script.variables else []
        self.script.variables[key] = bounded(BETWEEN.join([*before, *values]))

    def _redirection(self) -> None:
        """``> file``, ``2>&1``, ``<<EOF`` say nothing about the command; a here-document is skipped."""
        here = _HERE.match(self.text, self.place)
        if here:
            end = re.compile(rf"^\t*{re.escape(here.group(1))}[ \t]*$", re.MULTILINE).search(self.text, self.place)
            skipped = self.text[self.place : end.end() if end else len(self.text)]
            first, newline, rest = skipped.partition("\n")
            self._here_document(rest, first, plain="'" in here.group() or '"' in here.group())
            self.place += len(first)
            if newline:
                self._finish()
                self.line += skipped.count("\n")
                self.place += len(newline) + len(rest)
            return
        match = _REDIRECTION.match(self.text, self.place)
        self.place = match.end() if match else self.place + 1
        writes = match is not None and ">" in match.group()
        if self.words and self.words[-1].text.isdigit() and len(self.words[-1].text) == 1:
            self.words.pop()
        if self.place < len(self.text) and self.text[self.place] not in "\n;&|":
            name = "".join(word.text for word in self.word())
            self.target = name if writes else self.target

    def _here_document(self, rest: str, first: str, *, plain: bool) -> None:
        """``read -r -d '' NAME <<EOF``: a common way to write a command down before it is started; ``cat > FILE`` and
        ``bash`` are the others."""
        lines = rest.rpartition("\n")[0]
        target = _TARGET.search(first)
        name = self.target if target is None else "".join(word.text for word in self._inner(target.group(1)).word())
        if name and self.words and self.words[0].text in ("cat", "tee"):
            self.script.files[name] = lines if plain else self.filled(lines)
        if not self.words or self.depth >= DEEPEST:
            return
        if self.words[0].text == "read" and len(self.words) > 1:
            variable = next((w.text for w in reversed(self.words) if NAME.fullmatch(w.text)), None)
            inner = _Reader(lines, Script(variables=dict(self.script.variables)), depth=self.depth + 1)
            inner.read()
            if variable is not None:
                words = [word.text for command in inner.script.commands for word in command.words]
                self.script.variables[variable] = bounded(" ".join(words))
        elif self.words[0].text.rsplit("/", 1)[-1] in (*_SHELLS, "sbatch", "qsub", "ssh"):
            inner = self._inner(lines)
            inner.line = self.line + 1
            inner.read()

    def _inner(self, text: str) -> _Reader:
        """A reader of a text inside this one, which sees and sets the same variables."""
        return _Reader(text, self.script, depth=self.depth + 1)

    def _finish(self) -> None:
        self.continued, self.target = False, None
        words, self.words = self.words, []
        environment = dict[str, str]()
        while words and words[0].text in OPENERS:
            if words[0].text == "for" and self._for(words):
                return
            words = words[1:]
        if words and words[0].text in (*DECLARES, "set", "env"):
            words = words[1:]
            while words and words[0].text.startswith("-"):
                words = words[1:]
        while words:
            assignment = ASSIGNMENT.fullmatch(words[0].text)
            if assignment is None:
                break
            name, more, value = assignment.groups()
            environment[name] = bounded(self.script.variables.get(name, "") + value if more else value)
            words = words[1:]
        if not words:
            self.script.variables.update(environment)
            return
        called = self.script.functions.get(words[0].text)
        if called is not None:
            self._call(called, words[1:])
            return
        if words[0].text in ("source", ".") and len(words) > 1:
            self._source(words[1].text)
            return
        self.script.commands.append(Command(tuple(words), environment))
        self._inside(words)

    def _source(self, name: str) -> None:
        """``source FILE``: what it sets holds from here on. The lines of its own commands are not those of this file,
        so they are left out."""
        self.script.turns += 1
        text = None if self.depth >= DEEPEST or self.script.turns > _MOST_TURNS else self.script.source(name)
        if text is not None:
            before = list(self.script.commands)
            self._inner(text[:LONGEST]).read()
            self.script.commands[:] = before

    def _for(self, words: list[Word]) -> bool:
        """``for NAME in WORDS``: the words, where all of them are written."""
        if len(words) < 2 or not NAME.fullmatch(words[1].text):
            return False
        values = [word.text for word in words[3:]] if len(words) > 3 and words[2].text == "in" else []
        whole = [value for value in values if UNKNOWN not in value and not set(value) & set("*?{[")]
        self.script.variables[words[1].text] = UNKNOWN
        if whole and len(whole) == len(values):
            self.waiting = _Loop(words[1].text, whole, 0, 0)
        return True

    def _call(self, function: Function, words: list[Word]) -> None:
        """A function's body with the words that it is called with as ``$1`` …"""
        function.called = True
        self.script.turns += 1
        if self.depth >= DEEPEST or self.script.turns > _MOST_TURNS:
            return
        values = [word.text for word in words]
        places = {str(number): value for number, value in enumerate(values[:9], 1)}
        places |= dict.fromkeys("@*", BETWEEN.join(values))
        before = {key: self.script.variables.get(key) for key in [*"123456789", "@", "*"]}
        self.script.variables.update(places)
        self.body(function)
        for key, value in before.items():
            self.script.variables.pop(key, None)
            if value is not None:
                self.script.variables[key] = value

    def body(self, function: Function) -> None:
        inner = self._inner(function.body)
        inner.line = function.line
        inner.read()
        self.count += inner.count

    def _inside(self, words: list[Word]) -> None:
        """``bash -c "…"`` and ``eval "…"``: the command in the text, wherever in the words it stands (``srun …``)."""
        if self.depth >= DEEPEST:
            return
        for place, word in enumerate(words[:-1]):
            if word.text.rsplit("/", 1)[-1] not in _SHELLS:
                continue
            rest = words[place + 1 :]
            if word.text != "eval":
                while rest and rest[0].text.startswith("-") and not rest[0].text.endswith("c"):
                    rest = rest[1:]
                if len(rest) < 2 or not (rest[0].text.startswith("-") and rest[0].text.endswith("c")):
                    continue
                rest = rest[1:2]
            inner = self._inner(" ".join(each.text for each in rest))
            inner.line = rest[0].line
            inner.read()
            self.count += inner.count
            return


def _unused(script: Script, text: str) -> None:
    """A script that only sets variables full of flags, for another one to take in: they are a command together."""
    if any(sum(word.text.startswith("--") for word in command.words) >= 3 for command in script.commands):
        return
    if not any(_RATE.search(value) for value in script.variables.values()):
        return
    texts = [value for value in script.variables.values() if len(_FLAGS.findall(value)) >= 3][:_MOST_TURNS]
    if texts:
        # A variable that another one took in stands in it already.
        whole = [each for each in texts if not any(each in other and each != other for other in texts)]
        inner = _Reader("\n".join(whole).replace("\n", " ").replace(BETWEEN, " "), Script(), depth=DEEPEST - 1)
        inner.read()
        for command in inner.script.commands:
            words = [Word(word.text, _line_of(word.text, text)) for word in command.words]
            script.commands.append(Command(tuple(words), command.environment))


def _line_of(word: str, text: str) -> int:
    """The line on which a flag stands first, and with it what it is given."""
    place = text.find(word) if word.startswith("--") else -1
    return text.count("\n", 0, place) + 1 if place >= 0 else 0


def read_shell(
    text: str, variables: Mapping[str, str] | None = None, source: Callable[[str], str | None] | None = None
) -> Script:
    """The commands of a script.

    Args:
        text: The script.
        variables: Those that its environment is known to hold; ``1`` … are its arguments.
        source: The text of a file that it takes in by ``source``, where it can be found.
    """
    script = Script(variables=dict(variables or {}), source=source or (lambda _: None))
    reader = _Reader(text[:LONGEST], script)
    reader.read()
    _unused(script, text)
    for function in list(script.functions.values()):
        if not function.called:
            reader.body(function)
    return script
