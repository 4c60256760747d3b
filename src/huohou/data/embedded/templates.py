"""Sentences with choices and slots, and the scene that fills the slots.

``[甲|乙|]`` is a choice (it may be empty and may hold further choices), ``{name}`` a slot. A scene fills a slot with
what it knows (people, places); a slot that it does not know is drawn from the word lists once and then kept, so that
an apple stays an apple to the end of a story. ``{fruit2}`` is another fruit than ``{fruit}``; ``{fruit.m}`` is a
property of the fruit that was drawn, its measure word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Slot(str):
    """The name of what a scene has to fill in."""

    __slots__ = ()


Node = "str | Slot | tuple[Template, ...]"
Template = tuple["str | Slot | tuple[Template, ...]", ...]


def parse(text: str) -> Template:
    """The template that a text describes; a ValueError where its brackets do not match."""
    template, end = _parse(text, 0, "")
    assert end == len(text)
    return template


def _parse(text: str, start: int, closing: str) -> tuple[Template, int]:
    nodes: list[str | Slot | tuple[Template, ...]] = []
    position = start
    while position < len(text) and not (closing and text[position] in closing):
        character = text[position]
        if character == "{":
            end = text.index("}", position)
            nodes.append(Slot(text[position + 1 : end]))
            position = end + 1
        elif character == "[":
            options: list[Template] = []
            while True:
                option, position = _parse(text, position + 1, "|]")
                options.append(option)
                if position >= len(text):
                    raise ValueError(f"a bracket is not closed in {text!r}")
                if text[position] == "]":
                    break
            nodes.append(tuple(options))
            position += 1
        elif character in "]}":
            raise ValueError(f"a bracket is not opened in {text!r}")
        else:
            end = position
            while end < len(text) and text[end] not in "[]{}" and not (closing and text[end] in closing):
                end += 1
            nodes.append(text[position:end])
            position = end
    return tuple(nodes), position


class Section(NamedTuple):
    """A part of a text file: ``= name word word`` and the lines below it, each with its mark taken off."""

    name: str
    words: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]


@cache
def sections(file: str) -> tuple[Section, ...]:
    """The parts of one of the package's text files (``texts/``); lines that begin with ``#`` are remarks."""
    text = (files("huohou.data.embedded") / "texts" / file).read_text(encoding="utf-8")
    found: list[tuple[list[str], list[tuple[str, str]]]] = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        mark, _, rest = line.partition(" ")
        if mark == "=":
            found.append((rest.split(), []))
        else:
            found[-1][1].append((mark, rest))
    return tuple(Section(header[0], tuple(header[1:]), tuple(lines)) for header, lines in found)


@cache
def _word_lists() -> dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]]:
    """For each word list the names of its properties and its rows; the word itself comes first in a row."""
    lists: dict[str, tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]] = {}
    for section in sections("words.txt"):
        rows = tuple(tuple(word.split("/")) for _, line in section.lines for word in line.split())
        lists[section.name] = (("", *(f".{word}" for word in section.words)), rows)
    return lists


def words(name: str) -> tuple[str, ...]:
    """The words of one list."""
    return tuple(row[0] for row in _word_lists()[name][1])


def rows(name: str) -> tuple[tuple[str, ...], ...]:
    """The words of one list, each with its properties."""
    return _word_lists()[name][1]


class Scene(dict[str, str]):
    """What is true in one document."""

    __slots__ = ("random",)

    def __init__(self, random: Callable[[], float]) -> None:
        super().__init__()
        self.random = random

    def __missing__(self, key: str) -> str:
        root = key.partition(".")[0]
        name = root.rstrip("23456789")
        properties, table = _word_lists()[name]
        taken = {self.get(f"{name}{number}") for number in ("", 2, 3, 4, 5, 6, 7, 8, 9)}
        row = table[int(self.random() * len(table))]
        while row[0] in taken:
            row = table[int(self.random() * len(table))]
        for suffix, value in zip(properties, row, strict=True):
            self[root + suffix] = value
        return self[key]

    def say(self, template: Template) -> str:
        """The sentence that a template becomes in this scene."""
        out: list[str] = []
        self._say(template, out)
        return "".join(out)

    def _say(self, template: Template, out: list[str]) -> None:
        for node in template:
            kind = type(node)
            if kind is str:
                out.append(node)  # pyright: ignore[reportArgumentType]
            elif kind is Slot:
                out.append(self[node])  # pyright: ignore[reportArgumentType]
            else:
                self._say(node[int(self.random() * len(node))], out)  # pyright: ignore[reportArgumentType]

    def pick(self, templates: Sequence[Template]) -> str:
        """One of the templates as a sentence."""
        return self.say(templates[int(self.random() * len(templates))])
