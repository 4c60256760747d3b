"""Answers to a file: in order, the same when it is gone on with, and never mixed with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from huohou.chat.answering import Settings
from huohou.chat.batch import answer_file, read_prompts
from huohou.chat.conversation import Conversation
from huohou.errors import UserError
from huohou.model.opening import Opened
from huohou.model.sampling import Sampling

DRAWN = Settings(Sampling(temperature=1.0), max_tokens=5, seed=3)


def prompts_file(folder: Path, count: int = 7) -> Path:
    path = folder / "prompts.txt"
    path.write_text("".join(f"第{i}个：小石\n\n" for i in range(count)), encoding="utf-8")
    return path


def answer(
    opened: Opened, path: Path, output: Path, settings: Settings = DRAWN, at_once: int = 3, overwrite: bool = False
) -> int:
    blank = Conversation(opened.tokenizer, None, opened.begin_id())
    said: list[str] = []
    return answer_file(
        opened, blank, read_prompts(path), settings, output, at_once=at_once, overwrite=overwrite,
        say=lambda text: said.append(str(text)),
    )  # fmt: skip


def test_a_broken_file_ends_as_it_would_have(opened: Opened, tmp_path: Path) -> None:
    path = prompts_file(tmp_path)
    whole = tmp_path / "whole.jsonl"
    assert answer(opened, path, whole) == 7
    rows = [json.loads(line) for line in whole.read_text("utf-8").splitlines()]
    assert [row["index"] for row in rows] == list(range(7))
    assert [row["messages"][0]["content"] for row in rows] == [f"第{i}个：小石" for i in range(7)]
    data = whole.read_bytes()
    ends = [0, *(i + 1 for i, byte in enumerate(data) if byte == 10)]
    for size in (*ends, 10, ends[4] + 9, len(data) - 3):
        part = tmp_path / f"part{size}.jsonl"
        part.write_bytes(data[:size])
        made = answer(opened, path, part)
        assert part.read_bytes() == data
        assert made == 7 - sum(end <= size for end in ends[1:]) // 3 * 3 or size == len(data)
    assert answer(opened, path, whole) == 0


def test_answers_do_not_depend_on_how_many_at_once_where_nothing_is_drawn(opened: Opened, tmp_path: Path) -> None:
    path = prompts_file(tmp_path, 5)
    greedy = Settings(Sampling(), max_tokens=5)
    for at_once in (1, 4):
        answer(opened, path, tmp_path / f"{at_once}.jsonl", greedy, at_once)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "4.jsonl").read_bytes()


def test_other_settings_or_prompts_are_refused(opened: Opened, tmp_path: Path) -> None:
    path, output = prompts_file(tmp_path, 2), tmp_path / "o.jsonl"
    answer(opened, path, output)
    before = output.read_bytes()
    other = Settings(Sampling(temperature=1.0), max_tokens=5, seed=4)
    with pytest.raises(UserError, match="was not made from these prompts with this model"):
        answer(opened, path, output, other)
    path.write_text("别的\n", encoding="utf-8")
    with pytest.raises(UserError, match="--overwrite"):
        answer(opened, path, output)
    assert output.read_bytes() == before
    assert answer(opened, path, output, other, overwrite=True) == 1


def test_prompts_of_many_forms(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    rows = [
        {"prompt": "一"},
        {"instruction": "译", "input": "二", "output": "two", "system": "短"},
        {
            "messages": [
                {"role": "user", "content": "三"},
                {"role": "assistant", "content": "3"},
                {"role": "user", "content": "四"},
            ]
        },
        "五",
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="gb18030")
    found = read_prompts(path, "gb18030")
    assert [one.messages[-1]["content"] for one in found] == ["一", "译\n二", "四", "五"]
    assert found[1].messages[0] == {"role": "system", "content": "短"}


@pytest.mark.parametrize(
    "row",
    [
        '{"text": "x"}',
        '{"prompt": 3}',
        '{"messages": []}',
        '{"messages": [{"role": "assistant", "content": "x"}]}',
        '{"prompt": "a',
        "7",
    ],
)
def test_a_record_that_is_no_prompt_is_named(tmp_path: Path, row: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prompt": "好"}}\n{row}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"p\.jsonl:2"):
        read_prompts(path)


def test_a_prompt_that_is_too_long_is_named(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("短\n" + "长" * 500 + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"p\.txt:2: the prompt has"):
        answer(opened, path, tmp_path / "o.jsonl", at_once=1)
    assert len((tmp_path / "o.jsonl").read_text("utf-8").splitlines()) == 1
