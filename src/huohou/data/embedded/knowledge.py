"""What everybody knows, whatever the seed: opposites, measure words, colours, English words, the table of nine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from huohou.data.embedded.numerals import spoken
from huohou.data.embedded.templates import Template, sections
from huohou.data.embedded.world import asked, marked


@dataclass(frozen=True, slots=True)
class Topic:
    """A table of things known, and how its rows are said, asked and listed."""

    name: str
    rows: tuple[dict[str, str], ...]
    statements: tuple[Template, ...]
    questions: tuple[tuple[Template, Template], ...]
    heading: Template
    line: Template


@cache
def topics() -> tuple[Topic, ...]:
    """All topics, from ``texts/knowledge.txt``."""
    found: list[Topic] = []
    for section in sections("knowledge.txt"):
        rows = tuple(
            dict(zip(section.words, word.split("/"), strict=True))
            for mark, line in section.lines
            if mark == "-"
            for word in line.split()
        )
        (heading,), (line,) = marked(section, "h"), marked(section, "l")
        questions = asked(section)
        found.append(Topic(section.name, rows or _table_of_nine(), marked(section, "s"), questions, heading, line))
    return tuple(found)


def _table_of_nine() -> tuple[dict[str, str], ...]:
    return tuple(
        {"a": str(a), "b": str(b), "c": str(a * b), "sa": spoken(a), "sb": spoken(b), "sc": spoken(a * b)}
        | {"verse": _verse(min(a, b), max(a, b))}
        for a in range(1, 10)
        for b in range(1, 10)
    )


def _verse(low: int, high: int) -> str:
    """三七二十一; results below ten are said with 得, and ten is 一十 here."""
    product = low * high
    result = "一十" if product == 10 else spoken(product)
    return spoken(low) + spoken(high) + ("得" if product < 10 else "") + result
