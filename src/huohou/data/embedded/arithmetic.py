"""Small arithmetic in digits and in words, divided so that no problem of one split is met in the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from huohou.data.embedded.draw import Draw, Split, split_of
from huohou.data.embedded.numerals import counted, spoken
from huohou.data.embedded.templates import Scene, Template, sections
from huohou.data.embedded.world import asked, marked


class Problem(NamedTuple):
    """One problem; what its four numbers are depends on its kind (add, take, compare, count)."""

    kind: str
    a: int
    b: int
    c: int
    d: int

    @property
    def small(self) -> bool:
        """Whether none of its numbers is above 20."""
        return max(self[1:]) <= 20

    @property
    def key(self) -> str:
        """What decides the split; 3 + 5 and 5 + 3 are one problem, and so are the two orders of a comparison."""
        low, high = (min(self.a, self.b), max(self.a, self.b)) if self.kind in ("add", "compare") else self[1:3]
        return f"{self.kind} {low} {high}"

    def pose(self, scene: Scene) -> None:
        """Put the numbers into a scene: ``{a}`` in digits, ``{sa}`` spoken, ``{na}`` spoken before a measure word."""
        for name, number in zip("abcd", self[1:], strict=True):
            scene[name] = str(number)
            scene["s" + name] = spoken(number)
            scene["n" + name] = counted(number, "")


def _all_problems() -> Iterator[Problem]:
    for a in range(1, 100):
        for b in range(1, 101 - a):
            yield Problem("add", a, b, a + b, 0)
            yield Problem("take", a + b, b, a, 0)
        for b in range(1, 100):
            if a != b:
                yield Problem("compare", a, b, max(a, b), min(a, b))
    for a in range(1, 60):
        for step in (1, 2, 5, 10):
            yield Problem("count", a, a + step, a + 2 * step, a + 3 * step)


@cache
def problems() -> dict[tuple[Split, str, bool], tuple[Problem, ...]]:
    """All problems by split, kind, and whether their numbers are small (none above 20)."""
    table: dict[tuple[Split, str, bool], list[Problem]] = {}
    for problem in _all_problems():
        table.setdefault((split_of(problem.key), problem.kind, problem.small), []).append(problem)
    return {place: tuple(found) for place, found in table.items()}


class Form(NamedTuple):
    """How a kind of problem is said, told with its working, and asked."""

    statements: tuple[Template, ...]
    worked: tuple[Template, ...]
    questions: tuple[tuple[Template, Template], ...]


@cache
def forms() -> dict[tuple[str, bool], Form]:
    """The forms by kind of problem and whether it is small, from ``texts/arithmetic.txt``."""
    found: dict[tuple[str, bool], Form] = {}
    for section in sections("arithmetic.txt"):
        statements, worked, questions = marked(section, "s"), marked(section, "w"), asked(section)
        found[section.name, False] = Form(statements, worked, questions)
        small = Form(statements, worked + marked(section, "W"), questions + asked(section, "Q"))
        found[section.name, True] = small
    return found


def form(problem: Problem) -> Form:
    """How this problem can be said and asked; nobody eats seventy dumplings."""
    return forms()[problem.kind, problem.small]


PROBLEMS = ("add", "take", "compare", "count")
"""The kinds of problem."""
_DRAWN = ("add", "add", "add", "take", "take", "compare", "count")


def draw_problem(draw: Draw, split: Split, kind: str = "") -> Problem:
    """A problem of the split, two times in three with small numbers."""
    return draw.pick(problems()[split, kind or draw.pick(_DRAWN), draw.below(3) > 0])
