"""What a rule is: one idea, with examples that are its tests and its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from huohou.audit.reading import Edit, Given, Reading, Severity
from huohou.audit.values import Value
from huohou.language import Text


@dataclass(frozen=True, slots=True)
class Example:
    """A file that a rule is shown.

    Attributes:
        name: Its name, whose ending says what it is.
        text: Its content.
        given: The flags that it is audited with.
        dialect: The dialect it is read in, where its content does not say.
        fixed: The content after ``--fix``, where the rule repairs it.
        beside: Other files that lie beside it, by name.
    """

    name: str
    text: str
    given: Given = field(default_factory=Given)
    dialect: str | None = None
    fixed: str | None = None
    beside: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule's check gives: where, what is wrong, what to do."""

    place: Value | None
    message: Text
    fix: Text
    edits: tuple[Edit, ...] = ()
    line: int = 0
    """The line, where there is no value to point at."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: Words with dashes, such as ``warmup-never-ends``.
        severity: ``error``: the run is not the one that was meant; ``warning``: it loses something; ``note``: to know.
        title: One sentence.
        why: What happens, with the numbers of an example, and since when.
        victims: Public cases: repository and issue or file.
        check: From a reading to what it finds; it looks at the reading's parts itself where it wants to.
        bad, good: Examples: each bad one fires this rule and no other, each good one none.
    """

    id: str
    severity: Severity
    title: Text
    why: Text
    victims: tuple[str, ...]
    check: Callable[[Reading], Iterator[Found]]
    bad: tuple[Example, ...]
    good: tuple[Example, ...]
