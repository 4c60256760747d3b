"""How a dialogue becomes text: the tokenizer's own chat template, one of the named ones, or a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from huohou.data.dialogue import Dialogue, Message
from huohou.data.files import reading
from huohou.data.reading import visible
from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError, missing_extra
from huohou.language import Text

NAMED = ("llama2", "alpaca2", "llama3", "chatml", "minimind")
"""The templates that huohou brings."""

_TOKEN = re.compile(r"<[|｜][^|｜<>\s]{1,40}[|｜]>")
_PROBE = "好"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A dialogue as text. ``spans``: where the asked-for answers stand, [start, end) in characters; or ``fault``:
    why the template cannot say this dialogue."""

    dialogue: Dialogue
    text: str = ""
    spans: tuple[tuple[int, int], ...] = ()
    fault: str | None = None


class ChatTemplate:
    """A template and the tokenizer's special tokens.

    ``label`` names it in messages. A template that is not the package's own is rendered in a process of its own, with
    a limit of time, memory and output; one that does not end is a UserError.
    """

    def __init__(
        self,
        source: str,
        variables: Mapping[str, Any],
        label: Text,
        *,
        own: bool = False,
        today: str | None = None,
        time_limit: float | None = None,
    ) -> None:
        try:
            from huohou.data.template_process import TIME_LIMIT, Here, TemplateProcess, TimedOut
        except ImportError:
            raise missing_extra("jinja2", "data") from None
        self.source, self.label, self.variables = source, label, dict(variables)
        self._timed_out = TimedOut
        if own:
            self._engine: Here | TemplateProcess = Here(source, self.variables, today)
        else:
            limit = TIME_LIMIT if time_limit is None else time_limit
            self._engine = TemplateProcess(source, self.variables, today, time_limit=limit)
        try:
            facts = self._engine.facts()
        except TimedOut:
            raise self._endless() from None
        if "error" in facts:
            self._engine.close()
            raise UserError(
                f"{label.en}: this is not a chat template that can be used: {visible(facts['error'], 300)}.",
                f"{label.zh}：不是可用的对话模板：{visible(facts['error'], 300)}。",
            )
        self.names = frozenset(map(str, facts["names"]))
        self.marks_answers = bool(facts["marks_answers"])

    @cached_property
    def plain(self) -> str:
        """The template without generation tags, which not every program that reads templates knows."""
        opened = re.sub(r"\{%([-+]?)\s*generation\s*([-+]?)%\}", r"{%\1 if true \2%}", self.source)
        return re.sub(r"\{%([-+]?)\s*endgeneration\s*([-+]?)%\}", r"{%\1 endif \2%}", opened)

    def render(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None = None, **more: Any) -> str:
        """A whole dialogue as text."""
        return self._text(messages, tools, more, prompt=False)

    def prompt(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None = None, **more: Any) -> str:
        """A dialogue as text up to where the assistant's next message begins."""
        return self._text(messages, tools, more, prompt=True)

    def _text(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None, more: dict[str, Any], *, prompt: bool
    ) -> str:
        request = {
            "messages": list(messages),
            "tools": list(tools) if tools else None,
            "prompt": prompt,
            "variables": more,
        }
        answer = next(self._asked([request]))
        if "error" in answer:
            raise UserError(
                f"{self.label.en}: the chat template does not take this dialogue: {visible(answer['error'], 300)}.",
                f"{self.label.zh}：对话模板不接受这段对话：{visible(answer['error'], 300)}。",
            )
        return answer["text"]

    def rendered(self, dialogues: Iterable[Dialogue], learn: str = "all") -> Iterator[Rendered]:
        """Each dialogue as text, with the places of all its answers, or with ``learn="last"`` of the last one."""
        waiting: list[Dialogue] = []

        def requests() -> Iterator[dict[str, Any]]:
            for dialogue in dialogues:
                waiting.append(dialogue)
                answers = dialogue.answers if learn == "all" else dialogue.answers[-1:]
                yield {"messages": dialogue.messages, "tools": dialogue.tools, "answers": answers}

        for answer in self._asked(requests()):
            dialogue = waiting.pop(0)
            if (missing := self._untold(dialogue)) is not None:
                yield Rendered(dialogue, fault=missing)
            elif "error" in answer:
                yield Rendered(dialogue, fault=visible(answer["error"], 300))
            else:
                yield Rendered(dialogue, answer["text"], tuple((start, end) for start, end in answer["spans"]))

    def _untold(self, dialogue: Dialogue) -> str | None:
        """What the template has no place for."""
        if dialogue.tools and "tools" not in self.names:
            return "it has no place for tools"
        if any("tool_calls" in message for message in dialogue.messages) and "tool_calls" not in self.source:
            return "it has no place for tool calls"
        return None

    def _asked(self, requests: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        try:
            yield from self._engine.ask(requests)
        except self._timed_out:
            raise self._endless() from None

    def _endless(self) -> UserError:
        return UserError(
            f"{self.label.en}: rendering this chat template took too long or too much memory and was stopped; "
            "use another template (data.template).",
            f"{self.label.zh}：渲染这个对话模板耗时过长或占用内存过多，已中止；请换一个模板（data.template）。",
        )

    def close(self) -> None:
        """End the process that renders, if there is one; it begins anew when it is needed."""
        self._engine.close()

    def end_ids(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """The tokens at which an answer ends: the end token, and the first special one behind an answer's text."""
        found = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        found += [i for i in self._ending(tokenizer) if i not in found]
        return tuple(found)

    def _ending(self, tokenizer: Tokenizer) -> list[int]:
        """The special token that the template puts behind an answer, if it puts one there."""
        one = self._probe()
        if one.fault is not None or not one.spans:
            return []
        start, end = one.spans[-1]
        ids, starts, _ = tokenizer.encode_spans([one.text])[0]
        behind = one.text.rindex(_PROBE, start, end) + len(_PROBE)
        special = set(tokenizer.special_ids.values())
        text = [(int(i), one.text[int(at) : end]) for i, at in zip(ids, starts, strict=True) if behind <= at < end]
        return [i for i, rest in text if i in special or _TOKEN.match(rest)][:1]

    def _probe(self) -> Rendered:
        """The plainest dialogue, rendered; a template may insist on a system message."""
        plainest = [{"role": "user", "content": "你"}, {"role": "assistant", "content": _PROBE}]
        one = next(self.rendered([Dialogue(tuple(plainest), None, (1,))]))
        if one.fault is not None:
            system = {"role": "system", "content": "它"}
            one = next(self.rendered([Dialogue((system, *plainest), None, (2,))]))
        return one

    def check(self, tokenizer: Tokenizer) -> None:
        """Refuse a template that does not go with the tokenizer, or that never tells a model to stop."""
        one = self._probe()
        if one.fault is not None:
            raise UserError(
                f"{self.label.en}: the chat template cannot say the plainest dialogue: {one.fault}.",
                f"{self.label.zh}：对话模板连最简单的对话也无法表示：{one.fault}。",
            )
        shown = visible(one.text, 200)
        for token in dict.fromkeys(_TOKEN.findall(one.text)):
            ids = tokenizer.encode(token, special=True).tolist()
            if len(ids) != 1:
                raise UserError(
                    f"{self.label.en}: the template writes {token}, which this tokenizer does not have as a token (it "
                    f"spells it with the {len(ids)} ids {ids}); a sample would be “{shown}”; choose another template "
                    "or a tokenizer that has it.",
                    f"{self.label.zh}：模板会写 {token}，而分词器里没有这个词元（会拼成 {len(ids)} 个 id：{ids}）；"
                    f"样本会是“{shown}”；请换一个模板，或换一个有该词元的分词器。",
                )
        if not self._ending(tokenizer):
            raise UserError(
                f"{self.label.en}: no special token ends an answer (a sample would be “{shown}”), so a model would "
                "never learn to stop; choose a template that writes eos_token, and a tokenizer that has one.",
                f"{self.label.zh}：回答之后没有结束符（样本会是“{shown}”），模型学不会停下；"
                "请选用会写 eos_token 的模板，以及有结束符的分词器。",
            )


def open_template(
    template: str | None, tokenizer: Tokenizer, *, today: str | None = None, time_limit: float | None = None
) -> ChatTemplate:
    """A template by name or path (None: the tokenizer's own), checked against the tokenizer.

    ``today`` (``YYYY-MM-DD``) is the day that it is told; without it the clock tells it.

    Raises:
        UserError: There is no such template, it cannot be used, or it does not go with the tokenizer.
    """
    source, label, own = template_source(template, tokenizer)
    made = ChatTemplate(source, tokenizer.template_variables, label, own=own, today=today, time_limit=time_limit)
    try:
        made.check(tokenizer)
    except UserError:
        made.close()
        raise
    return made


def template_source(template: str | None, tokenizer: Tokenizer) -> tuple[str, Text, bool]:
    """(source, what to call it, whether it is one of the package's) of a template by name or path; nothing is tried."""
    if template is None:
        if tokenizer.chat_template is None:
            raise UserError(
                f"data.template: the tokenizer has no chat template of its own; write {', '.join(NAMED)}, or the path "
                "of a .jinja file.",
                f"data.template: 分词器没有自带对话模板；请写 {'、'.join(NAMED)}，或 .jinja 文件的路径。",
            )
        return tokenizer.chat_template, Text("the tokenizer's chat template", "分词器自带的对话模板"), False
    if template in NAMED:
        source = (files("huohou.data") / "templates" / f"{template}.jinja").read_text(encoding="utf-8")
        return source, Text(f"template {template}", f"模板 {template}"), True
    path = Path(template).expanduser()
    if not path.is_file():
        raise UserError(
            f"data.template: {template} is neither a file nor one of {', '.join(NAMED)}.",
            f"data.template: {template} 既不是文件，也不是 {'、'.join(NAMED)} 之一。",
        )
    with reading(path):
        raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig"), Text(str(path), str(path)), False
    except UnicodeDecodeError:
        raise UserError(
            f"data.template: {template} is not a text file in UTF-8.",
            f"data.template: {template} 不是 UTF-8 文本文件。",
        ) from None
