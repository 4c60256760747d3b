"""What a shell script comes to once it is read: its commands, variables, cuts, and the texts that it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

UNKNOWN = "\ufffd"
"""Stands in a word for a part that only running the script could tell."""

LONGEST = 1_000_000
"""Characters of a script at most; those of its values are a tenth of that, or they are unknown."""
BETWEEN = "\x1f"
"""Stands between the words of an array, which come apart again where the array is used."""


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
class Function:
    """A function's body, read where it is called; one that never is, at the end."""

    body: str
    line: int
    called: bool = False


@dataclass(slots=True)
class Script:
    """The commands of a script, in order, what its variables hold at its end, and where commands are cut off."""

    commands: list[Command] = field(default_factory=list[Command])
    variables: dict[str, str] = field(default_factory=dict[str, str])
    cuts: list[Cut] = field(default_factory=list[Cut])
    files: dict[str, str] = field(default_factory=dict[str, str])
    """Texts that it writes by a here-document, under their names: often a configuration that it then names."""
    source: Callable[[str], str | None] = lambda _: None
    """The text of a file that ``source FILE`` takes in."""
    functions: dict[str, Function] = field(default_factory=dict[str, "Function"])
    turns: int = 0


def bounded(value: str) -> str:
    """A value that doubles itself often enough would fill the memory."""
    return value if len(value) <= LONGEST // 10 else UNKNOWN
