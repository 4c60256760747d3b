"""Chat templates: what the named ones write and mark, what is refused, and what hostile ones cannot do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from huohou.data.chat_template import NAMED, ChatTemplate, Rendered, open_template
from huohou.data.dialogue import make_dialogue
from huohou.data.template_process import TemplateProcess
from huohou.data.tokenizer import Tokenizer
from huohou.data.tokenizer_training import train_tokenizer
from huohou.errors import UserError
from huohou.language import Text

VARIABLES = {"bos_token": "<s>", "eos_token": "</s>"}
TOOLS = [{"type": "function", "function": {"name": "now", "parameters": {}}}]
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "简短。"},
    {"role": "user", "content": "你好"},
    {"role": "assistant", "content": "好"},
    {"role": "user", "content": "再见"},
    {"role": "assistant", "content": "再会"},
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["你好，再见。好的，请简短回答。"] * 50, 275)


def named(name: str) -> ChatTemplate:
    from importlib.resources import files

    source = (files("huohou.data") / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(source, VARIABLES, Text(name, name), own=True)


def marked(one: Rendered) -> str:
    """The text with «» around what is learned."""
    assert one.fault is None, one.fault
    text = one.text
    for start, end in reversed(one.spans):
        text = f"{text[:start]}«{text[start:end]}»{text[end:]}"
    return text


EXPECTED = {
    "llama2": "<s>[INST] <<SYS>>\n简短。\n<</SYS>>\n\n你好 [/INST]« 好 </s>»<s>[INST] 再见 [/INST]« 再会 </s>»",
    "alpaca2": "<s>[INST] <<SYS>>\n简短。\n<</SYS>>\n\n你好 [/INST]« 好</s>»<s>[INST] 再见 [/INST]« 再会</s>»",
    "llama3": (
        "<s><|start_header_id|>system<|end_header_id|>\n\n简短。<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n你好<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n«好<|eot_id|>»"
        "<|start_header_id|>user<|end_header_id|>\n\n再见<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n«再会<|eot_id|>»"
    ),
    "chatml": (
        "<|im_start|>system\n简短。<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n«好<|im_end|>\n»"
        "<|im_start|>user\n再见<|im_end|>\n<|im_start|>assistant\n«再会<|im_end|>\n»"
    ),
    "minimind": (
        "<|im_start|>system\n简短。<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n«好<|im_end|>\n»"
        "<|im_start|>user\n再见<|im_end|>\n<|im_start|>assistant\n«再会<|im_end|>\n»"
    ),
}
ALONE = {
    "llama2": "<s>[INST] 你好 [/INST]",
    "alpaca2": "<s>[INST] <<SYS>>\nYou are a helpful assistant. 你是一个乐于助人的助手。\n<</SYS>>\n\n你好 [/INST]",
    "llama3": "<s><|start_header_id|>user<|end_header_id|>\n\n你好<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "chatml": "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n",
    "minimind": "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_named_templates_write_and_mark_what_they_should(name: str) -> None:
    template = named(name)
    one = next(template.rendered([make_dialogue(TALK)]))
    assert marked(one) == EXPECTED[name]
    assert template.prompt([TALK[1]]) == ALONE[name]
    last = next(template.rendered([make_dialogue(TALK)], learn="last"))
    assert last.spans == one.spans[-1:]


@pytest.mark.parametrize("name", NAMED)
def test_tags_and_the_comparison_of_beginnings_agree(name: str) -> None:
    template = named(name)
    plain = ChatTemplate(template.plain, VARIABLES, Text(name, name), own=True)
    assert template.marks_answers and not plain.marks_answers
    dialogues = [make_dialogue(TALK), make_dialogue(TALK[1:]), make_dialogue(TALK[:3]), make_dialogue(TALK[1:4])]
    assert [marked(one) for one in plain.rendered(dialogues)] == [marked(one) for one in template.rendered(dialogues)]


def test_tools_calls_and_reasoning_in_chatml() -> None:
    call = {"type": "function", "function": {"name": "now", "arguments": {"zone": "中国"}}}
    dialogue = make_dialogue(
        [
            {"role": "user", "content": "几点"},
            {"role": "assistant", "tool_calls": [call, call], "reasoning_content": "要查"},
            {"role": "tool", "content": "3"},
            {"role": "tool", "content": "4"},
            {"role": "assistant", "content": "三点"},
        ],
        TOOLS,
    )
    assert marked(next(named("chatml").rendered([dialogue]))).endswith(
        "</tool_call><|im_end|>\n<|im_start|>user\n几点<|im_end|>\n<|im_start|>assistant\n«<think>\n要查\n</think>\n\n"
        '<tool_call>\n{"name": "now", "arguments": {"zone": "中国"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {"zone": "中国"}}\n</tool_call><|im_end|>\n»'
        "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n<tool_response>\n4\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n«三点<|im_end|>\n»"
    )
    for name in ("llama2", "alpaca2", "llama3"):
        assert next(named(name).rendered([dialogue])).fault == "it has no place for tools"


# Templates without tags, as they are met: the answer written differently once more follows, and others.
WITHOUT_TAGS = {
    "reasoning of what is past is left out": (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}"
        "{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "<|system|>简短。<|end|><|user|>你好<|end|><|assistant|>«好<|end|>»<|user|>再见<|end|><|assistant|>«<think></think>再会<|end|>»",
    ),
    "the prompt begins a thought": (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}",
        "<|system|>简短。<|end|><|user|>你好<|end|><|assistant|>«好<|end|>»<|user|>再见<|end|><|assistant|>«再会<|end|>»",
    ),
    "an end token of the whole": (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% else %}<|endoftext|>{% endif %}",
        "<|system|>简短。<|end|><|user|>你好<|end|><|assistant|>«好<|end|>»<|user|>再见<|end|><|assistant|>«再会<|end|><|endoftext|>»",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), WITHOUT_TAGS.values(), ids=WITHOUT_TAGS)
def test_answers_are_found_without_tags(source: str, expected: str) -> None:
    template = ChatTemplate(source, VARIABLES, Text("t", "t"), own=True)
    assert marked(next(template.rendered([make_dialogue(TALK)]))) == expected


UNCLEAR = {
    "answers shortened when more follows": "{% for m in messages %}{{ m.role }}:{{ m.content if loop.last or m.role != 'assistant' else m.content[:1] + m.content }}\n{% endfor %}",
    "another end token at the end": "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
}


@pytest.mark.parametrize("source", UNCLEAR.values(), ids=UNCLEAR)
def test_what_cannot_be_told_is_refused(source: str) -> None:
    template = ChatTemplate(source, VARIABLES, Text("t", "t"), own=True)
    fault = next(template.rendered([make_dialogue(TALK)])).fault
    assert fault is not None and "cannot be told" in fault


def test_a_message_left_out_is_noticed() -> None:
    source = "{% for m in messages if m.role != 'system' %}{{ m.role }}:{{ m.content }}</s>{% endfor %}"
    template = ChatTemplate(source, VARIABLES, Text("t", "t"), own=True)
    assert next(template.rendered([make_dialogue(TALK)])).fault == "it leaves out the text of message 1 (system)"


@pytest.mark.parametrize("name", ["llama2", "alpaca2", "chatml", "minimind", None])
def test_templates_that_go_with_a_tokenizer(tokenizer: Tokenizer, name: str | None) -> None:
    template = open_template(name, tokenizer)
    ends = [tokenizer.decode([i]) for i in template.end_ids(tokenizer)]
    assert ends == (["</s>"] if name in ("llama2", "alpaca2") else ["</s>", "<|im_end|>"])
    template.close()


def test_a_template_that_does_not_go_with_a_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"template llama3: .*<\|start_header_id\|>, which .* does not have .* ids \["):
        open_template("llama3", tokenizer)
    with pytest.raises(UserError, match="neither a file nor one of llama2"):
        open_template("vicuna", tokenizer)
    endless = tmp_path / "no_end.jinja"
    endless.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", encoding="utf-8")
    with pytest.raises(UserError, match="no special token ends an answer"):
        open_template(str(endless), tokenizer)
    endless.write_bytes("{{ '你好' }}".encode("gb18030"))
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        open_template(str(endless), tokenizer)


def test_a_tokenizer_without_template(tokenizer: Tokenizer) -> None:
    bare = Tokenizer(tokenizer._backend, {"eos": "</s>"})
    with pytest.raises(UserError, match="no chat template of its own"):
        open_template(None, bare)
    with pytest.raises(UserError, match="'eos_token' is undefined"):
        open_template("llama2", Tokenizer(tokenizer._backend, {"bos": "<s>"}))


HOSTILE = {
    "an endless loop": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "took too long"),
    "a doubled text": ("{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "memory|too long"),
    "a great power": ("{{ 10 ** 10 ** 10 }}", "a power that is too large"),
    "a long repetition": ("{{ 'a' * 10 ** 11 }}", "a repetition that is too long"),
    "a wide format": ("{{ '%99999999d' % 1 }}", "writes more than|more memory"),
    "much output": ("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", "writes more than 1,048,576 characters"),
    "classes": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    "globals": ("{{ raise_exception.__globals__.os.system('touch CANARY') }}", "unsafe|undefined|no attribute"),
    "format": ("{{ '{0.__class__.__init__.__globals__}'.format(messages) }}", "unsafe|no attribute"),
    "a namespace": ("{% set n = namespace(__class__=1) %}", "may not hold"),
    "cycler": ("{{ cycler.__init__.__globals__.os.system('touch CANARY') }}", "unsafe|no attribute"),
    "imports": ("{% import 'os' as os %}{{ os }}", "TypeError|no loader"),
    "changing the messages": ("{{ messages.append(1) }}", "unsafe|not safely callable"),
    "broken": ("{% for m in messages %}", "line 1: Unexpected end of template"),
    "its own refusal": ("{{ raise_exception('只收系统消息') }}", "只收系统消息"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_templates(tmp_path: Path, tokenizer: Tokenizer, source: str, says: str) -> None:
    path = tmp_path / "t.jinja"
    canary = tmp_path / "canary"
    path.write_text(source.replace("CANARY", str(canary)), encoding="utf-8")
    with pytest.raises(UserError, match=says) as caught:
        open_template(str(path), tokenizer, time_limit=1.0)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not canary.exists()


def test_terminal_escapes_in_a_refusal_are_spelled_out(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{{ raise_exception('\x1b[2J') }}", encoding="utf-8")
    with pytest.raises(UserError, match=r"\\x1b\[2J"):
        open_template(str(path), tokenizer)


@pytest.fixture
def process() -> Iterator[TemplateProcess]:
    made = TemplateProcess("{% for m in messages %}{% if m.content == 'x' %}{% for i in range(99999) %}{% for j in range(99999) %}"
                           "{% endfor %}{% endfor %}{% endif %}{{ m.content }}{% endfor %}", {}, None, time_limit=1.0)  # fmt: skip
    yield made
    made.close()


def test_the_process_answers_in_order_and_begins_anew(process: TemplateProcess) -> None:
    from huohou.data.template_process import TimedOut

    def asked(*texts: str) -> list[str]:
        requests = [
            {"messages": [{"role": "user", "content": t}], "tools": None, "prompt": False, "variables": {}}
            for t in texts
        ]
        return [answer["text"] for answer in process.ask(requests, ahead=3)]

    many = [f"第{i}" for i in range(50)]
    assert asked(*many) == many
    with pytest.raises(TimedOut):
        asked("a", "x")
    assert asked("b") == ["b"]


def test_every_answer_goes_to_whom_it_is_for(process: TemplateProcess) -> None:
    def requests(*texts: str) -> Iterator[dict[str, Any]]:
        for text in texts:
            yield {"messages": [{"role": "user", "content": text}], "tools": None, "prompt": False, "variables": {}}

    outer = process.ask(requests(*(f"外{i}" for i in range(20))), ahead=8)
    for number in range(10):
        assert next(outer)["text"] == f"外{number}"
        assert [answer["text"] for answer in process.ask(requests("内", "里"))] == ["内", "里"]
    abandoned = process.ask(requests(*(f"弃{i}" for i in range(20))), ahead=8)
    assert next(abandoned)["text"] == "弃0"
    abandoned.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert [answer["text"] for answer in outer] == [f"外{i}" for i in range(10, 20)]
    assert next(process.ask(requests("末")))["text"] == "末"
    assert not process._kept and not process._unwanted


def test_a_program_that_ends_with_a_process_open_ends_quietly(tmp_path: Path) -> None:
    code = (
        "from huohou.data.chat_template import ChatTemplate\nfrom huohou.language import Text\n"
        "t = ChatTemplate('{% for m in messages %}{{ m.content }}{% endfor %}', {}, Text('t', 't'))\n"
        "print(t.render([{'role': 'user', 'content': 'hello'}]))\nraise SystemExit(7)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (7, "hello\n", "")


def test_the_day_is_told_or_fixed() -> None:
    from datetime import datetime

    source = "{{ strftime_now('%Y-%m-%d') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    fixed = ChatTemplate(source, {}, Text("t", "t"), own=True, today="2024-07-26")
    assert fixed.render([TALK[1]]) == "2024-07-26你好"
    before = datetime.now()
    told = ChatTemplate(source, {}, Text("t", "t"), own=True).render([TALK[1]])
    assert told[:10] in {f"{day:%Y-%m-%d}" for day in (before, datetime.now())}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows bounds the time alone")
def test_the_other_process_does_not_see_where_it_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jinja2.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    template = ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}", {}, Text("t", "t"))
    assert template.render([TALK[1]]) == "你好"
    template.close()
