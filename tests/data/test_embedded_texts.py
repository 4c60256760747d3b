"""The text files behind the embedded corpus: every slot can be filled, every list is used, every fact is one fact."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huohou.data.embedded.arithmetic import forms
from huohou.data.embedded.knowledge import topics
from huohou.data.embedded.numerals import counted, spoken, with_digits
from huohou.data.embedded.questions import passages
from huohou.data.embedded.stories import scripts
from huohou.data.embedded.templates import Scene, Slot, Template, parse, rows, sections, words
from huohou.data.embedded.world import Subject, relations, world

WORD_LISTS = {section.name: {section.name + "".join(f".{w}" for w in [word]) for word in section.words} | {section.name}
              for section in sections("words.txt")}  # fmt: skip


def slots(template: Template) -> Iterator[str]:
    """Every slot of a template, in all its choices."""
    for node in template:
        if isinstance(node, Slot):
            yield str(node)
        elif not isinstance(node, str):
            for option in node:
                yield from slots(option)


def missing(template: Template, parts: dict[str, tuple[Subject, ...]], given: set[str]) -> list[str]:
    """The slots that some scene could not fill."""
    wrong: list[str] = []
    for slot in slots(template):
        root, _, fact = slot.partition(".")
        if root in parts:
            if fact and not all(fact in subject.facts for subject in parts[root]):
                wrong.append(slot)
        elif slot not in given:
            name = root.rstrip("23456789")
            if name not in WORD_LISTS or (name + ("." + fact if fact else "")) not in WORD_LISTS[name]:
                wrong.append(slot)
    return wrong


OF = world(1)
ANYBODY = {"A": OF.people, "B": OF.people, "C": OF.people}
NUMBERS = {prefix + letter for prefix in ("", "s", "n") for letter in "abcd"}


@pytest.mark.parametrize("file", ["stories.txt", "everyday.txt"])
def test_every_script_can_be_played_by_everybody_who_may(file: str) -> None:
    for script in scripts(file):
        heroes = OF.groups[script.hero]
        parts = {"A": heroes}
        if script.hero != "town":
            parts |= {"B": tuple(OF.friend(hero) for hero in heroes), "C": OF.groups[script.third]}
        assert script.beats[0].mark in "-+@", script.name
        for beat in script.beats:
            assert beat.mark in "-+?*@", script.name
            for template in beat.wordings:
                assert not missing(template, parts, set()), script.name


def test_every_relation_passage_problem_and_topic_can_be_said() -> None:
    for relation in relations():
        subjects = tuple(subject for subject in OF.subjects if relation in subject.relations)
        asked = [part for pair in relation.questions for part in pair]
        assert subjects and relation.statements and relation.following and relation.questions
        for template in (*relation.alone, *relation.following, *asked):
            assert not missing(template, {"A": subjects}, set()), relation.name
    for passage in passages():
        for template in (*passage.tellings, *(part for pair in passage.questions for part in pair)):
            assert not missing(template, ANYBODY, set())
    for kind, form in forms().items():
        for template in (*form.statements, *form.worked, *(part for pair in form.questions for part in pair)):
            assert not missing(template, ANYBODY, NUMBERS), kind
    for topic in topics():
        asked = [part for pair in topic.questions for part in pair]
        for template in (topic.heading, topic.line, *topic.statements, *asked):
            assert not missing(template, {}, set(topic.rows[0])), topic.name


def test_every_passage_tells_what_its_questions_ask_for() -> None:
    """An answer made of slots that a telling lacks could not be found by a reader."""
    for passage in passages():
        needed = {slot for _, answer in passage.questions for slot in slots(answer)}
        for telling in passage.tellings:
            assert needed <= set(slots(telling)), passage


def test_every_word_list_is_used_and_repeats_nothing() -> None:
    used: set[str] = set()
    for file in ("stories.txt", "everyday.txt", "reading.txt", "arithmetic.txt"):
        for section in sections(file):
            for mark, line in section.lines:
                for part in line.split(" -> ") if mark != "@" else ():
                    used |= {slot.partition(".")[0].rstrip("23456789") for slot in slots(parse(part))}
    for name in WORD_LISTS:
        assert name in used, name
        assert len(set(words(name))) == len(words(name)), name
        assert len({len(row) for row in rows(name)}) == 1, name


def test_no_question_of_common_knowledge_has_two_answers() -> None:
    answers: dict[str, str] = {}
    for topic in topics():
        for row in topic.rows:
            scene = Scene(lambda: 0.0)
            scene.update(row)
            for question, answer in topic.questions:
                asked, right = scene.say(question), scene.say(answer)
                assert answers.setdefault(asked, right) == right, asked


@pytest.mark.parametrize("text", ["[一|二", "一]", "{甲", "}"])
def test_a_broken_template_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_choices_slots_and_what_was_drawn() -> None:
    numbers = iter([0.0, 0.99, 0.5, 0.1, 0.5, 0.1, 0.1, 0.9, 0.9, 0.3])
    scene = Scene(lambda: next(numbers))
    assert scene.say(parse("[甲|乙[丙|丁]|]")) == "甲"
    assert scene.say(parse("[甲|乙[丙|丁]|]")) == ""
    assert scene.say(parse("[甲|乙[丙|丁]|]")) == "乙丙"
    fruit, measure = scene["fruit"], scene["fruit.m"]
    assert (fruit, measure) in rows("fruit")
    assert scene.say(parse("{fruit}{fruit.m}")) == fruit + measure
    others = {scene[f"fruit{number}"] for number in (2, 3, 4)}
    assert len(others | {fruit}) == 4


@pytest.mark.parametrize(
    ("number", "word"),
    [(0, "零"), (2, "二"), (10, "十"), (11, "十一"), (20, "二十"), (99, "九十九"), (100, "一百"), (105, "一百零五"),
     (110, "一百一十"), (1000, "一千"), (1005, "一千零五"), (1050, "一千零五十"), (9999, "九千九百九十九")],
)  # fmt: skip
def test_numbers_are_spoken(number: int, word: str) -> None:
    assert spoken(number) == word
    assert with_digits(word) == str(number)


@given(st.integers(0, 9999))
def test_spoken_numbers_come_back(number: int) -> None:
    assert with_digits(f"有{spoken(number)}个") == f"有{number}个"


def test_other_numerals() -> None:
    assert [counted(2, "个"), counted(12, "只"), counted(22, "")] == ["两个", "十二只", "二十二"]
    assert with_digits("两百零二，二〇二六年，三万五千，百合，万一") == "202，2026年，35000，百合，万1"
    with pytest.raises(ValueError, match="not 10000"):
        spoken(10_000)
