"""Multiple choice: the files as they are met, the score as a plain loop gives it, groups and intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from huohou.data.chat_template import open_template
from huohou.data.embedded.score import wilson
from huohou.errors import UserError
from huohou.evaluate import choices as module
from huohou.evaluate.bank import LETTERS, Bank, Kind, Question, read_bank
from huohou.evaluate.choices import By, Tally, choose
from huohou.evaluate.subjects import CEVAL, CHINA, CMMLU, GROUPS, STEM, subject_of
from huohou.model.opening import Opened


def table(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def question(number: int, answer: str = "B") -> list[str]:
    return [
        f'第{number}题，“引号”，逗号,和"双引号"？',
        f"甲{number}",
        f"乙{number}\n换行",
        f"丙{number}",
        f"丁{number}",
        answer,
    ]


def ceval(folder: Path, subjects: Sequence[str] = ("logic", "law"), count: int = 3) -> Path:
    for part, header in (("dev", ["explanation"]), ("val", []), ("test", [])):
        (folder / part).mkdir(parents=True)
        for subject in subjects:
            head = ["id", "question", *LETTERS, *([] if part == "test" else ["answer"]), *header]
            rows = [
                [
                    str(i),
                    *(question(i)[:5] if part == "test" else question(i, LETTERS[i % 4])),
                    *(["因为。"] if header else []),
                ]
                for i in range(5 if part == "dev" else count)
            ]
            (folder / part / f"{subject}_{part}.csv").write_text(table([head, *rows]), encoding="utf-8")
    return folder


def cmmlu(folder: Path) -> Path:
    for part, count in (("dev", 5), ("test", 4)):
        (folder / part).mkdir(parents=True)
        for subject in ("anatomy", "chinese_history"):
            rows = [
                ["", "Question", *LETTERS, "Answer"],
                *([str(i), *question(i, LETTERS[i % 4])] for i in range(count)),
            ]
            (folder / part / f"{subject}.csv").write_text(table(rows), encoding="utf-8-sig")
    return folder


def test_the_tables_are_whole() -> None:
    assert (len(CEVAL), len(CMMLU)) == (52, 67)
    counts = [sum(s.group == group for s in CEVAL.values()) for group in list(GROUPS)[:4]]
    assert counts == [20, 10, 11, 11]
    assert sum(s.china for s in CMMLU.values()) == 15
    assert len({s.name for s in CEVAL.values()}) == 52
    assert subject_of(CMMLU, "chinese_history").groups() == ("humanities", CHINA)
    assert subject_of(CEVAL, "my_own").name == "my own"


def test_both_formats_are_read(tmp_path: Path) -> None:
    one = read_bank(ceval(tmp_path / "ceval"), "ceval")
    assert list(one.asked) == ["law", "logic"] and one.split == "val"
    assert one.asked["law"][1] == Question(question(1)[0], ("甲1", "乙1\n换行", "丙1", "丁1"), 1)
    assert [len(rows) for rows in one.examples.values()] == [5, 5]
    two = read_bank(cmmlu(tmp_path / "cmmlu"), "cmmlu")
    assert list(two.asked) == ["anatomy", "chinese_history"] and len(two.asked["anatomy"]) == 4
    assert two.asked["anatomy"][3].answer == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "val").mkdir()
    rows = [
        ["id", "question", *LETTERS, "answer"],
        ["0", "中国的首都是哪座城市？这是一道常识题，请选择。", "北京", "上海", "广州", "深圳", "A"],
    ]
    (tmp_path / "val" / "logic_val.csv").write_text(table(rows), encoding=encoding)
    found = read_bank(tmp_path, "ceval").asked["logic"][0]
    assert found.options[0] == "北京" and found.answer == 0


@pytest.mark.parametrize("said", ["A", " a ", "Ａ", "(A)", "A.", "答案：A"])
def test_answers_as_they_are_written(tmp_path: Path, said: str) -> None:
    (tmp_path / "test").mkdir()
    rows = [["Answer", "D", "C", "B", "A", "Question"], [said, "4", "3", "2", "1", "？"]]
    (tmp_path / "test" / "x.csv").write_text(table(rows), encoding="utf-8")
    assert read_bank(tmp_path, "cmmlu").asked["x"][0] == Question("？", ("1", "2", "3", "4"), 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,question,A,B,C,D,answer\n0,甲,1,2,3,4,E\n", r"logic_val\.csv:2: the answer is 'E'"),
        ("id,question,A,B,C,D,answer\n0,甲,1,2,3,4,\n", r"logic_val\.csv:2: this question has no answer.*val"),
        ("id,question,A,B,C,D\n0,甲,1,2,3,4\n", r"logic_val\.csv:2: this question has no answer"),
        ("id,question,A,B,answer\n0,甲,1,2,A\n", r"logic_val\.csv:1: there is no column c"),
        ("id,question,A,B,C,D,answer\n0,,1,2,3,4,A\n", r"logic_val\.csv:2: this row has no question"),
        ("id,question,A,B,C,D,answer\n", "no .csv file in it holds a question"),
        ("", "no .csv file in it holds a question"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "logic_val.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_bank(tmp_path, "ceval")


def test_a_folder_of_another_layout_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        read_bank(tmp_path / "none", "ceval")
    with pytest.raises(UserError, match="it has no folder 'test'"):
        read_bank(tmp_path, "cmmlu")


HEADS: dict[Kind, str] = {
    "ceval": "以下是中国关于逻辑学考试的单项选择题，请选出其中的正确答案。\n\n",
    "cmmlu": "以下是关于解剖学的单项选择题，请直接给出正确答案的选项。\n\n",
}


def written(one: Question, by: str) -> str:
    if by == "text":
        return f"{one.text}\n答案："
    return (
        one.text
        + "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, one.options, strict=True))
        + "\n答案："
    )


@torch.inference_mode()
def plainly(opened: Opened, head: str, shown: Sequence[Question], one: Question, by: str) -> list[float]:
    """The definition, an option at a time."""
    endings = [list(q.options) if by == "text" else list(LETTERS) for q in (*shown, one)]
    text = (
        head
        + "".join(f"{written(q, by)}{ends[q.answer]}\n\n" for q, ends in zip(shown, endings, strict=False))
        + written(one, by)
    )
    whole = [[opened.begin_id(), *opened.tokenizer.encode(text + end).tolist()] for end in endings[-1]]
    common = next(i for i in range(999) if len({tuple(row[: i + 1]) for row in whole}) > 1)
    scores = []
    for row, end in zip(whole, endings[-1], strict=True):
        shares = torch.log_softmax(opened.model(torch.tensor([row]))[0].double(), -1)
        score = sum(float(shares[i - 1, row[i]]) for i in range(common, len(row)))
        scores.append(score / len(end.encode()) if by == "text" else score)
    return scores


SHORT = [
    Question(f"{a}加{b}等于几？", (str(a + b), "一", "二二", "三三三"), (a * b) % 4) for a in (1, 7) for b in (2, 50)
]


@pytest.mark.parametrize("by", ["letter", "text"])
@pytest.mark.parametrize("shots", [0, 2])
def test_it_is_what_a_plain_loop_chooses(opened: Opened, by: By, shots: int) -> None:
    bank = Bank("ceval", "val", {"logic": tuple(SHORT)}, {"logic": tuple(SHORT[::-1])})
    found = choose(opened, bank, shots=shots, by=by)
    scores = [plainly(opened, HEADS["ceval"], SHORT[::-1][:shots], one, by) for one in SHORT]
    rows = [module._row(opened, *module._shown(HEADS["ceval"], one, SHORT[::-1][:shots], by), None) for one in SHORT]
    for ours, theirs in zip(module._scores(opened, rows, by, lambda *_: None), scores, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    wanted = [score.index(max(score)) for score in scores]
    assert found.chosen["logic"] == "".join(LETTERS[i] for i in wanted)
    right = sum(i == one.answer for i, one in zip(wanted, SHORT, strict=True))
    assert found.subjects["logic"] == Tally(right, 4)
    assert found.shortened == found.cut == 0


def test_groups_and_intervals(opened: Opened, tmp_path: Path) -> None:
    bank = read_bank(cmmlu(tmp_path), "cmmlu")
    found = choose(opened, bank, shots=0)
    one, two = found.subjects["anatomy"], found.subjects["chinese_history"]
    groups = found.groups(bank)
    assert list(groups) == [STEM, "humanities", CHINA]
    assert groups[CHINA] == (two.share, two)
    mean, together = found.overall()
    assert mean == (one.share + two.share) / 2
    assert together == Tally(one.right + two.right, 8)
    assert together.interval == wilson(together.right, 8)


def test_examples_give_way_to_the_context(opened: Opened, tmp_path: Path) -> None:
    bank = read_bank(ceval(tmp_path), "ceval")
    found = choose(opened, bank, shots=5)
    assert found.shortened == 6 and found.cut == 0
    long = Question("长" * 600 + "？", ("1", "2", "3", "4"), 0)
    assert choose(opened, Bank("ceval", "val", {"x": (long,)}, {}), shots=0).cut == 1


def test_what_was_shown_decides_the_hash(opened: Opened, tmp_path: Path) -> None:
    bank = read_bank(ceval(tmp_path), "ceval")
    found = [
        choose(opened, bank, shots=shots, limit=limit).prompts_sha256
        for shots, limit in ((0, None), (0, None), (1, None), (0, 1))
    ]
    assert found[0] == found[1] and len(set(found)) == 3
    template = open_template("chatml", opened.tokenizer)
    chat = choose(opened, bank, shots=0, template=template)
    assert sum(t.total for t in chat.subjects.values()) == 6
