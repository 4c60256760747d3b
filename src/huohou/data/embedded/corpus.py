"""The documents of the embedded corpus."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, count
from typing import NamedTuple

from huohou.data.embedded.arithmetic import PROBLEMS, draw_problem, form, forms
from huohou.data.embedded.draw import SPLITS, Draw, Split, split_of
from huohou.data.embedded.knowledge import topics
from huohou.data.embedded.questions import KINDS, ask, cast, read
from huohou.data.embedded.stories import introduce, play
from huohou.data.embedded.templates import Scene
from huohou.data.embedded.world import World, world

GENERATOR_VERSION = 1
"""Raised when a seed gives another text than before; part of the key of what was made from it."""


def documents(
    seed: int, characters: int | None = None, documents: int | None = None, split: Split = "train"
) -> Iterator[str]:
    """The documents of a seed, one after the other, without end unless a bound is given.

    ``characters`` ends the stream with the document that reaches this many characters, ``documents`` after this many
    documents, both with whichever comes first. Document i of a seed and split is always the same, however many are
    asked for. The two splits share the facts of the seed's world and no document, problem or passage.
    """
    if split not in SPLITS:
        raise ValueError(f"the splits are {' and '.join(SPLITS)}, not {split!r}")
    of = world(seed)
    numbers = count() if documents is None else range(documents)
    return _documents(seed, of, characters, numbers, split)


def _documents(seed: int, of: World, characters: int | None, numbers: Iterable[int], split: Split) -> Iterator[str]:
    written = 0
    for number in numbers:
        if characters is not None and written >= characters:
            return
        text = document(seed, number, split, of)
        written += len(text)
        yield text


def document(seed: int, number: int, split: Split, of: World) -> str:
    """The document with this number, counted from 0."""
    draw = Draw(seed, 2 + SPLITS.index(split), number)
    kind = _KINDS[bisect_right(_SHARES, draw.random() * _SHARES[-1])]
    while True:
        text = kind.write(draw, of, split)
        if kind.divided or split_of(text) == split:
            return text


def completions(seed: int, count: int) -> list[str]:
    """Beginnings of stories for a model to go on with; the stories are of the validation split."""
    draw, of = Draw(seed, 4, 0), world(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        story = play(draw, of, "stories.txt")
        if split_of(story) == "validation":
            paragraph = story.partition("\n")[0]
            ends = [place for place, character in enumerate(paragraph, 1) if character == "。"]
            if len(ends) > 1:
                # A prompt that ends where a sentence has just begun shows more than one that ends with a full stop.
                found[paragraph[: draw.pick(ends[:-1][:2]) + draw.between(2, 6)]] = None
    return list(found)


def _story(draw: Draw, of: World, split: Split) -> str:
    return play(draw, of, "stories.txt")


def _everyday(draw: Draw, of: World, split: Split) -> str:
    return play(draw, of, "everyday.txt")


def _portrait(draw: Draw, of: World, split: Split) -> str:
    subject = draw.pick(of.subjects)
    text = introduce(draw, subject, draw.between(3, 6))
    if subject.kind != "town" and draw.below(2):
        other = of.friend(subject) if draw.below(2) else of.other(draw, "any", subject)
        text += "\n" + introduce(draw, other, draw.between(2, 4))
    return text


def _facts(draw: Draw, of: World, split: Split) -> str:
    """Questions about the world, often several about one person."""
    if draw.below(2):
        return "\n".join(ask(draw, of, split, "fact").text for _ in range(draw.between(2, 6)))
    subject = draw.pick(of.subjects)
    scene = Scene(draw.random)
    subject.play(scene)
    asked: list[str] = []
    for relation in draw.sample(subject.relations, draw.between(3, 6)):
        question, answer = draw.pick(relation.questions)
        asked.append(f"问：{scene.say(question)}\n答：{scene.say(answer)}。")
    return "\n".join(asked)


def _quiz(draw: Draw, of: World, split: Split) -> str:
    """Questions of all kinds but reading, which has documents of its own."""
    return "\n".join(ask(draw, of, split, draw.pick(KINDS[:3])).text for _ in range(draw.between(2, 6)))


def _reading(draw: Draw, of: World, split: Split) -> str:
    parts: list[str] = []
    for _ in range(draw.between(1, 2)):
        scene, passage, pairs = read(draw, of, split)
        asked = draw.sample(pairs, draw.between(1, 3))
        parts.append(passage + "\n".join(f"问：{scene.say(q)}\n答：{scene.say(a)}。" for q, a in asked))
    return "\n".join(parts)


def _sums(draw: Draw, of: World, split: Split) -> str:
    """Arithmetic: said, told with its working, or asked."""
    shape = draw.below(4)
    if shape == 0:
        return "\n".join(ask(draw, of, split, "arithmetic").text for _ in range(draw.between(3, 8)))
    kind = draw.pick(PROBLEMS)
    scene = Scene(draw.random)
    cast(draw, of, scene)
    lines: list[str] = []
    if shape == 1:
        for _ in range(draw.between(2, 4)):
            problem = draw_problem(draw, split, kind)
            problem.pose(scene)
            lines.append(scene.pick(form(problem).worked))
        return "\n".join(lines)
    wording = draw.pick(forms()[kind, False].statements)
    for _ in range(draw.between(5, 16)):
        draw_problem(draw, split, kind).pose(scene)
        lines.append(scene.say(wording))
    return "\n".join(lines) if shape == 2 else "，".join(lines) + "。"


def _knowledge(draw: Draw, of: World, split: Split) -> str:
    """Common knowledge: a list, sentences, or questions."""
    topic = draw.pick(topics())
    scene = Scene(draw.random)
    shape = draw.below(3)
    lines: list[str] = []
    for row in draw.sample(topic.rows, draw.between(4, 10)):
        scene.update(row)
        if shape == 0:
            lines.append(scene.say(topic.line))
        elif shape == 1:
            lines.append(scene.pick(topic.statements))
        else:
            question, answer = draw.pick(topic.questions)
            lines.append(f"问：{scene.say(question)}\n答：{scene.say(answer)}。")
    if shape == 0:
        lines.insert(0, scene.say(topic.heading))
    return ("" if shape == 1 else "\n").join(lines)


class _Kind(NamedTuple):
    """A kind of document: how often, how it is written, and whether what it holds belongs to one split already."""

    share: int
    write: Callable[[Draw, World, Split], str]
    divided: bool


_KINDS = (
    _Kind(26, _story, False),
    _Kind(18, _everyday, False),
    _Kind(15, _portrait, False),
    _Kind(15, _facts, False),
    _Kind(10, _quiz, False),
    _Kind(12, _reading, True),
    _Kind(10, _sums, True),
    _Kind(10, _knowledge, False),
)
_SHARES = list(accumulate(kind.share for kind in _KINDS))
