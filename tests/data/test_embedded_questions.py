"""Questions and their score: every answer is recomputed here without the generator's help."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huohou.data.embedded import KINDS, Question, documents, questions, score
from huohou.data.embedded.draw import split_of
from huohou.data.embedded.score import is_right, wilson
from huohou.data.embedded.world import world

DIGITS = "零一二三四五六七八九"


def number(text: str) -> int:
    """A number below a hundred and one, in digits or in words."""
    if text.isdigit():
        return int(text)
    if text == "一百":
        return 100
    text = text.replace("两", "二")
    tens, ten, ones = text.rpartition("十")
    return (DIGITS.index(tens) if tens else 1) * 10 * bool(ten) + (DIGITS.index(ones) if ones else 0)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_answers_of_arithmetic_are_right(split: str) -> None:
    asked = [q for q in questions(1, 1600, split) if q.kind == "arithmetic"]  # pyright: ignore[reportArgumentType]
    seen: Counter[str] = Counter()
    for question in asked:
        text = re.sub("一共|一本书|两天|百合|百灵鸟", "", question.prompt)
        numbers = [number(found) for found in re.findall(r"\d+|[一二三四五六七八九十两百]+", text)]
        if re.search(r"还剩|减|-|还有多少|没读", text):
            kind, right = "take", numbers[0] - numbers[1]
        elif re.search("下一个数", text):
            numbers = numbers[:3]
            kind, right = "count", 2 * numbers[2] - numbers[1]
            assert numbers[2] - numbers[1] == numbers[1] - numbers[0]
        elif re.search("哪个大|多的", text):
            kind, right = "larger", max(numbers[:2])
        elif "哪个小" in text:
            kind, right = "smaller", min(numbers[:2])
        else:
            kind, right = "add", numbers[0] + numbers[1]
        seen[kind] += 1
        answer = re.match(r"\d+|[零一二三四五六七八九十两百]+", question.answer)
        assert answer and number(answer[0]) == right, question.text
    assert len(seen) == 5 and min(seen.values()) > 5


def test_answers_about_the_world_are_right() -> None:
    of = world(1)
    tests = {
        r"(\w+)住在哪里": "home", r"(\w+)今年多少岁": "age", r"(\w+)的生日在几月": "month", r"(\w+)的工作是什么": "job",
        r"(\w+)是做什么工作的": "job", r"(\w+)在哪里工作": "work", r"(\w+)长大以后想当什么": "dream",
        r"(\w+)最喜欢吃什么": "food", r"(\w+)的爱好是什么": "hobby", r"(\w+)养了什么动物": "pet",
        r"(\w+)的\w+叫什么名字": "petname", r"(\w+)的\w+是什么颜色的": "colour", r"(\w+)每天怎么去\w+": "way",
        r"(\w+)最好的朋友是谁": "friend", r"(\w+)的爸爸是谁": "father", r"(\w+)的妈妈是谁": "mother",
        r"(\w+)旁边的河叫什么": "river", r"(\w+)北边的山叫什么": "hill", r"(\w+)盛产什么": "product",
        r"(\w+)有名的景点是什么": "mark", r"(\w+)最好的饭馆叫什么": "shop",
    }  # fmt: skip
    owners = {person.facts["petname"]: person for person in of.groups["pet"]}
    asked = [q for q in questions(1, 1600) if q.kind == "fact"]
    seen: Counter[str] = Counter()
    for question in asked:
        text = question.prompt[2:-4]
        if (pet := re.fullmatch(r"(\w+)(是谁养的|是什么颜色的)", text)) and pet[1] in owners:
            right = owners[pet[1]].name if pet[2] == "是谁养的" else owners[pet[1]].facts["coat"]
            seen["owner"] += 1
        else:
            (fact, match), *_ = ((f, m) for pattern, f in tests.items() if (m := re.fullmatch(pattern, text)))
            right = of.by_name[match[1]].facts[fact] + ("岁" if fact == "age" else "")
            seen[fact] += 1
        assert question.answer == right, question.text
    assert len(seen) > 18


def test_answers_of_common_knowledge_are_right() -> None:
    weekdays = ["星期" + day for day in "一二三四五六日"]
    months = [month + "月" for month in ("一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二")]
    table = (files("huohou.data.embedded") / "texts" / "knowledge.txt").read_text(encoding="utf-8")
    rows = [row for line in table.splitlines() if line.startswith("- ") for row in line[2:].split()]
    computed = looked_up = 0
    for question in (q for q in questions(1, 2400) if q.kind == "knowledge"):
        text, answer = question.prompt[2:-3], question.answer
        if product := re.fullmatch(r"(\d)[×乘](\d)等于多少？", text):
            assert int(answer) == int(product[1]) * int(product[2])
            computed += 1
        elif day := re.fullmatch(r"(\w{3})的(后|前)一天是星期几？", text):
            assert weekdays[(weekdays.index(day[1]) + (1 if day[2] == "后" else -1)) % 7] == answer
            computed += 1
        elif month := re.fullmatch(r"(\w+)的(下|上)一个月是几月？", text):
            assert months[(months.index(month[1]) + (1 if month[2] == "下" else -1)) % 12] == answer
            computed += 1
        else:
            # What was asked about and the answer stand side by side in the table of what is known.
            found = [row.split("/") for row in rows if answer in row.split("/")]
            subjects = {field for row in found for field in row if field != answer}
            assert any(subject in text for subject in subjects), question.text
            looked_up += 1
    assert computed > 30 and looked_up > 200


def test_answers_of_reading_stand_in_the_passage() -> None:
    checks = (
        (r"(\w+)把(\w+)放在哪里", r"把{1}放在(.+?)(?:，|。|$)"),
        (r"(\w+)的(\w+)是什么颜色的", r"{0}穿[了着](?:一\w)?(\w色)的{1}"),
        (r"(\w+)多少钱一斤", r"{0}卖?(\w元)一斤"),
        (r"(\w+)(星期\w)去哪里", r"{1}，?(?:\w+要)?去(\w+?)[，。；]"),
        (r"(\w+)做什么", r"{0}负责(\w+)[，。]"),
        (r"(星期\w)是什么天气", r"{0}是(\w+)[，。]"),
        (r"(左|右)边是什么花", r"{0}边的?是(\w+)[，。]"),
    )
    asked = [q for q in questions(1, 2400) if q.kind == "reading"]
    seen: Counter[str] = Counter()
    for question in asked:
        passage, _, rest = question.prompt.partition("\n")
        assert question.answer in passage
        assert rest.startswith("问：") and rest.endswith("？\n答：")
        for asking, telling in checks:
            if (match := re.fullmatch(asking, rest[2:-4])) and (
                found := re.search(telling.format(*match.groups()), passage)
            ):
                assert found[1] == question.answer, question.text
                seen[asking] += 1
    assert len(seen) == len(checks)


@pytest.mark.parametrize("seed", [1, 7])
def test_questions_are_different_balanced_and_repeatable(seed: int) -> None:
    asked = questions(seed, 200)
    assert len({q.prompt for q in asked}) == len(asked) == 200
    assert asked == questions(seed, 200) and asked[:40] == questions(seed, 40)
    kinds = Counter(q.kind for q in asked)
    assert set(kinds) == set(KINDS) and min(kinds.values()) >= 45


def test_where_facts_run_out_other_questions_take_their_place() -> None:
    assert len(questions(1, 3000)) == 3000


def test_problems_and_passages_of_validation_are_not_met_in_training() -> None:
    text = "\n".join(documents(1, characters=600_000))
    for question in questions(1, 400):
        if question.kind == "reading":
            passage = question.prompt.partition("\n")[0]
            assert passage not in text and split_of(passage) == "validation"
        elif question.kind == "arithmetic":
            assert question.prompt not in text
    taught = [q for q in questions(1, 400) if q.kind in ("fact", "knowledge")]
    # Asked in exactly the words of the corpus, facts are met often; that is what makes the score move early.
    assert sum(q.text in text for q in taught) > 0.8 * len(taught)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("八。", "八"), ("8", "八"), ("８。", "8"), ("八个。\n问：", "8个"), ("两个", "2个"), ("二十一", "21"),
        ("21 。", "二十一"), ("  红色", "红色"), ("红 色，真好看", "红色"), ("Apple!", "apple"),
        ("ＡＰＰＬＥ", "apple"), ("柳河村\n\n问：", "柳河村"), ("十二月。", "12月"), ("红色", "红色。"),
        ("8个 苹果", "8个"), ("一百度。", "100度"), ("“", "“"), ("8。5", "8"), ("\u200b红\u200b色", "红色"),
    ],
)  # fmt: skip
def test_right_replies(reply: str, answer: str) -> None:
    assert is_right(reply, answer)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("", "八"), ("。", "八"), ("九", "八"), ("80", "8"), ("八十", "八"), ("十八", "八"), ("8.5", "8"),
        ("8,000", "8"), ("8:30", "8"), ("8-10", "8"), ("8/2", "8"), ("8%", "8"), ("8²", "8"), ("8\u200b9", "8"),
        ("1 2", "12"), ("-8", "8"), ("不是红色", "红色"), ("红色的", "红色"), ("红色、蓝色", "红色"), ("apples", "apple"),
        ("an apple", "apple"), ("good bye", "goodbye"), ("红\n色", "红色"), ("答：红色", "红色"), ("8+1", "8"),
        ("8=8", "8"), ("½", "1"), ("8万", "8"), ("\x00八", "八"), ("x" * 100_000, "x"), ("八", ""), ("", ""),
        ("。", "。"), (".*", "红色"), ("红", "."),
    ],
)  # fmt: skip
def test_wrong_replies(reply: str, answer: str) -> None:
    assert not is_right(reply, answer)


ANSWERS = st.sampled_from([q.answer for q in questions(1, 120)])


@given(ANSWERS, st.text(max_size=20))
def test_a_right_answer_on_its_own_line_is_right_whatever_follows(answer: str, rest: str) -> None:
    assert is_right(f"{answer}。\n{rest}", answer)


@given(ANSWERS, st.characters(categories=["Lu", "Ll", "Lo", "Nd"]))
def test_an_answer_that_goes_on_is_wrong(answer: str, more: str) -> None:
    assert not is_right(answer + more, answer)


@given(st.text(max_size=40), st.text(max_size=10))
def test_no_reply_breaks_the_scorer(reply: str, answer: str) -> None:
    assert is_right(reply, answer) in (True, False)


def test_the_score_counts_by_kind() -> None:
    asked = [Question("", "八", "arithmetic"), Question("", "红色", "fact"), Question("", "蓝色", "fact")]
    result = score(["8。", "红色", "红色"], asked)
    assert (result.right, result.total, result.share) == (2, 3, 2 / 3)
    assert result.by_kind == {"arithmetic": (1, 1), "fact": (1, 2)}
    assert result.interval == wilson(2, 3)
    every = questions(1, 200)
    assert score([q.answer for q in every], every).share == 1.0
    # Answers that belong to other questions are hardly ever right.
    assert score([q.answer for q in every[1:]] + [""], every).share < 0.02
    with pytest.raises(ValueError, match="1 answers cannot be scored against 3 questions"):
        score(["8"], asked)
    with pytest.raises(ValueError, match="0 answers"):
        score([], [])


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(5, 10, 0.2366, 0.7634), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_intervals(right: int, total: int, low: float, high: float) -> None:
    """The last row is the example of Newcombe 1998, table I, without continuity correction."""
    assert wilson(right, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share_and_stays_a_share(counts: tuple[int, int]) -> None:
    right, total = counts
    low, high = wilson(right, total)
    assert 0.0 <= low <= right / total <= high <= 1.0 and low < high
