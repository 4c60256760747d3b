"""A dialogue: messages with roles, the tools that may be called, and which of its answers can be learned.

The form is that of chat templates: ``{"role": "system" | "user" | "assistant" | "tool", "content": text}``, with
``tool_calls`` and ``reasoning_content`` where an assistant calls tools or thinks first. Whatever form a file is in, a
record becomes this (:mod:`huohou.data.dialogue_forms`), and nothing after it knows of other forms.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from huohou.data.corpus import key_of
from huohou.data.reading import SURROGATE, kind_of
from huohou.language import Text

Message = dict[str, Any]

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "tool": "tool", "observation": "tool", "function": "tool", "function_response": "tool", "ipython": "tool",
    "function_call": "function_call", "tool_call": "function_call",
}  # fmt: skip
"""The names under which roles are met; ``function_call`` is an assistant whose text is the call as JSON."""


class Unusable(Exception):
    """Why a record is no dialogue."""

    def __init__(self, en: str, zh: str) -> None:
        self.text = Text(en, zh)
        super().__init__(en)


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One dialogue.

    ``answers``: places of the assistant's messages that hold anything and are not marked as not to be learned;
    ``place``: file and line, for messages.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] | None
    answers: tuple[int, ...]
    place: str = ""

    def canonical(self) -> str:
        """What decides whether two dialogues are the same one, as text."""
        return json.dumps([self.messages, self.tools, self.answers], ensure_ascii=False)

    def with_system(self, system: str | None) -> Dialogue:
        """The dialogue with this system message where it has none of its own."""
        if system is None or (self.messages and self.messages[0]["role"] == "system"):
            return self
        messages = ({"role": "system", "content": system}, *self.messages)
        return replace(self, messages=messages, answers=tuple(i + 1 for i in self.answers))

    def rounds(self) -> list[int]:
        """Where rounds begin: the places of the user's messages that follow another role."""
        roles = [message["role"] for message in self.messages]
        return [i for i, role in enumerate(roles) if role == "user" and (i == 0 or roles[i - 1] != "user")]

    def without(self, first: int, last: int) -> Dialogue:
        """The dialogue without messages first … last - 1."""
        messages = (*self.messages[:first], *self.messages[last:])
        answers = [i if i < first else i - (last - first) for i in self.answers if not first <= i < last]
        return replace(self, messages=messages, answers=tuple(answers))

    def with_content(self, place: int, content: str) -> Dialogue:
        """The dialogue with another text in one message."""
        messages = list(self.messages)
        messages[place] = {**messages[place], "content": content}
        return replace(self, messages=tuple(messages))


class GeneratedDialogues:
    """Dialogues that a function makes, the same ones each time; ``key`` says which."""

    def __init__(self, make: Callable[[], Iterable[Dialogue]], key: str) -> None:
        self._make, self._key = make, key

    def __iter__(self) -> Iterator[Dialogue]:
        return iter(self._make())

    def quick_key(self) -> str:
        return key_of("generated dialogues", self._key)


def make_dialogue(messages: Sequence[Message], tools: Any = None, place: str = "") -> Dialogue:
    """A dialogue of messages as chat templates know them; what is wrong with them is an :class:`Unusable`."""
    made: list[Message] = []
    answers: list[int] = []
    for number, message in enumerate(messages):
        one, learned = _message(message, number + 1)
        if one["role"] == "system" and isinstance(one.get("tools"), str | list) and tools is None:
            # minimind keeps the tools in the system message.
            tools = one["tools"]
        one.pop("tools", None)
        if one["role"] == "assistant" and learned and _holds(one):
            answers.append(number)
        made.append(one)
    _whole([made, tools])
    return Dialogue(tuple(made), _tools(tools), tuple(answers), place)


def _holds(message: Message) -> bool:
    return bool(str(message.get("content") or "").strip() or message.get("tool_calls"))


