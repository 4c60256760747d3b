"""Questions whose right answer is known, in exactly the words in which the corpus asks and answers them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from huohou.data.embedded.arithmetic import draw_problem, form
from huohou.data.embedded.draw import Draw, Split, split_of
from huohou.data.embedded.knowledge import topics
from huohou.data.embedded.templates import Scene, Template, sections
from huohou.data.embedded.world import ROLES, World, asked, marked, world

KINDS = ("arithmetic", "fact", "knowledge", "reading")
"""What a question can rest on: a problem, a fact of the seed's world, common knowledge, the passage before it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that ends where the answer begins, the answer (without the 。 that follows it), and its kind."""

    prompt: str
    answer: str
    kind: str

    @property
    def text(self) -> str:
        """Question and answer as they stand in the corpus."""
        return f"{self.prompt}{self.answer}。"


def questions(seed: int, count: int, split: Split = "validation") -> list[Question]:
    """Different questions about the world of a seed, as many of each kind as the count allows.

    Problems and passages of one split are never met in the other split's documents or questions. Facts and common
    knowledge are what the documents of both splits teach, so those questions may be met in training.
    """
    draw, of = Draw(seed, 1, int(split == "validation")), world(seed)
    found: dict[str, Question] = {}
    while len(found) < count:
        question = ask(draw, of, split, KINDS[len(found) % len(KINDS)])
        if question.prompt in found:
            # Facts and knowledge are finite; where they run out, another kind takes the place.
            question = ask(draw, of, split, draw.pick(KINDS))
        found.setdefault(question.prompt, question)
    return list(found.values())


def ask(draw: Draw, of: World, split: Split, kind: str) -> Question:
    """One question of a kind."""
    scene = Scene(draw.random)
    passage = ""
    if kind == "fact":
        subject = draw.pick(of.subjects)
        subject.play(scene)
        pairs = draw.pick(subject.relations).questions
    elif kind == "knowledge":
        topic = draw.pick(topics())
        scene.update(draw.pick(topic.rows))
        pairs = topic.questions
    elif kind == "arithmetic":
        cast(draw, of, scene)
        problem = draw_problem(draw, split)
        problem.pose(scene)
        pairs = form(problem).questions
    else:
        scene, passage, pairs = read(draw, of, split)
    question, answer = draw.pick(pairs)
    prompt = f"{passage}问：{scene.say(question)}\n答："
    return Question(prompt, scene.say(answer), kind)


def cast(draw: Draw, of: World, scene: Scene) -> None:
    """Give the three parts of a scene to three people."""
    for role, person in zip(ROLES, draw.sample(of.people, 3), strict=True):
        person.play(scene, role)


class Passage(NamedTuple):
    """How a small situation is told, and what can be asked about it."""

    tellings: tuple[Template, ...]
    questions: tuple[tuple[Template, Template], ...]


@cache
def passages() -> tuple[Passage, ...]:
    """All situations, from ``texts/reading.txt``."""
    return tuple(Passage(marked(section, "p"), asked(section)) for section in sections("reading.txt"))


def read(draw: Draw, of: World, split: Split) -> tuple[Scene, str, tuple[tuple[Template, Template], ...]]:
    """A passage of the split (it ends its line), the scene it tells, and the questions about it."""
    while True:
        scene = Scene(draw.random)
        cast(draw, of, scene)
        passage = draw.pick(passages())
        text = scene.pick(passage.tellings)
        if split_of(text) == split:
            return scene, text + "\n", passage.questions
