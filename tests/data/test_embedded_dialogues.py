"""The embedded corpus's dialogues: always the same, rightly answered, and apart from what models are scored with."""

from __future__ import annotations

import hashlib
from itertools import islice

import pytest

from huohou.data.dialogue import Dialogue
from huohou.data.embedded import Split, embedded_dialogues, instruction, questions
from huohou.data.embedded.instructions import SCORED
from huohou.data.embedded.score import is_right


def asked(dialogue: Dialogue) -> list[str]:
    return [message["content"] for message in dialogue.messages if message["role"] == "user"]


def test_a_dialogue_depends_on_its_number_alone() -> None:
    many = [one.canonical() for one in embedded_dialogues(3, 50)]
    assert many[:20] == [one.canonical() for one in embedded_dialogues(3, 20)]
    assert many != [one.canonical() for one in embedded_dialogues(4, 50)]
    assert hashlib.sha256("".join(many).encode()).hexdigest()[:12] == "bc4b21ce21c7"


def test_the_key_says_what_it_is() -> None:
    keys = {
        embedded_dialogues(s, n, split).quick_key() for s in (0, 1) for n in (5, 6) for split in ("train", "validation")
    }
    assert len(keys) == 8
    with pytest.raises(ValueError, match="the splits are"):
        embedded_dialogues(0, 1, "test")  # pyright: ignore[reportArgumentType]


def test_no_scored_problem_or_passage_is_asked_and_the_sides_are_apart() -> None:
    scored = {instruction(one) for one in questions(0, SCORED) if one.kind in ("arithmetic", "reading")}
    taught = {instruction(one) for one in questions(0, SCORED) if one.kind in ("fact", "knowledge")}
    sides: list[set[str]] = []
    splits: tuple[Split, ...] = ("train", "validation")
    for split in splits:
        dialogues = list(embedded_dialogues(0, 2000, split))
        assert not {question for one in dialogues for question in asked(one)} & scored
        sides.append({asked(one)[0] for one in dialogues})
    assert not sides[0] & sides[1]
    # Recall is taught: a fact that is asked for may have been asked for in training.
    assert sides[0] & taught


def test_every_answer_is_there_and_short_ones_are_right() -> None:
    answers = {instruction(question): question.answer for question in questions(0, 3000)}
    checked = 0
    for one in islice(embedded_dialogues(0, 3000), 3000):
        assert one.answers and one.answers[-1] == len(one.messages) - 1
        for place in one.answers:
            question, reply = one.messages[place - 1]["content"], one.messages[place]["content"]
            assert reply.strip() == reply and "答：" not in question
            if place == one.answers[0] and question in answers:
                checked += 1
                assert is_right(reply, answers[question])
    assert checked > 50


def test_an_instruction_is_the_question_without_its_marks() -> None:
    for question in questions(0, 40):
        assert question.prompt.startswith(instruction(question).rpartition("\n")[0])
        assert not set("问：答：") <= set(instruction(question)[:2])
