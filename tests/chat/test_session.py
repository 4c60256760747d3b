"""A conversation: what is read again, what the commands do, and that Ctrl-C ends an answer and nothing else."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from huohou.chat import session as module
from huohou.chat.answering import Settings, answers, settings_of
from huohou.chat.conversation import Conversation
from huohou.chat.session import Session, lines_of
from huohou.data.chat_template import open_template
from huohou.errors import UserError
from huohou.language import choose_language
from huohou.model.opening import Opened
from huohou.model.sampling import Sampling

GREEDY = Settings(Sampling(), max_tokens=6)


def begin(opened: Opened, *, template: str | None = None, system: str | None = None) -> tuple[Session, list[str]]:
    made = None if template is None else open_template(template, opened.tokenizer)
    notes: list[str] = []
    conversation = Conversation(opened.tokenizer, made, opened.begin_id(), system)
    return Session(opened, conversation, GREEDY, io.StringIO(), lambda text: notes.append(str(text))), notes


def test_a_chat_reads_its_history(opened: Opened) -> None:
    one, _ = begin(opened, template="chatml", system="简短。")
    first = one.ask("小石几岁？")
    one.ask("为什么？")
    text = opened.tokenizer.decode(one.conversation.prompt())
    assert text.index("简短。") < text.index("小石几岁？") < text.index("为什么？")
    roles = [message["role"] for message in one.conversation.messages]
    assert roles == ["user", "assistant"] * 2
    assert one.conversation.messages[1]["content"] == first
    assert str(one.out.getvalue()).count("\n") >= 2  # pyright: ignore[reportAttributeAccessIssue]


def test_without_a_template_the_text_goes_on(opened: Opened) -> None:
    one, _ = begin(opened)
    said = one.ask("小石")
    assert one.conversation.prompt()[0] == opened.tokenizer.end_id
    assert opened.tokenizer.decode(one.conversation.prompt()[1:]) == "小石" + said


def test_commands(opened: Opened, tmp_path: Path) -> None:
    one, notes = begin(opened, template="chatml")
    saved = tmp_path / "a.json"
    one.run(iter([
        "你好", "/set temperature=0.5", "/set nothing=1", "/set seed", "/retry", f"/save {saved}", f"/save {saved}", "/undo", "/undo",
        "/system 请用中文。", "/system", "/help", "/wrong", "//斜杠", "/reset", "/exit", "不会说到",
    ]))  # fmt: skip
    joined = "\n".join(notes)
    for words in ("temperature=0.5", "there is no setting nothing", "write /set NAME=NUMBER", "saved to", "does not exist yet",
                  "(taken back)", "nothing has been said yet", "请用中文。", "/retry", "there is no command /wrong"):  # fmt: skip
        assert words in joined, words
    assert [m["role"] for m in json.loads(saved.read_text("utf-8"))["messages"]] == ["user", "assistant"]
    assert one.conversation.messages == [] and one.conversation.system == "请用中文。"
    assert "不会说到" not in str(one.conversation.messages)
    choose_language("zh")
    one.run(iter(["/undo"]))
    assert notes[-1] == "还没有说过话。"


def test_ctrl_c_stops_the_answer_not_the_program(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    one, notes = begin(opened, template="chatml")

    def interrupted(*_: Any, **__: Any) -> Iterator[str]:
        yield "半"
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "answer", interrupted)
        one.run(iter(["你好"]))
    assert notes == ["(stopped)"]
    assert one.conversation.messages[-1] == {"role": "assistant", "content": "半"}
    one.run(iter(["接着说"]))
    assert len(one.conversation.messages) == 4


def test_the_oldest_rounds_give_way(opened: Opened) -> None:
    one, notes = begin(opened, template="chatml")
    one.run(iter([f"第{i}次问：小石最爱吃什么东西？" for i in range(9)]))
    assert any("earliest rounds no longer fit" in note for note in notes)
    assert len(one.conversation.messages) == 18
    room = opened.model.context
    assert room is not None
    ids, left_out = one.conversation.fitted(room - 6)
    assert len(ids) <= room - 6 and left_out
    with pytest.raises(UserError, match="shorten it"):
        one.ask("长" * 400)
    assert len(one.conversation.messages) == 18


def test_control_characters_of_a_model_do_not_reach_the_terminal(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = begin(opened)
    monkeypatch.setattr(module, "answer", lambda *_, **__: iter(["a\x1b[2J", "\x07b"]))
    one.ask("x")
    assert one.out.getvalue() == "a\\x1b[2J\\x07b\n"  # pyright: ignore[reportAttributeAccessIssue]
    assert one.conversation.messages[-1]["content"] == "a\x1b[2J\x07b"


def test_lines_go_on_after_a_backslash() -> None:
    assert list(lines_of(io.StringIO("一\\\n二\n三\r\n\n四\\"))) == ["一\n二", "三", "", "四"]


def test_what_is_no_text_is_said(opened: Opened) -> None:
    one, notes = begin(opened)
    one.run(iter(["\udcff\udcfe"]))
    assert "not text in the terminal's encoding" in notes[0]


def test_settings_are_given_or_the_folders_or_ours(tmp_path: Path) -> None:
    assert settings_of(tmp_path, {}).sampling == Sampling(temperature=0.7, top_p=0.9)
    said = {"do_sample": True, "temperature": 0.3, "top_k": 20, "top_p": True, "min_p": "x"}
    (tmp_path / "generation_config.json").write_text(json.dumps(said), encoding="utf-8")
    assert settings_of(tmp_path, {}).sampling == Sampling(temperature=0.3, top_p=0.9, top_k=20)
    assert settings_of(tmp_path, {"temperature": 0, "max_tokens": 3}).plain()["temperature"] == 0
    for name, value in (("max_tokens", 0), ("seed", float("nan")), ("seed", float("inf")), ("top_k", 0.5)):
        with pytest.raises(UserError, match=f"{name} is .*whole number"):
            Settings().with_value(name, value)
    with pytest.raises(UserError, match="top_p is 2"):
        settings_of(tmp_path, {"top_p": 2})


def test_a_prompt_near_the_end_shortens_no_other_answer(opened: Opened) -> None:
    long = [5] * 126
    short = opened.tokenizer.encode("小石").tolist()
    found = answers(opened, [long, short], GREEDY, stop_ids=(), seed=0)
    assert (found[0].tokens, found[1].tokens) == (2, 6)
    assert found[1] == answers(opened, [short], GREEDY, stop_ids=(), seed=0)[0]
