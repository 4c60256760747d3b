"""Dialogues of every form and file kind, and what is wrong with those that are none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from huohou.data.dialogue import Dialogue
from huohou.data.dialogues import Dialogues, HeldOutDialogues, dialogues_of_files
from huohou.errors import UserError

USER = {"role": "user", "content": "你好"}
ANSWER = {"role": "assistant", "content": "好"}


def written(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def one(tmp_path: Path, record: Any, **how: Any) -> Dialogue:
    (found,) = dialogues_of_files([written(tmp_path / "a.jsonl", record)], **how)
    return found


def said(dialogue: Dialogue) -> list[tuple[str, str]]:
    return [(message["role"], message.get("content", "")) for message in dialogue.messages]


FORMS = {
    "alpaca": {"instruction": "你好", "input": "", "output": "好"},
    "alpaca, null input": {"instruction": "你好", "input": None, "output": "好", "system": None, "history": None},
    "prompt and response": {"prompt": "你好", "response": "好"},
    "sharegpt": {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "好"}]},
    "messages": {"messages": [USER, ANSWER]},
    "roles under conversations": {"conversations": [USER, ANSWER]},
    "human and gpt as roles": {"messages": [{"role": "human", "content": "你好"}, {"role": "gpt", "content": "好"}]},
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]},
            ANSWER,
        ]
    },
    "a list in a text": {"messages": json.dumps([USER, ANSWER])},
}


@pytest.mark.parametrize("record", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_dialogue(tmp_path: Path, record: Any) -> None:
    dialogue = one(tmp_path, record)
    assert said(dialogue) == [("user", "你好"), ("assistant", "好")]
    assert dialogue.answers == (1,)
    assert dialogue.place.endswith("a.jsonl:1")


def test_alpaca_with_everything(tmp_path: Path) -> None:
    record = {
        "instruction": "续写",
        "input": "春天",
        "output": "来了",
        "system": "简短",
        "history": [["一", "二"], ["三", "四"]],
    }
    dialogue = one(tmp_path, record)
    assert said(dialogue) == [
        ("system", "简短"), ("user", "一"), ("assistant", "二"), ("user", "三"), ("assistant", "四"),
        ("user", "续写\n春天"), ("assistant", "来了"),
    ]  # fmt: skip
    assert dialogue.answers == (2, 4, 6)


def test_tools_and_calls_become_what_templates_know(tmp_path: Path) -> None:
    tool = {"name": "now", "description": "时间", "parameters": {"type": "object", "properties": {}}}
    call = {"name": "now", "arguments": {"zone": "CN"}}
    sharegpt = {
        "conversations": [
            {"from": "human", "value": "几点"},
            {"from": "function_call", "value": json.dumps(call)},
            {"from": "observation", "value": "3"},
            {"from": "gpt", "value": "三点"},
        ],
        "tools": json.dumps([tool]),
    }
    openai = {
        "messages": [
            {"role": "user", "content": "几点"},
            {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {**call, "arguments": json.dumps(call["arguments"])}}]},
            {"role": "tool", "content": "3"},
            {"role": "assistant", "content": "三点"},
        ],
        "tools": [{"type": "function", "function": tool}],
    }  # fmt: skip
    minimind = {"conversations": [{"role": "system", "content": "", "tools": json.dumps([tool])}, *openai["messages"]]}
    one_, two, three = (one(tmp_path, record) for record in (sharegpt, openai, minimind))
    assert one_.tools == two.tools == three.tools == ({"type": "function", "function": tool},)
    assert one_.messages == two.messages == three.messages[1:]
    assert one_.messages[1]["tool_calls"] == [{"type": "function", "function": call}]
    assert one_.answers == two.answers == (1, 3)


def test_reasoning_and_weights(tmp_path: Path) -> None:
    record = {
        "messages": [USER, {"role": "assistant", "content": "好", "weight": 0}, USER, {**ANSWER, "thinking": "嗯"}]
    }
    dialogue = one(tmp_path, record)
    assert dialogue.answers == (3,)
    assert dialogue.messages[3]["reasoning_content"] == "嗯"
    assert "weight" not in dialogue.messages[1]


BAD = {
    "null content": ({"messages": [USER, {"role": "assistant", "content": None}]}, "message 2 has no content"),
    "null output": ({"instruction": "你好", "output": None}, "field output holds null, not text"),
    "number": ({"instruction": "你好", "output": 3}, "field output holds a number, not text"),
    "list": ({"instruction": ["你好"], "output": "好"}, "field instruction holds a list"),
    "no list": ({"messages": "你好"}, "field messages holds text, not a list|not a list"),
    "unknown role": ({"messages": [{"role": "ghost", "content": "呜"}]}, 'message 1 has the role "ghost"'),
    "no role": ({"messages": [{"content": "呜"}]}, "message 1 has the role null"),
    "picture": ({"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}, ANSWER]}, "something other than text"),
    "a text in the list": ({"messages": ["你好"]}, "message 1 is"),
    "no call": ({"conversations": [{"from": "human", "value": "x"}, {"from": "function_call", "value": "now()"}]}, "should be a tool call"),
    "preference": ({"conversations": [], "chosen": {}, "rejected": {}}, "preference training"),
    "text": ({"text": "一篇文档"}, "no form of dialogue that is known"),
    "half a character": ({"instruction": "你\ud800好", "output": "好"}, "half a character"),
    "not a number": ({"messages": [USER, {**ANSWER, "score": float("nan")}]}, "not plain JSON"),
    "history": ({"instruction": "你", "output": "好", "history": [["a"]]}, "history is not a list of pairs"),
    "weight": ({"messages": [USER, {**ANSWER, "weight": 0.5}]}, "the weight 0.5"),
}  # fmt: skip


@pytest.mark.parametrize(("record", "says"), BAD.values(), ids=BAD)
def test_bad_records_are_named_by_file_and_line(tmp_path: Path, record: Any, says: str) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"messages": [USER, ANSWER]})
    path.write_text(f"{good}\n{json.dumps(record)}\n{good}\n", encoding="utf-8")
    with pytest.raises(UserError, match=says) as caught:
        list(dialogues_of_files([path]))
    assert "a.jsonl:2" in str(caught.value)
    rejects = tmp_path / "rejects.jsonl"
    skipping = dialogues_of_files([path], on_bad="skip", rejects=rejects)
    assert len(list(skipping)) == 2
    counts = skipping.counts
    assert (counts.read, counts.used, counts.bad, counts.empty) == (3, 2, 1, 0)
    assert json.loads(rejects.read_text(encoding="utf-8"))["line"] == 2


def test_broken_lines(tmp_path: Path) -> None:
    good = json.dumps({"messages": [USER, ANSWER]})
    path = tmp_path / "a.jsonl"
    path.write_text(f'{good}\n\n{{"messages": [\n]\n{good}\n{good[:40]}', encoding="utf-8")
    dialogues = dialogues_of_files([path], on_bad="skip")
    assert len(list(dialogues)) == 2
    assert (dialogues.counts.read, dialogues.counts.bad) == (5, 3)
    with pytest.raises(UserError, match=r"a\.jsonl:3:\d+: not valid JSON"):
        list(dialogues_of_files([path]))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "big5"])
def test_encodings_give_the_same_dialogues(tmp_path: Path, encoding: str) -> None:
    question = "請問今天的天氣怎麼樣" if encoding == "big5" else "请问今天的天气怎么样"
    record = {"instruction": question, "input": "", "output": "今天天氣很好" if encoding == "big5" else "今天天气很好"}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([record, record], ensure_ascii=False), encoding=encoding)
    assert [said(d) for d in dialogues_of_files([path])] == [[("user", question), ("assistant", record["output"])]] * 2


def test_file_kinds(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    record = {"instruction": "你好", "input": "", "output": "好"}
    (tmp_path / "a.csv").write_text("instruction,input,output\n你好,,好\n", encoding="utf-8")
    (tmp_path / "a.tsv").write_text("instruction\tinput\toutput\n你好\t\t好\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps({"data": [record]}), encoding="utf-8")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(record).encode()))
    parquet.write_table(pyarrow.Table.from_pylist([record]), tmp_path / "a.parquet")
    parquet.write_table(
        pyarrow.Table.from_pylist([{"messages": [USER, {**ANSWER, "name": "x"}]}]), tmp_path / "b.parquet"
    )
    dialogues = dialogues_of_files([tmp_path])
    assert [said(d) for d in dialogues] == [[("user", "你好"), ("assistant", "好")]] * 6
    assert [facts.text for facts in dialogues.files] == ["alpaca"] * 5 + ["messages"]
    (tmp_path / "c.txt").write_text("你好", encoding="utf-8")
    with pytest.raises(UserError, match="not from plain text"):
        list(dialogues_of_files([tmp_path / "c.txt"]))


def test_empty_records_are_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.jsonl", {"instruction": "", "output": " "}, {"messages": []}, {"messages": [USER, ANSWER]}
    )
    dialogues = dialogues_of_files([path])
    assert len(list(dialogues)) == 1
    assert (dialogues.counts.read, dialogues.counts.empty) == (3, 2)


def test_a_line_of_fifty_megabytes(tmp_path: Path) -> None:
    record = {"instruction": "长" * (17 << 20), "output": "好"}
    dialogue = one(tmp_path, record)
    assert len(dialogue.messages[0]["content"]) == 17 << 20


INFO = {
    "mine": {"file_name": "mine.json", "columns": {"prompt": "问", "response": "答", "query": "补"}},
    "talks": {
        "file_name": "talks.jsonl", "formatting": "sharegpt", "columns": {"messages": "轮次", "system": "设定"},
        "tags": {"role_tag": "谁", "content_tag": "说", "user_tag": "甲", "assistant_tag": "乙", "observation_tag": "丙", "function_tag": "丁", "system_tag": "戊"}, "num_samples": 1,
    },
    "open": {"file_name": "open.jsonl", "formatting": "openai"},
    "pairs": {"file_name": "mine.json", "ranking": True},
    "hub": {"hf_hub_url": "someone/something"},
    "lost": {"file_name": "lost.json"},
    "pictures": {"file_name": "mine.json", "columns": {"images": "images"}},
    "odd": {"file_name": "mine.json", "columns": {"prompts": "x"}},
    "form": {"file_name": "mine.json", "formatting": "vicuna"},
}  # fmt: skip


@pytest.fixture
def info(tmp_path: Path) -> Path:
    (tmp_path / "dataset_info.json").write_text(json.dumps(INFO, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "mine.json").write_text(
        json.dumps([{"问": "你好", "答": "好", "补": "吗"}], ensure_ascii=False), encoding="utf-8"
    )
    talk = {"轮次": [{"谁": "甲", "说": "你好"}, {"谁": "乙", "说": "好"}], "设定": "简短"}
    written(tmp_path / "talks.jsonl", talk, talk)
    written(tmp_path / "open.jsonl", {"messages": [USER, ANSWER]})
    return tmp_path / "dataset_info.json"


def test_dataset_info(info: Path) -> None:
    dialogues = dialogues_of_files(dataset_info=info, dataset="mine, talks,open")
    assert [said(d) for d in dialogues] == [
        [("user", "你好\n吗"), ("assistant", "好")],
        [("system", "简短"), ("user", "你好"), ("assistant", "好")],
        [("user", "你好"), ("assistant", "好")],
    ]


def test_tags_name_every_role(info: Path) -> None:
    talk = [("戊", "简短"), ("甲", "几点"), ("丁", '{"name": "now", "arguments": {}}'), ("丙", "3"), ("乙", "三点")]
    written(info.parent / "talks.jsonl", {"轮次": [{"谁": who, "说": what} for who, what in talk]})
    (dialogue,) = dialogues_of_files(dataset_info=info, dataset="talks")
    assert [role for role, _ in said(dialogue)] == ["system", "user", "assistant", "tool", "assistant"]
    assert dialogue.messages[2]["tool_calls"][0]["function"]["name"] == "now"


@pytest.mark.parametrize(
    ("name", "says"),
    [("pairs", "holds preferences"), ("hub", "names no file_name"), ("lost", "does not exist"), ("pictures", "trains on text"),
     ("odd", "the key prompts, which is not known"), ("form", "the formatting vicuna"), ("nobody", "has no dataset nobody")],
)  # fmt: skip
def test_dataset_info_that_cannot_be_used(info: Path, name: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        dialogues_of_files(dataset_info=info, dataset=[name])


def test_dataset_names_need_their_description_and_the_other_way_round(info: Path) -> None:
    with pytest.raises(UserError, match="names several datasets"):
        dialogues_of_files(dataset_info=info)
    with pytest.raises(UserError, match="does not say where"):
        dialogues_of_files(dataset="mine")
    with pytest.raises(UserError, match=r"data\.format: vicuna is not known"):
        dialogues_of_files(["x"], format="vicuna")


def test_the_same_dialogues_are_held_out_wherever_they_stand(tmp_path: Path) -> None:
    records = [{"instruction": f"问{i}", "output": "答"} for i in range(200)]
    there = written(tmp_path / "a.jsonl", *records)
    back = written(tmp_path / "b.jsonl", *reversed(records))
    sides = [
        {d.messages[0]["content"] for d in HeldOutDialogues(Dialogues(path), 0.1, "validation")}
        for path in (there, back)
    ]
    assert sides[0] == sides[1] and 5 < len(sides[0]) < 40
    assert sides[0].isdisjoint(d.messages[0]["content"] for d in HeldOutDialogues(Dialogues(there), 0.1, "train"))


def test_the_quick_key_knows_the_way_of_reading(info: Path) -> None:
    keys = {
        dialogues_of_files([info.parent / "mine.json"], format=form).quick_key() for form in ("auto", "alpaca")
    } | {dialogues_of_files(dataset_info=info, dataset="mine").quick_key()}  # fmt: skip
    assert len(keys) == 3