def _message(message: Any, number: int) -> tuple[Message, bool]:
    if not isinstance(message, dict):
        kind = kind_of(message)
        raise Unusable(f"message {number} is {kind.en}, not an object", f"第 {number} 条消息是{kind.zh}，不是对象")
    # As in transformers, a key without a value is no key.
    one: Message = {str(key): value for key, value in message.items() if value is not None}  # pyright: ignore
    role = one.get("role")
    known = ROLES.get(role) if isinstance(role, str) else None
    if known is None:
        raise Unusable(
            f"message {number} has the role {json.dumps(role, ensure_ascii=False, default=repr)}; known are system, "
            "user, assistant and tool",
            f"第 {number} 条消息的角色是 {json.dumps(role, ensure_ascii=False, default=repr)}；"
            "可用的有 system、user、assistant、tool",
        )
    reasoning = next((one[key] for key in ("reasoning_content", "thinking", "reasoning") if key in one), None)
    for key in ("thinking", "reasoning"):
        one.pop(key, None)
    if reasoning is not None:
        one["reasoning_content"] = _text(reasoning, number)
    calls = one.pop("tool_calls", None)
    if known == "function_call":
        calls, one["role"] = one.pop("content", ""), "assistant"
        one["tool_calls"] = _calls(calls, number)
        return one, True
    one["role"] = known
    if calls:
        one["tool_calls"] = _calls(calls, number)
    if "content" in one:
        one["content"] = _text(one["content"], number)
    elif not calls:
        raise Unusable(f"message {number} has no content (null)", f"第 {number} 条消息没有内容（null）")
    weight = one.pop("weight", 1)
    if weight not in (0, 1):
        raise Unusable(
            f"message {number} has the weight {weight!r}; only 0 (not learned) and 1 are known",
            f"第 {number} 条消息的 weight 是 {weight!r}；只能是 0（不学习）或 1",
        )
    return one, bool(weight)


def _text(content: Any, number: int) -> str:
    """A message's text, also where it is a list of parts that are all text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [
            cast("dict[str, Any]", part).get("text") if isinstance(part, dict) else part
            for part in cast("list[Any]", content)
        ]
        if all(isinstance(text, str) for text in texts):
            return "".join(cast("list[str]", texts))
        raise Unusable(
            f"message {number} holds something other than text (a picture, a sound); huohou trains on text",
            f"第 {number} 条消息含有非文本内容（图片、声音）；huohou 只训练文本",
        )
    kind = kind_of(content)
    raise Unusable(f"message {number} holds {kind.en}, not text", f"第 {number} 条消息的内容是{kind.zh}，不是文本")


def parsed(value: Any) -> Any:
    """JSON that stands in a text, or the value itself where it is no such text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _calls(calls: Any, number: int) -> list[dict[str, Any]]:
    """Tool calls as templates know them: ``{"type": "function", "function": {"name", "arguments"}}``."""
    value = parsed(calls)
    found: list[dict[str, Any]] = []
    for call in value if isinstance(value, list) else [value]:  # pyright: ignore[reportUnknownVariableType]
        inner: Any = call.get("function", call) if isinstance(call, dict) else None  # pyright: ignore
        if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):  # pyright: ignore
            raise Unusable(
                f"message {number} should be a tool call, JSON with name and arguments",
                f"第 {number} 条消息应为工具调用，即含 name 和 arguments 的 JSON",
            )
        arguments = parsed(inner.get("arguments", inner.get("parameters", {})))  # pyright: ignore
        function = {"name": inner["name"], "arguments": arguments}  # pyright: ignore[reportUnknownVariableType]
        others = {k: v for k, v in call.items() if k in ("id", "index") and v is not None}  # pyright: ignore
        found.append({**others, "type": "function", "function": function})
    return found


def _tools(tools: Any) -> tuple[dict[str, Any], ...] | None:
    """Tools as templates know them, each ``{"type": "function", "function": {…}}``."""
    value = parsed(tools)
    if value is None or value == "" or value == []:
        return None
    listed: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
    if not all(isinstance(tool, dict) for tool in listed):
        raise Unusable("tools is not a list of JSON objects", "tools 不是 JSON 对象的列表")
    return tuple(tool if "function" in tool else {"type": "function", "function": tool} for tool in listed)


def _whole(value: Any) -> None:
    """Refuse what JSON cannot say and half characters, wherever they stand."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise Unusable("a value in it is not plain JSON", "其中有不是普通 JSON 的值") from None
    found = None if text.isascii() else SURROGATE.search(text)
    if found:
        code = f"U+{ord(found.group()):04X}"
        raise Unusable(f"half a character ({code}) in it", f"其中有半个字符（{code}）")
