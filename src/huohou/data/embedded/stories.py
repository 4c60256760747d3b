"""Stories, dialogues, diaries, letters, notices and lists: scripts with beats, played by the people of a world."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from huohou.data.embedded.draw import Draw
from huohou.data.embedded.templates import Scene, Template, parse, sections
from huohou.data.embedded.world import Subject, World


class Beat(NamedTuple):
    """A step of a script: where it stands (-, +, ?, * or @ as in ``texts/stories.txt``) and its wordings."""

    mark: str
    wordings: tuple[Template, ...]
    about: str


class Script(NamedTuple):
    """A kind of text, who its hero and its third person may be, and its beats."""

    name: str
    hero: str
    third: str
    beats: tuple[Beat, ...]


@cache
def scripts(file: str) -> tuple[Script, ...]:
    """The scripts of ``texts/stories.txt`` or ``texts/everyday.txt``."""
    found: list[Script] = []
    for section in sections(file):
        beats: list[Beat] = []
        for mark, line in section.lines:
            if mark == "|":
                beats[-1] = beats[-1]._replace(wordings=(*beats[-1].wordings, parse(line)))
            elif mark == "@":
                beats.append(Beat(mark, (), line))
            else:
                beats.append(Beat(mark, (parse(line),), ""))
        found.append(Script(section.name, section.words[0], (*section.words, "any")[1], tuple(beats)))
    return tuple(found)


def play(draw: Draw, of: World, file: str) -> str:
    """One of a file's scripts, played by people (or about a town) of the world."""
    script = draw.pick(scripts(file))
    scene = Scene(draw.random)
    hero = draw.pick(of.groups[script.hero])
    hero.play(scene, "A")
    if hero.kind == "town":
        friend = hero
    else:
        friend = of.friend(hero)
        friend.play(scene, "B")
        of.other(draw, script.third, hero, friend).play(scene, "C")
    out: list[str] = []
    for mark, wordings, about in script.beats:
        if mark in "?*" and draw.below(3) == 0:
            continue
        if mark == "@":
            out.append(introduce(draw, friend if about == "B" else hero, draw.pick((0, 1, 2, 2))))
            continue
        if mark in "+*":
            out.append("\n")
        out.append(scene.pick(wordings))
    return "".join(out).lstrip("\n")


def introduce(draw: Draw, subject: Subject, count: int) -> str:
    """This many facts about a person or a town, the first with the name, the others following it."""
    scene = Scene(draw.random)
    subject.play(scene)
    out: list[str] = []
    for relation in draw.sample(subject.relations, count):
        first = relation.alone if count == 1 else relation.statements
        out.append(scene.pick(relation.following if out else first))
    return "".join(out)
