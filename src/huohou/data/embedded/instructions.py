"""Dialogues of the embedded corpus: its questions asked and answered, people introduced, stories told and gone on with.

Problems and passages of one split are never met in the other, no wording of a question about facts or common knowledge
is in both, and of the first :data:`SCORED` questions that models are scored with no problem or passage is in either.
Facts and common knowledge are taught here as they are in the documents, so such questions may be met in training.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from huohou.data.dialogue import Dialogue, GeneratedDialogues, Message, make_dialogue
from huohou.data.embedded.draw import SPLITS, Draw, Split, split_of
from huohou.data.embedded.questions import Question, ask, questions, read
from huohou.data.embedded.stories import introduce, play
from huohou.data.embedded.templates import Scene
from huohou.data.embedded.world import World, world

INSTRUCTIONS_VERSION = 2
"""Raised when a seed gives other dialogues than before; part of the key of what was made from them."""
SCORED = 1000
"""Of so many scored questions the problems and passages are kept out of the dialogues."""

_SYSTEMS = ("你是一个乐于助人的助手。", "请用一句话回答。", "请简短地回答问题。")


def instruction(question: Question) -> str:
    """A question as a person asks it in a dialogue: the passage, if there is one, and the question itself."""
    return question.prompt.replace("问：", "").removesuffix("\n答：")


def embedded_dialogues(seed: int, count: int, split: Split = "train") -> GeneratedDialogues:
    """So many dialogues of a seed; dialogue i of a seed and split is always the same, however many are asked for."""
    if split not in SPLITS:
        raise ValueError(f"the splits are {' and '.join(SPLITS)}, not {split!r}")

    def make() -> Iterator[Dialogue]:
        of = world(seed)
        for number in range(count):
            yield _dialogue(seed, number, split, of)

    return GeneratedDialogues(make, f"embedded {INSTRUCTIONS_VERSION} {seed} {count} {split}")


def _dialogue(seed: int, number: int, split: Split, of: World) -> Dialogue:
    draw = Draw(seed, 5 + SPLITS.index(split), number)
    kind = _KINDS[bisect_right(_SHARES, draw.random() * _SHARES[-1])]
    scored = _scored(seed)
    while True:
        pairs = kind.write(draw, of, split)
        asked = "\n".join(question for question, _ in pairs)
        ours = kind.divided or split_of(asked) == split
        if pairs and ours and not any(question in scored for question, _ in pairs):
            break
    messages: list[Message] = []
    if draw.below(5) == 0:
        messages.append({"role": "system", "content": draw.pick(_SYSTEMS)})
    for question, answer in pairs:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return make_dialogue(messages, place=f"embedded {split} {number}")


@lru_cache(maxsize=8)
def _scored(seed: int) -> frozenset[str]:
    found = questions(seed, SCORED)
    return frozenset(instruction(question) for question in found if question.kind in ("arithmetic", "reading"))


Pairs = list[tuple[str, str]]


def _question(draw: Draw, of: World, split: Split) -> Pairs:
    """A fact or something commonly known."""
    question = ask(draw, of, split, draw.pick(("fact", "knowledge")))
    return [(instruction(question), question.answer + "。")]


def _divided(draw: Draw, of: World, split: Split) -> Pairs:
    """A problem or a passage, which belong to one split already."""
    question = ask(draw, of, split, draw.pick(("arithmetic", "reading")))
    return [(instruction(question), question.answer + "。")]


def _about(draw: Draw, of: World, split: Split) -> Pairs:
    """Several questions about one person or town; each wording of a question is of one split."""
    subject = draw.pick(of.subjects)
    scene = Scene(draw.random)
    subject.play(scene)
    pairs: Pairs = []
    wanted = draw.between(2, 4)
    for relation in draw.sample(subject.relations, len(subject.relations)):
        said = [(scene.say(question), scene.say(answer) + "。") for question, answer in relation.questions]
        ours = [pair for pair in said if split_of(pair[0]) == split]
        if ours and len(pairs) < wanted:
            pairs.append(draw.pick(ours))
    return pairs


def _passage(draw: Draw, of: World, split: Split) -> Pairs:
    """A passage, then several questions about it."""
    scene, passage, asked = read(draw, of, split)
    pairs: Pairs = []
    for question, answer in draw.sample(asked, draw.between(2, 3)):
        pairs.append((("" if pairs else passage) + scene.say(question), scene.say(answer) + "。"))
    return pairs


def _introduction(draw: Draw, of: World, split: Split) -> Pairs:
    subject = draw.pick(of.subjects)
    wording = draw.pick(("介绍一下{}。", "请介绍{}。", "说说{}的情况。", "你知道{}吗？请讲一讲。"))
    return [(wording.format(subject.name), introduce(draw, subject, draw.between(2, 5)))]


def _story(draw: Draw, of: World, split: Split) -> Pairs:
    """A story told, or the rest of one whose first sentence is given."""
    story = play(draw, of, draw.pick(("stories.txt", "everyday.txt")))
    first, _, rest = story.partition("。")
    if rest.strip():
        wording = draw.pick(("请把下面的故事接着写下去：\n{}", "接着写：\n{}", "续写这段话：\n{}"))
        return [(wording.format(first + "。"), rest.strip())]
    return [(draw.pick(("请写一小段话。", "写一段短文。")), story)]


class _Kind(NamedTuple):
    """A kind of dialogue: how often, how it is written, and whether what it holds belongs to one split already."""

    share: int
    write: Callable[[Draw, World, Split], Pairs]
    divided: bool


_KINDS = (
    _Kind(30, _question, False),
    _Kind(30, _divided, True),
    _Kind(12, _about, True),
    _Kind(12, _passage, True),
    _Kind(8, _introduction, False),
    _Kind(8, _story, False),
)
_SHARES = list(accumulate(kind.share for kind in _KINDS))
