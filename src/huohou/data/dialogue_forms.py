"""The forms in which dialogues are met in files, and how a record of each becomes a dialogue.

| form | a record |
|---|---|
| alpaca | ``instruction``, ``input``, ``output``; ``system`` and ``history`` ([[question, answer], …]) beside them |
| sharegpt | ``conversations``: ``from`` and ``value``; ``system`` and ``tools`` beside it |
| messages | ``messages`` (or ``conversations``, as minimind has it): ``role`` and ``content``; ``tools`` beside it |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from huohou.data.dialogue import Dialogue, Message, Unusable, make_dialogue, parsed
from huohou.data.reading import kind_of

Form = Literal["alpaca", "sharegpt", "messages"]
FORMS: tuple[Form, ...] = ("alpaca", "sharegpt", "messages")

LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog")
"""Names of the field that holds the messages, where none is given."""
PROMPTS = ("instruction", "prompt", "question", "query", "问题", "指令")
INPUTS = ("input",)
ANSWERS = ("output", "response", "completion", "answer", "回答")
"""Names of an alpaca record's fields, where none are given."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How records are to be read: a form (None: told by the record), names of fields, names inside messages.

    The keys of ``columns`` are LLaMA-Factory's: prompt, query, response, history, messages, system, tools; those of
    ``tags`` too: role_tag, content_tag, user_tag, assistant_tag, observation_tag, function_tag, system_tag.
    """

    form: Form | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


def form_of(value: Any, layout: Layout) -> Form:
    """The form of a record."""
    if not isinstance(value, dict):
        kind = kind_of(value)
        raise Unusable(f"the record is {kind.en}, not an object", f"该记录是{kind.zh}，不是对象")
    record = cast("dict[str, Any]", value)
    if layout.form is not None:
        return layout.form
    if "chosen" in record and "rejected" in record:
        raise Unusable(
            "a pair of a chosen and a rejected answer is for preference training, not for SFT",
            "chosen 与 rejected 成对的记录用于偏好训练，不能用于指令精调",
        )
    name = next((name for name in LISTS if name in record), None)
    if name is not None:
        listed = parsed(record[name])
        first: Any = cast("list[Any]", listed)[0] if isinstance(listed, list) and listed else {}
        return "sharegpt" if isinstance(first, dict) and "from" in first else "messages"
    if any(name in record for name in PROMPTS) and any(name in record for name in ANSWERS):
        return "alpaca"
    has = ", ".join(list(map(str, record))[:8]) or "–"
    raise Unusable(
        f"no form of dialogue that is known (fields: {has}); known are instruction/output, conversations and messages",
        f"不是已知的对话格式（字段：{has}）；可用的有 instruction/output、conversations、messages",
    )


def dialogue_of(value: Any, layout: Layout, place: str = "") -> tuple[Dialogue | None, Form]:
    """The dialogue of a record (None: it holds nothing at all) and its form."""
    form = form_of(value, layout)
    if not isinstance(value, dict):
        raise Unusable("the record is not an object", "该记录不是对象")
    record = {str(key): item for key, item in cast("dict[Any, Any]", value).items()}
    messages, tools = (_alpaca if form == "alpaca" else _listed)(record, layout)
    system = record.get(layout.columns.get("system", "system"))
    if isinstance(system, str) and system.strip() and not (messages and messages[0].get("role") == "system"):
        messages.insert(0, {"role": "system", "content": system})
    if not any(str(m.get("content") or "").strip() or m.get("tool_calls") for m in messages):
        return None, form
    return make_dialogue(messages, tools, place), form


def _field(record: dict[str, Any], given: str | None, usual: tuple[str, ...], *, needed: bool = True) -> str:
    """The text of a field; "" where it is absent and not needed."""
    name = given if given is not None else next((name for name in usual if name in record), usual[0])
    if name not in record and needed:
        has = ", ".join(list(record)[:8]) or "–"
        raise Unusable(f"no field {name} (fields: {has})", f"没有字段 {name}（字段：{has}）")
    value = record.get(name)
    if value is None and not needed:
        return ""
    if not isinstance(value, str):
        kind = kind_of(value)
        raise Unusable(f"field {name} holds {kind.en}, not text", f"字段 {name} 的值是{kind.zh}，不是文本")
    return value


def _alpaca(record: dict[str, Any], layout: Layout) -> tuple[list[Message], Any]:
    names = layout.columns
    prompt = _field(record, names.get("prompt"), PROMPTS)
    more = _field(record, names.get("query"), INPUTS, needed=False)
    answer = _field(record, names.get("response"), ANSWERS)
    messages: list[Message] = []
    history = parsed(record.get(names.get("history", "history")))
    if history:
        if not isinstance(history, list) or not all(
            isinstance(pair, list | tuple) and len(cast("list[Any]", pair)) == 2 for pair in cast("list[Any]", history)
        ):
            raise Unusable("history is not a list of pairs", "history 不是成对的列表")
        for question, reply in cast("list[list[Any]]", history):
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    asked = "\n".join(part for part in (prompt, more) if part.strip())
    if asked or answer.strip() or messages:
        messages.append({"role": "user", "content": asked})
    if answer.strip():
        messages.append({"role": "assistant", "content": answer})
    return messages, record.get(names.get("tools", "tools"))


def _listed(record: dict[str, Any], layout: Layout) -> tuple[list[Message], Any]:
    names, tags = layout.columns, layout.tags
    name = names.get("messages") or next((name for name in LISTS if name in record), "messages")
    if name not in record:
        has = ", ".join(list(record)[:8]) or "–"
        raise Unusable(f"no field {name} (fields: {has})", f"没有字段 {name}（字段：{has}）")
    listed = parsed(record[name])
    if not isinstance(listed, list):
        kind = kind_of(listed)
        raise Unusable(f"field {name} holds {kind.en}, not a list", f"字段 {name} 的值是{kind.zh}，不是列表")
    roles = {tags[key]: role for key, role in _TAGGED.items() if key in tags}
    messages: list[Message] = []
    tools: Any = record.get(names.get("tools", "tools"))
    for number, item in enumerate(cast("list[Any]", listed), start=1):
        if not isinstance(item, dict):
            kind = kind_of(item)
            raise Unusable(f"message {number} is {kind.en}, not an object", f"第 {number} 条消息是{kind.zh}，不是对象")
        message = {str(key): value for key, value in cast("dict[Any, Any]", item).items()}
        role_tag = tags.get("role_tag") or ("from" if "from" in message and "role" not in message else "role")
        content_tag = tags.get("content_tag") or (
            "value" if "value" in message and "content" not in message else "content"
        )
        role: Any = message.pop(role_tag, None)
        content: Any = message.pop(content_tag, None)
        role = roles.get(role, role) if isinstance(role, str) else role
        tools = tools or message.pop("functions", None)
        messages.append(
            {"role": roles.get(role, role) if isinstance(role, str) else role, "content": content, **message}
        )
    return messages, tools


_TAGGED = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}
